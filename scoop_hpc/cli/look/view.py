"""What of a look at a run is to be seen, and in which order: what keys choose, without a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scoop_hpc.jobs.snapshot import Failure, Function, Node, Snapshot, Worker
from scoop_hpc.run.watching.progress import clock_time

UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END = "up", "down", "page up", "page down", "home", "end"
ENTER, ESCAPE, ERASE, TAB = "enter", "escape", "erase", "tab"

Row = Worker | Node | Function | Failure


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list: the field of its rows, in words; numbers are sorted from the highest on."""

    title: str
    name: str
    words: Callable[[Any], str]
    is_number: bool = False
    is_flexible: bool = False  # cut first, where there is too little room

    def text(self, row: Row) -> str:
        """Return what a cell shows."""
        value = getattr(row, self.name)
        return "-" if value is None else self.words(value)

    def key(self, row: Row) -> Any:
        """Return what rows are sorted by."""
        value = getattr(row, self.name)
        return -(value or 0) if self.is_number else natural(str(value or ""))


def natural(text: str) -> list[tuple[int, int | str]]:
    """Return what *text* is sorted by so that numbers in it count as such.

    >>> sorted(["n10", "n9", "0.2"], key=natural)
    ['0.2', 'n9', 'n10']
    """
    parts = re.split(r"([0-9]+)", text)
    return [(0, int(part)) if number else (1, part) for part, number in zip(parts, [False, True] * len(parts)) if part]


