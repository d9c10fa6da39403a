"""A user's own directives of sbatch, and those of ours that they exclude [sbatch(1), OPTIONS].

Some options exclude each other: of ``--mem``, ``--mem-per-cpu`` and ``--mem-per-gpu`` sbatch takes one. What a JobSpec
only implies, such as all memory of whole nodes, gives way to a directive; what it says is refused beside one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from scoop_hpc.errors import JobSpecError

_SHORT = {  # sbatch(1), OPTIONS
    "A": "account",
    "B": "extra-node-info",
    "C": "constraint",
    "D": "chdir",
    "F": "nodefile",
    "G": "gpus",
    "H": "hold",
    "J": "job-name",
    "L": "licenses",
    "M": "clusters",
    "N": "nodes",
    "O": "overcommit",
    "Q": "quiet",
    "S": "core-spec",
    "V": "version",
    "W": "wait",
    "a": "array",
    "b": "begin",
    "c": "cpus-per-task",
    "d": "dependency",
    "e": "error",
    "h": "help",
    "i": "input",
    "k": "no-kill",
    "m": "distribution",
    "n": "ntasks",
    "o": "output",
    "p": "partition",
    "q": "qos",
    "s": "oversubscribe",
    "t": "time",
    "v": "verbose",
    "w": "nodelist",
    "x": "exclude",
}
MEMORY, CPUS, EXCLUSIVE = "mem", "cpus-per-task", "exclusive"
_EXCLUDE: Mapping[str, tuple[str, ...]] = MappingProxyType(  # what we may write, and what goes without it only
    {
        MEMORY: ("mem", "mem-per-cpu", "mem-per-gpu"),
        CPUS: ("cpus-per-task", "cpus-per-gpu", "tres-per-task"),
        EXCLUSIVE: ("exclusive", "oversubscribe"),
    }
)


def option_in(directive: str) -> str:
    """Return the long name of the one option in *directive*, the short one where none is known; empty for none.

    >>> option_in("--mem-per-gpu=40G"), option_in("-p short")
    ('mem-per-gpu', 'partition')
    """
    try:
        first, *others = shlex.split(directive) or [""]
    except ValueError as error:
        raise JobSpecError(f"cannot read the directive {directive!r}: {error}") from error
    if first.startswith("-") and any(other.startswith("-") for other in others):
        raise JobSpecError(f"the directive {directive!r} holds several options: give each one a --directive of its own")
    match = re.match(r"--([a-z][a-z0-9-]*)|-([A-Za-z])", first)
    if match is None:
        return ""
    return match[1] or _SHORT.get(match[2], match[2])


def value_in(directive: str) -> str:
    """Return the value that *directive* gives to its option; empty if none.

    >>> value_in("--clusters=a"), value_in("-M b"), value_in("-Mc"), value_in("--exclusive")
    ('a', 'b', 'c', '')
    """
    first, *others = shlex.split(directive)
    _, equals, value = first.partition("=")
    if equals and first.startswith("--"):
        return value
    if not first.startswith("--") and len(first) > 2:
        return first[2:]
    return others[0] if others else ""


def ruled_out(directives: Iterable[str]) -> Mapping[str, str]:
    """Return which of our options, MEMORY, CPUS and EXCLUSIVE, cannot stand beside *directives*: beside which of them.

    >>> dict(ruled_out(["--qos=high", "--mem-per-gpu=40G"]))
    {'mem': '--mem-per-gpu=40G'}
    """
    found = {}
    for directive in directives:
        option = option_in(directive)
        for ours, family in _EXCLUDE.items():
            # sbatch takes any beginning that is no other option's, too: --mem-per-c
            if option in family or (len(option) > 1 and any(theirs.startswith(f"{option}") for theirs in family)):
                found[ours] = directive
    return found
