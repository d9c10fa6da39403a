"""The patterns that schedulers themselves have in the names of output files, such as ``%j``, in our words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from scoop_hpc.errors import JobSpecError

JOB_ID, INDEX, NAME, USER, HOME = "{job_id}", "{array_index}", "{name}", "{user}", "{home}"
NOT_YET = "is not known before the job runs: leave it out"


@dataclass(frozen=True, slots=True)
class OutputPatterns:
    """The patterns of one scheduler: how they are written, ours that mean the same, and why others have none."""

    owner: str
    pattern: re.Pattern[str]  # its group is the pattern's name
    ours: Mapping[str, str]
    untold: Mapping[str, str] = field(default_factory=dict)
    untold_in_arrays: Mapping[str, str] = field(default_factory=dict)
    doubled: str = ""  # the character that stands for itself where it is doubled
    relatives: Mapping[str, str] = field(default_factory=dict)  # of other schedulers, but written in the same way


@dataclass(frozen=True, slots=True)
class OutputOption:
    """An option that names a file for a job's output, as the user wrote it, and what stands for the user in it."""

    option: str
    text: str
    is_array: bool
    user: str
    home: str

    def in_our_words(self, scheduler: str, own: OutputPatterns | None, foreign: Iterable[OutputPatterns]) -> str:
        """Return the file with our placeholders for the patterns of *scheduler*, which are its *own*.

        Raise JobSpecError for a pattern that only the running job knows, and for a *foreign* one, which would be taken
        literally: all jobs would write into one file.
        """
        for patterns in foreign:
            match = patterns.pattern.search(self.text)
            if match is not None:
                ours = {**patterns.relatives, **patterns.ours}.get(match[1], "")
                instead = {"": "leave it out", USER: f"write {self.user}", HOME: f"write {self.home}"}
                raise JobSpecError(
                    f"{self._shown(match)}, {patterns.owner}'s pattern, which {scheduler} would take literally: "
                    f"{instead.get(ours, f'write {ours}')}",
                    self.option,
                )
        if own is None:
            return self.text
        patterns = own
        parts = self.text.split(2 * patterns.doubled) if patterns.doubled else [self.text]
        return patterns.doubled.join(
            patterns.pattern.sub(lambda match: self._ours(match, patterns), part) for part in parts
        )

    def _ours(self, match: re.Match[str], patterns: OutputPatterns) -> str:
        name = match[1]
        ours = patterns.ours.get(name)
        if ours is None:
            raise JobSpecError(f"{self._shown(match)}, which {patterns.untold[name]}", self.option)
        if ours == INDEX and not self.is_array:
            raise JobSpecError(f"{self._shown(match)}, an index: that is for a job with --array", self.option)
        if self.is_array and name in patterns.untold_in_arrays:
            raise JobSpecError(f"{self._shown(match)}, {patterns.untold_in_arrays[name]}", self.option)
        if match[0][1:-1].isdecimal() and ours in (JOB_ID, INDEX):
            raise JobSpecError(f"{self._shown(match)}, with a width: write {ours}, which has none", self.option)
        return {USER: self.user, HOME: self.home}.get(ours, ours)

    def _shown(self, match: re.Match[str]) -> str:
        return f"{self.option} {self.text!r} holds {match[0]!r}"