def printable(text: str) -> str:
    r"""Return *text* in one line, without what would move a terminal's cursor.

    >>> printable("a\x1b[2Jb")
    'a?[2Jb'
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def short_bytes(size: float) -> str:
    """Return a number of bytes in four characters or so.

    >>> [short_bytes(size) for size in (0, 900, 2**20, 1500 * 2**20, 3 * 2**40)]
    ['0', '900', '1.0M', '1.5G', '3.0T']
    """
    for unit in ("", "K", "M", "G"):
        if size < 1000:
            return f"{size:.0f}{unit}" if not unit or size >= 10 else f"{size:.1f}{unit}"
        size /= 1024
    return f"{size:.0f}T" if size >= 10 else f"{size:.1f}T"


def short_time(seconds: float) -> str:
    """Return a duration in six characters or so.

    >>> [short_time(seconds) for seconds in (0.0123, 4.2, 75, 90000)]
    ['12ms', '4.2s', '0:01:15', '25:00:00']
    """
    if seconds < 1:
        return f"{1000 * seconds:.0f}ms"
    return f"{seconds:.1f}s" if seconds < 60 else clock_time(seconds)


def _count(value: float) -> str:
    return f"{value:.0f}"


_WORKERS = (
    Column("WORKER", "name", printable),
    Column("NODE", "node", printable, is_flexible=True),
    Column("PID", "pid", _count, is_number=True),
    Column("STATE", "state", printable),
    Column("SINCE", "since_s", short_time, is_number=True),
    Column("CPU%", "cpu_percent", _count, is_number=True),
    Column("MEM", "memory_bytes", short_bytes, is_number=True),
    Column("DONE", "done", _count, is_number=True),
    Column("TASK", "task", printable, is_flexible=True),
)
_NODES = (
    Column("NODE", "name", printable, is_flexible=True),
    Column("STATE", "state", printable),
    Column("WORKERS", "workers", _count, is_number=True),
    Column("QUEUED", "queued", _count, is_number=True),
    Column("IN", "steals_in", _count, is_number=True),
    Column("OUT", "steals_out", _count, is_number=True),
    Column("DONE", "done", _count, is_number=True),
    Column("CPU%", "cpu_percent", _count, is_number=True),
    Column("MEM", "memory_bytes", short_bytes, is_number=True),
    Column("LIMIT", "memory_limit_bytes", short_bytes, is_number=True),
    Column("GPU%", "gpus", lambda gpus: ",".join(f"{gpu.percent:.0f}" for gpu in gpus) or "-"),
)
_FUNCTIONS = (
    Column("FUNCTION", "name", printable, is_flexible=True),
    Column("CALLS", "count", _count, is_number=True),
    Column("FAILED", "failed", _count, is_number=True),
    Column("MEAN", "mean_s", short_time, is_number=True),
    Column("P99", "p99_s", short_time, is_number=True),
    Column("TOTAL", "total_s", short_time, is_number=True),
)
_FAILURES = (
    Column("FUNCTION", "function", printable),
    Column("ITEM", "position", _count, is_number=True),
    Column("NODE", "node", printable),
    Column("WORKER", "worker", printable),
    Column("TRY", "attempt", _count, is_number=True),
    Column("ERROR", "error", printable, is_flexible=True),
)
COLUMNS = {"workers": _WORKERS, "nodes": _NODES, "functions": _FUNCTIONS, "failures": _FAILURES}
_OWN_ORDER = {"functions": "total_s"}  # by what a list is sorted at first; the others have the order of the look
_NODE_OF = {"workers": "node", "nodes": "name", "failures": "node"}


@dataclass(frozen=True, slots=True)
class View:
    """What the user has chosen to see."""

    of: str = "workers"  # a list
    sort: int | None = None  # a column; None: the list's own order
    filter: str = ""  # text that a row contains
    node: str = ""  # the only one whose rows are shown
    offset: int = 0  # the first row that is shown
    typing: str = ""  # "filter" or "node": keys are text for that

    def rows(self, seen: Snapshot) -> Sequence[Row]:
        """Return the rows of the list, those that are not shown as well."""
        rows: Sequence[Row] = getattr(seen, self.of)
        columns = COLUMNS[self.of]
        if self.node and self.of in _NODE_OF:
            rows = [row for row in rows if getattr(row, _NODE_OF[self.of]) == self.node]
        if self.filter:
            wanted = self.filter.lower()
            rows = [row for row in rows if any(wanted in column.text(row).lower() for column in columns)]
        column = self.sort_column()
        return rows if column is None else sorted(rows, key=column.key)

    def sort_column(self) -> Column | None:
        """Return the column that rows are sorted by; None: they have the order of the look."""
        columns = COLUMNS[self.of]
        if self.sort is not None:
            return columns[self.sort]
        return next((column for column in columns if column.name == _OWN_ORDER.get(self.of)), None)

    def scrolled(self, count: int, height: int) -> View:
        """Return the view with an offset that leaves no room empty, where *count* rows have *height* lines."""
        return replace(self, offset=max(0, min(self.offset, count - height)))

    def press(self, key: str, seen: Snapshot, height: int) -> View:
        """Return the view after the user has pressed *key*, while it has *height* lines for rows."""
        if self.typing:
            return self._type(key, seen)
        count = len(self.rows(seen))
        moves = {UP: -1, DOWN: 1, PAGE_UP: -height, PAGE_DOWN: height, HOME: -count, END: count}
        if key in moves:
            return replace(self.scrolled(count, height), offset=self.offset + moves[key]).scrolled(count, height)
        if key == TAB:
            lists = list(COLUMNS)
            return replace(self, of=lists[(lists.index(self.of) + 1) % len(lists)], sort=None, offset=0)
        if key == "s":
            last = len(COLUMNS[self.of]) - 1
            return replace(self, sort=0 if self.sort is None else None if self.sort == last else self.sort + 1)
        if key == "/":
            return replace(self, typing="filter", filter="", offset=0)
        if key == "n":
            return replace(self, typing="node", node="", offset=0)
        if key == ESCAPE:
            return replace(self, filter="", node="", offset=0)
        return self

    def _type(self, key: str, seen: Snapshot) -> View:
        text = self.filter if self.typing == "filter" else self.node
        if key == ESCAPE:
            return replace(self._typed(""), typing="")
        if key == ENTER:
            is_part = self.typing == "node" and text
            return replace(self._typed(_full_name(text, seen) if is_part else text), typing="")
        if key == ERASE:
            return self._typed(text[:-1])
        return self._typed(text + key) if len(key) == 1 and key.isprintable() else self

    def _typed(self, text: str) -> View:
        return replace(self, filter=text) if self.typing == "filter" else replace(self, node=text)


def _full_name(text: str, seen: Snapshot) -> str:
    """Return the first name of a node that begins with *text*, or has it in it."""
    names = [node.name for node in seen.nodes]
    beginning = [name for name in names if name == text] + [name for name in names if name.startswith(text)]
    return next(iter(beginning + [name for name in names if text in name]), text)
