"""What schedulers themselves put into the names of output files, such as Slurm's ``%j``, in our words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from scoop_hpc.errors import JobSpecError

_JOB_ID, _INDEX, _NAME, _USER, _HOME = "{job_id}", "{array_index}", "{name}", "{user}", "{home}"
_NOT_YET = "is not known before the job runs: leave it out"


@dataclass(frozen=True, slots=True)
class _Language:
    """The patterns of one scheduler: how they are written, what ours mean the same, and why others cannot be told."""

    owner: str
    pattern: re.Pattern[str]  # its group is the pattern's name
    ours: Mapping[str, str]
    untold: Mapping[str, str] = field(default_factory=dict)


_LANGUAGES: Mapping[str, _Language] = MappingProxyType(
    {
        "slurm": _Language(  # sbatch(1), FILENAME PATTERN; b, r and S since 24.11
            "Slurm",
            re.compile(r"%[0-9]*([AJNSabjnrstux])"),
            {"j": _JOB_ID, "A": _JOB_ID, "a": _INDEX, "x": _NAME, "u": _USER},
            {
                "J": "is a job's step: write {job_id}",
                "N": f"is the first node's name, and {_NOT_YET}",
                "n": "is a step's: leave it out",
                "s": "is a step's: leave it out",
                "t": "is a step's: leave it out",
                "b": "is something else to older versions of Slurm: write {array_index}",
                "r": f"counts restarts, and {_NOT_YET}",
                "S": "is something else to older versions of Slurm: leave it out",
            },
        ),
        "sge": _Language(  # submit(1), -o
            "Grid Engine",
            re.compile(r"\$(JOB_ID|TASK_ID|JOB_NAME|USER|HOME|HOSTNAME|HOST)\b"),
            {"JOB_ID": _JOB_ID, "TASK_ID": _INDEX, "JOB_NAME": _NAME, "USER": _USER, "HOME": _HOME},
            dict.fromkeys(("HOSTNAME", "HOST"), f"is the first node's name, and {_NOT_YET}"),
        ),
        "pbs": _Language("PBS", re.compile(r"\^(array_index)\^"), {"array_index": _INDEX}),  # qsub(1B), -o
    }
)
# what looks like one, and is literal to PBS itself
_TORQUE = _Language(
    "Torque",
    re.compile(r"\$\{?(PBS_JOBID|PBS_JOBNAME|PBS_ARRAYID|PBS_ARRAY_INDEX)\b\}?"),
    {"PBS_JOBID": _JOB_ID, "PBS_JOBNAME": _NAME, "PBS_ARRAYID": _INDEX, "PBS_ARRAY_INDEX": _INDEX},
)


def in_our_words(scheduler: str, option: str, text: str | None, is_array: bool, user: str, home: str) -> str | None:
    """Return the file *text* of *option* with our placeholders for the patterns of *scheduler*.

    Raise JobSpecError for a pattern that only the running job knows, and for one of another scheduler's, which would be
    taken literally: all jobs would write into one file.

    >>> in_our_words("slurm", "--output", "logs/%x-%j.out", False, "me", "/home/me")
    'logs/{name}-{job_id}.out'
    """
    if text is None:
        return None
    own = _LANGUAGES.get(scheduler)
    for language in (*_LANGUAGES.values(), _TORQUE):
        match = None if language is own else language.pattern.search(text)
        if match is not None:
            ours = language.ours.get(match[1], _JOB_ID if match[1] == "J" else "")  # LSF's %J
            instead = {"": "leave it out", _USER: f"write {user}", _HOME: f"write {home}"}.get(ours, f"write {ours}")
            raise JobSpecError(
                f"{option} {text!r} holds {match[0]!r}, {language.owner}'s pattern, which {scheduler} would take "
                f"literally: {instead}"
            )
    if own is None:
        return text
    parts = text.split("%%") if scheduler == "slurm" else [text]
    values = {_USER: user, _HOME: home}

    def replaced(match: re.Match[str]) -> str:
        name = match[1]
        ours = own.ours.get(name)
        if ours is None:
            raise JobSpecError(f"{option} {text!r} holds {match[0]!r}, which {own.untold[name]}")
        if ours == _INDEX and not is_array:
            raise JobSpecError(f"{option} {text!r} holds {match[0]!r}, an index: that is for a job with --array")
        if scheduler == "slurm" and name == "j" and is_array:
            raise JobSpecError(
                f"{option} {text!r} holds '%j', in an array a number of its own for each job: write %A, the array's, "
                "and %a"
            )
        if match[0][1:-1].isdecimal() and ours in (_JOB_ID, _INDEX):
            raise JobSpecError(f"{option} {text!r} holds {match[0]!r}, with a width: write {ours}, which has none")
        return values.get(ours, ours)

    return "%".join(own.pattern.sub(replaced, part) for part in parts)
