"""The options of a scheduler's own submit command, as its users type them, and ours that mean the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# instead of an option of ours
DIRECTIVE = ""  # there is none: it is passed on verbatim
MINUTES = "--walltime (a number alone is minutes)"
ENVIRONMENT = "--env (NAME of each variable that the job needs)"


@dataclass(frozen=True, slots=True)
class OwnOptions:
    """The options of a command, without their dashes, and what to write here: ours, before remarks in parentheses.

    *owner* is the command, or whose it is, in the genitive. Its long options may be *double_dashed*, as sbatch's are;
    *resources* are what its ``-l`` sets. *flags* are those of its options that are passed on and take no value.
    """

    owner: str
    ours: Mapping[str, str]
    double_dashed: bool = False
    resources: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()

    def name_in(self, word: str) -> str | None:
        """Return the name of the option that *word* is, None if it is none of these."""
        name = word.lstrip("-")
        dashes = "--" if self.double_dashed and len(name) > 1 else "-"
        return name if name in self.ours and word == dashes + name else None
