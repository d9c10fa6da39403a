"""Read what users write of walltimes, memory sizes, points in time and lists; write it as schedulers read it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from scoop_hpc.errors import JobSpecError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WALLTIME = re.compile(
    r"(?P<count>[0-9]{1,9})(?P<unit>[smhd])"
    r"|(?P<days>[0-9]{1,6})-(?P<day_hours>[0-9]{1,2})(:(?P<day_minutes>[0-9]{1,2})(:(?P<day_seconds>[0-9]{1,2}))?)?"
    r"|(?P<hours>[0-9]{1,6}):(?P<hour_minutes>[0-9]{1,2}):(?P<hour_seconds>[0-9]{1,2})"
    r"|(?P<minutes>[0-9]{1,9})(:(?P<minute_seconds>[0-9]{1,2}))?"
)
_MEMORY = re.compile(r"([0-9]{1,15})([KMGT])(?:I?B)?", re.IGNORECASE)
_GPUS = re.compile(r"(?:gpu:)?(?:([A-Za-z][A-Za-z0-9_.-]*):)?([0-9]{1,9})")
_POWERS = {"K": 10, "M": 20, "G": 30, "T": 40}
_TIME_OF_DAY = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_MOST_SECONDS = 100 * 365 * 86400  # larger numbers are slips


def parse_walltime(text: str, what: str = "walltime") -> int:
    """Read a walltime as seconds: minutes, Slurm's forms with colons and days, or one number and a unit.

    The forms are ``m``, ``m:s``, ``h:m:s``, ``d-h``, ``d-h:m``, ``d-h:m:s`` [sbatch(1) --time], and ``90s``, ``45m``,
    ``2h``, ``1d``. Errors call it *what*.

    >>> [parse_walltime(text) for text in ("90", "1:30:00", "1-12", "2h")]
    [5400, 5400, 129600, 7200]
    """
    match = _WALLTIME.fullmatch(text)
    if match is None:
        raise JobSpecError(f"cannot read the {what} {text!r}: write minutes, H:MM:SS, D-HH:MM:SS, or 90s, 45m, 2h, 1d")
    if match["unit"]:
        seconds = int(match["count"]) * _UNITS[match["unit"]]
    else:
        parts = {name: int(value) for name, value in match.groupdict().items() if value is not None}
        inner = {name: value for name, value in parts.items() if "_" in name}
        too_large = [str(value) for name, value in inner.items() if value > (23 if name == "day_hours" else 59)]
        if too_large:
            raise JobSpecError(f"{too_large[0]!r} is too large in the {what} {text!r}: carry it over to the next unit")
        units = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}
        seconds = sum(value * units[name.rpartition("_")[2]] for name, value in parts.items())
    if not seconds:
        raise JobSpecError(f"{what} must be positive, got {text!r}: leave it out for the scheduler's default")
    return seconds


def format_walltime(seconds: int) -> str:
    """Write a walltime as Slurm, PBS and Grid Engine all read it.

    >>> format_walltime(129605)
    '36:00:05'
    """
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def parse_events(text: str) -> tuple[str, ...]:
    """Read a list with commas.

    >>> parse_events("begin,end")
    ('begin', 'end')
    """
    return tuple(text.split(",")) if text else ()


def parse_gpus(text: str) -> tuple[str | None, int]:
    """Read the type, None for any, and the number of GPUs.

    >>> parse_gpus("2"), parse_gpus("a100:2")
    ((None, 2), ('a100', 2))
    """
    match = _GPUS.fullmatch(text)
    if match is None:
        raise JobSpecError(f"cannot read the GPUs {text!r}: write a number, or TYPE:N such as 'a100:2'")
    return match[1], int(match[2])


def parse_memory(text: str) -> int:
    """Read a memory size as bytes; the units are powers of 1024.

    >>> parse_memory("8G"), parse_memory("512MiB")
    (8589934592, 536870912)
    """
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise JobSpecError(f"cannot read the memory {text!r}: write a whole number and K, M, G or T, such as '8G'")
    if not int(match[1]):
        raise JobSpecError(f"memory must be positive, got {text!r}: leave it out for the scheduler's default")
    return int(match[1]) << _POWERS[match[2].upper()]


def format_memory(memory: int) -> str:
    """Write bytes in whole MiB, rounded up.

    >>> format_memory(8 * 2**30 + 1)
    '8193M'
    """
    return f"{-(-memory >> 20)}M"


def parse_niceness(text: str) -> int:
    """Read a niceness, as of nice(1).

    >>> parse_niceness("-5")
    -5
    """
    if not re.fullmatch("[+-]?[0-9]{1,3}", text, re.ASCII):
        raise JobSpecError(f"cannot read the niceness {text!r}: write a whole number, such as 10")
    return int(text)


def parse_patience(text: str) -> float:
    """Read a number of seconds, which need not be whole.

    >>> parse_patience("2.5")
    2.5
    """
    if not re.fullmatch("[0-9]{1,12}([.][0-9]{1,6})?", text, re.ASCII):
        raise JobSpecError(f"cannot read the seconds {text!r}: write a positive number, such as 300")
    return float(text)


def parse_begin(text: str, now: datetime) -> str:
    """Read the earliest time at which a job may begin; return it in ISO 8601, local time, to the second.

    The forms are ``HH:MM``, the next time that the clock shows it; ``YYYY-MM-DD`` and ``YYYY-MM-DDTHH:MM``, with
    seconds or without; and ``+`` with one number and a unit, counted from *now*.

    >>> [parse_begin(text, datetime(2026, 5, 1, 12, 0)) for text in ("11:30", "2026-05-02", "+2h")]
    ['2026-05-02T11:30:00', '2026-05-02T00:00:00', '2026-05-01T14:00:00']
    """
    advice = "write HH:MM, YYYY-MM-DDTHH:MM, or +90m, +2h, +1d"
    time_of_day = _TIME_OF_DAY.fullmatch(text)
    delay = _WALLTIME.fullmatch(text[1:]) if text.startswith("+") else None
    try:
        if delay is not None and delay["unit"]:
            begin = now + timedelta(seconds=min(int(delay["count"]) * _UNITS[delay["unit"]], _MOST_SECONDS))
        elif time_of_day is not None:
            hour, minute, second = (int(part or 0) for part in time_of_day.groups())
            begin = now.replace(hour=hour, minute=minute, second=second)
            begin += timedelta(days=begin <= now)
        else:
            begin = datetime.fromisoformat(text)
    except ValueError as error:
        raise JobSpecError(f"cannot read the time to begin {text!r}: {advice}") from error
    if begin.tzinfo is not None:
        raise JobSpecError(f"the time to begin {text!r} has a time zone: write the local time of the cluster")
    return begin.replace(microsecond=0).isoformat()
