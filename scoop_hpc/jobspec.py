"""What a user asks a scheduler for, in units of ours, and the states that a job can be in."""

from __future__ import annotations

import enum
import os.path
import re
import unicodedata
from dataclasses import dataclass
from typing import Optional

from scoop_hpc.errors import JobSpecError

DEFAULT_OUTPUT = "scoop-{job_id}.out"

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WALLTIME = re.compile(
    r"(?P<count>[0-9]{1,9})(?P<unit>[smhd])"
    r"|(?P<days>[0-9]{1,6})-(?P<day_hours>[0-9]{1,2})(:(?P<day_minutes>[0-9]{1,2})(:(?P<day_seconds>[0-9]{1,2}))?)?"
    r"|(?P<hours>[0-9]{1,6}):(?P<hour_minutes>[0-9]{1,2}):(?P<hour_seconds>[0-9]{1,2})"
    r"|(?P<minutes>[0-9]{1,9})(:(?P<minute_seconds>[0-9]{1,2}))?"
)
_MEMORY = re.compile(r"([0-9]{1,15})([KMGT])(?:I?B)?", re.IGNORECASE)
_POWERS = {"K": 10, "M": 20, "G": 30, "T": 40}


class JobState(enum.Enum):
    """Where a job stands, in words that hold for every scheduler."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_FAIL = "NODE_FAIL"
    UNKNOWN = "UNKNOWN"  # the scheduler does not know the job, and the job left no record

    @property
    def ended(self) -> bool:
        """Whether the job will not run any more."""
        return self not in (JobState.PENDING, JobState.RUNNING, JobState.SUSPENDED, JobState.UNKNOWN)


# larger numbers are slips, and schedulers take them modulo 2**32
_MOST = {"nodes": 2**20, "workers_per_node": 2**16, "cpus_per_worker": 2**16, "memory_per_node": 2**50}


@dataclass(frozen=True)
class JobSpec:
    """One job: what to run and what to ask for. ``None`` leaves a field to the scheduler's default.

    ``walltime`` is in seconds, ``memory_per_node`` in bytes. ``workers_per_node`` of ``None`` asks for whole nodes
    and starts a worker on every CPU that is granted. ``directory`` is absolute. A JobSpec that could not be said in
    any dialect cannot be made: JobSpecError.
    """

    program: tuple[str, ...]  # the program's file, then its arguments
    directory: str
    name: str
    nodes: int = 1
    workers_per_node: Optional[int] = None
    cpus_per_worker: int = 1
    walltime: Optional[int] = None
    memory_per_node: Optional[int] = None
    queue: Optional[str] = None
    account: Optional[str] = None
    output: Optional[str] = None  # may hold {job_id}
    directives: tuple[str, ...] = ()  # verbatim, without the prefix

    def __post_init__(self) -> None:
        _check_program(self.program)
        for field in ("nodes", "workers_per_node", "cpus_per_worker", "walltime", "memory_per_node"):
            _check_count(field, getattr(self, field))
        for field in ("name", "directory", "queue", "account", "output"):
            check_line(field, getattr(self, field))
        for directive in self.directives:
            check_line("directive", directive)
        if not os.path.isabs(self.directory):
            raise JobSpecError(f"the directory {self.directory!r} is relative: give an absolute path")


def output_path(spec: JobSpec, job_id: str) -> str:
    """Return the file that the job's output goes to: absolute, ``{job_id}`` filled in."""
    output = (spec.output or DEFAULT_OUTPUT).replace("{job_id}", job_id)
    return os.path.join(spec.directory, output)


def parse_walltime(text: str) -> int:
    """Return the seconds of a walltime: minutes, Slurm's forms with colons and days, or one number and a unit.

    The forms are ``m``, ``m:s``, ``h:m:s``, ``d-h``, ``d-h:m``, ``d-h:m:s`` [sbatch(1) --time], and ``90s``, ``45m``,
    ``2h``, ``1d``.

    >>> [parse_walltime(text) for text in ("90", "1:30:00", "1-12", "2h")]
    [5400, 5400, 129600, 7200]
    """
    match = _WALLTIME.fullmatch(text)
    if match is None:
        raise JobSpecError(
            f"cannot read the walltime {text!r}: write minutes, H:MM:SS, D-HH:MM:SS, or 90s, 45m, 2h, 1d"
        )
    if match["unit"]:
        seconds = int(match["count"]) * _UNITS[match["unit"]]
    else:
        parts = {name: int(value) for name, value in match.groupdict().items() if value is not None}
        inner = {name: value for name, value in parts.items() if "_" in name}
        too_large = [str(value) for name, value in inner.items() if value > (23 if name == "day_hours" else 59)]
        if too_large:
            raise JobSpecError(
                f"{too_large[0]!r} is too large in the walltime {text!r}: carry it over to the next unit"
            )
        units = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}
        seconds = sum(value * units[name.rpartition("_")[2]] for name, value in parts.items())
    if not seconds:
        raise JobSpecError(f"the walltime {text!r} is no time at all: leave it out for the scheduler's default")
    return seconds


def format_walltime(seconds: int) -> str:
    """Write a walltime as Slurm, PBS and Grid Engine all read it.

    >>> format_walltime(129605)
    '36:00:05'
    """
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def parse_memory(text: str) -> int:
    """Return the bytes of a memory size; the units are powers of 1024.

    >>> parse_memory("8G"), parse_memory("512MiB")
    (8589934592, 536870912)
    """
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise JobSpecError(f"cannot read the memory {text!r}: write a whole number and K, M, G or T, such as '8G'")
    if not int(match[1]):
        raise JobSpecError(f"the memory {text!r} is none at all: leave it out for the scheduler's default")
    return int(match[1]) << _POWERS[match[2].upper()]


def format_memory(memory: int) -> str:
    """Write bytes in whole MiB, rounded up.

    >>> format_memory(8 * 2**30 + 1)
    '8193M'
    """
    return f"{-(-memory >> 20)}M"


def check_line(field: str, value: Optional[str]) -> None:
    """Raise JobSpecError for what cannot be in one line of a script: control and separating characters, no text."""
    if value is None:
        return
    if not value.strip():
        raise JobSpecError(f"the {field} {value!r} is empty: give a text, or leave it out")
    for character in value:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise JobSpecError(f"the {field} {value!r} holds {character!r}: write it without control characters")


def _check_program(program: tuple[str, ...]) -> None:
    if not program or not program[0]:
        raise JobSpecError(f"there is no program to run in {program!r}: name a Python file")
    for word in program:
        if "\0" in word:
            raise JobSpecError(f"the program's argument {word!r} holds a NUL, which no command line can")


def _check_count(field: str, value: Optional[int]) -> None:
    if value is not None and value < 1:
        raise JobSpecError(f"{field.replace('_', ' ')} is {value!r}: give a positive number")
    if value is not None and value > _MOST.get(field, value):
        raise JobSpecError(f"{field.replace('_', ' ')} is {value!r}: give at most {_MOST[field]}")
