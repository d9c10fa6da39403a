"""What a site's run has measured, and the line by which its program tells, among whatever else is printed."""

from __future__ import annotations

import msgspec

_MARK = "scoop-hpc bench: "


class Measured(msgspec.Struct, frozen=True):
    """The values of one row, one for each time, or why there is none."""

    row: str
    values: tuple[float, ...] = ()
    failure: str = ""


class SiteFigures(msgspec.Struct, frozen=True):
    """What was measured by a run of so many *nodes* and *workers*; *first* is when it had its first result."""

    nodes: int
    workers: int
    first: float  # seconds since 1970, by the clock of the program's node
    rows: tuple[Measured, ...]


def write(figures: SiteFigures) -> str:
    """Return *figures* as a line."""
    return _MARK + msgspec.json.encode(figures).decode()


def read(output: str) -> SiteFigures | None:
    """Return the figures in a job's *output*, None if there is no such line, or none that can be read.

    >>> read("hello\\n" + write(SiteFigures(1, 2, 0.5, ()))).workers
    2
    >>> read("hello")
    """
    for line in reversed(output.splitlines()):
        _, mark, text = line.partition(_MARK)
        if mark:
            try:
                return msgspec.json.decode(text, type=SiteFigures)
            except msgspec.DecodeError:  # cut off
                continue
    return None
