"""Slurm's version, and its partitions as sinfo tells of them: those that the caller may use [sinfo(1), --all]."""

from __future__ import annotations

import re

from scoop_hpc.errors import InputError, SchedulerError
from scoop_hpc.fields.units import parse_walltime
from scoop_hpc.schedulers.answers import Completed, find_version, short
from scoop_hpc.schedulers.queues import Queue

# the name, with * behind the default one's; up, down, drain or inact; the longest walltime; the fewest and most nodes
# of a job; nodes that are allocated, idle, something else, and in all [sinfo(1), --format]
SINFO_FORMAT = "%P|%a|%l|%s|%F"

_LINE = re.compile(r"([^|\s]+)\|(\w+)\|([^|]+)\|(?:[0-9]+-)?(\w+)\|([0-9]+)/([0-9]+)/[0-9]+/[0-9]+")
_VERSION = re.compile(r"^\s*slurm(?:-wlm)?\s+(\S+)", re.MULTILINE | re.IGNORECASE)


def read_version(done: Completed) -> str:
    """Return what ``sbatch --version`` answered; raise SchedulerError.

    >>> read_version(Completed(("sbatch",), 0, "slurm-wlm 22.05.8", ""))
    'Slurm 22.05.8'
    """
    return f"Slurm {find_version(done, _VERSION)}"


def read(text: str) -> list[Queue]:
    """Return the partitions in sinfo's answer, in `SINFO_FORMAT`; raise SchedulerError.

    >>> read("normal*|up|1-00:00:00|1-infinite|0/3/1/4")
    [Queue(name='normal', is_open=True, is_default=True, nodes=3, most_nodes=None, walltime=86400)]
    """
    lines = [match for match in map(_LINE.fullmatch, map(str.strip, text.splitlines())) if match]
    if not lines and text.strip():
        raise SchedulerError(f"cannot read sinfo's output {short(text)}")
    return [_read_line(*match.groups()) for match in lines]


def _read_line(name: str, state: str, walltime: str, most: str, allocated: str, idle: str) -> Queue:
    return Queue(
        name.rstrip("*"),
        is_open=state == "up",
        is_default=name.endswith("*"),
        nodes=int(allocated) + int(idle),
        most_nodes=int(most) if most.isdigit() else None,
        walltime=_seconds(walltime),
    )


def _seconds(text: str) -> int | None:
    try:
        return parse_walltime(text)
    except InputError:  # infinite
        return None
