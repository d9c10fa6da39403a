"""Search the output files of a job for a text, reading a bounded part of each: the end."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass

MOST_READ = 1 << 24  # bytes of a file, at its end
_MOST_OF_ALL = 1 << 26  # bytes of all files: of many, less of each is read, but
_LEAST_READ = 1 << 16  # bytes
MOST_LINES = 200  # that are found
_LONGEST = 500  # characters of a line that are shown
_BEFORE = 100  # of them, before what is found
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")  # control sequences [ECMA-48, 5.4]; others


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a job prints to; its own output begins at byte ``begin``, what is before is an earlier job's."""

    path: str
    begin: int = 0


@dataclass(frozen=True, slots=True)
class Searched:
    """A file that was searched: from byte ``begin`` to its ``size``; ``problem``: why it was not."""

    path: str
    size: int = 0
    begin: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that has the text; ``number`` counts from 1, None where not all of the file before it was read."""

    path: str
    number: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """Lines of one text, of each file the last first; ``is_all`` is false if there are more of them."""

    files: tuple[Searched, ...]
    lines: tuple[Line, ...]
    is_all: bool


def search(outputs: Sequence[Output], text: str, most_read: int = MOST_READ, most_lines: int = MOST_LINES) -> Found:
    """Return the lines of *outputs* that have *text*, without regard to case."""
    files: list[Searched] = []
    lines: list[Line] = []
    is_all = True
    most = min(most_read, max(_LEAST_READ, _MOST_OF_ALL // max(1, len(outputs))))
    for output in outputs:
        try:
            file, content = _read_end(output, most)
        except OSError as error:
            files.append(Searched(output.path, problem=error.strerror or str(error)))
            continue
        files.append(file)
        first_number = 1 if file.begin == 0 else None
        found = matching(content.decode(errors="replace"), text, first_number, output.path)
        room = most_lines - len(lines)
        is_all = is_all and len(found) <= room
        lines += found[::-1][:room]
    return Found(tuple(files), tuple(lines), is_all)


def matching(content: str, text: str, first_number: int | None, path: str = "") -> list[Line]:
    r"""Return the lines of *content* that have *text*; the first line has *first_number*, if that is known.

    >>> [(line.number, line.text) for line in matching("one\nTWO\x1b[0m\ntwice", "tw", 1)]
    [(2, 'TWO'), (3, 'twice')]
    """
    wanted = text.lower()
    found = []
    for index, raw in enumerate(content.split("\n")):
        line = _ESCAPES.sub("", raw)
        at = line.lower().find(wanted)
        if at >= 0:
            number = None if first_number is None else first_number + index
            found.append(Line(path, number, _cut(line, at)))
    return found


def _cut(line: str, at: int) -> str:
    """Return the part of a long *line* around what was found *at* a character."""
    if len(line) <= _LONGEST:
        return line
    begin = max(0, at - _BEFORE)
    part = line[begin : begin + _LONGEST]
    return ("..." if begin else "") + part + ("..." if begin + _LONGEST < len(line) else "")


def _read_end(output: Output, most: int) -> tuple[Searched, bytes]:
    """Return the last whole lines of a regular file; raise OSError."""
    with open(
        output.path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)
    ) as file:  # no FIFO waits
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "not a regular file")
        begin = max(output.begin, status.st_size - most)
        file.seek(begin)
        content = file.read(most)
    if begin > output.begin:  # most likely in the middle of a line
        newline = content.find(b"\n") + 1
        begin, content = begin + newline, content[newline:]
    return Searched(output.path, status.st_size, begin), content
