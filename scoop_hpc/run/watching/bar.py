"""A bar of the run's progress at the bottom of a terminal, drawn by rich; what is printed scrolls above it.

It is taken away before something is printed, and drawn again after it, unless that has not ended its line: a question,
or a bar of the program's own, has the line for itself. Nothing is written here, the driver writes all in one order.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable

from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.control import Control
from rich.progress_bar import ProgressBar
from rich.segment import ControlType
from rich.table import Table
from rich.text import Text

from scoop_hpc.events import Event
from scoop_hpc.run.watching.progress import Part, Progress, clock_time, per_second

_MOST_LINES = 4  # one for each label, the last ones
_SHOWN_AFTER = 0.5  # seconds: what is over by then needs no bar
_REDRAWN = 0.1  # seconds from one look of the bar to the next, at least
_CLOCK = 1.0  # the same where nothing happens: the time goes on
_LABEL = 20  # columns


class Bar:
    """The bar, or several: an observer of the driver."""

    interval = 0.25

    def __init__(
        self,
        clock: Callable[[], float],
        size: Callable[[], tuple[int, int]],
        encoding: str = "utf-8",
        streams: tuple[int, ...] = (1, 2),
    ) -> None:
        self.streams = streams
        self._clock = clock
        self._size = size  # of the terminal: columns and lines
        self._page = _Page(encoding)
        self._console = Console(file=self._page, force_terminal=True, legacy_windows=False, highlight=False)
        self._progress = Progress(clock)
        self._is_new = False  # something has happened since it was drawn
        self._since: float | None = None  # since when there is something to wait for
        self._drawn = 0  # lines of it that are on the terminal
        self._look = b""  # as it was drawn last
        self._looked = float("-inf")  # when
        self._line_is_open = False  # of what is printed
        self._is_closed = False

    def __call__(self, event: Event) -> None:
        self._progress(event)
        self._is_new = True
        if not self._progress.running:
            self._since = None
        elif self._since is None:
            self._since = self._clock()

    @property
    def is_drawn(self) -> bool:
        return self._drawn > 0

    def deadline(self) -> float | None:
        if self._is_closed or self._line_is_open:
            return None
        if self._since is None:
            return self._looked if self._drawn else None
        if not self._drawn:
            return self._since + _SHOWN_AFTER
        return self._looked + (_REDRAWN if self._is_new else _CLOCK)

    def show(self) -> bytes:
        due = self.deadline()
        if due is None or self._clock() < due:
            return b""
        return self._erase() + self._draw()

    def above(self, text: bytes) -> bytes:
        self._line_is_open = not text.endswith(b"\n")
        had_bar = self._drawn > 0
        return self._erase() + text + (self._draw() if had_bar and not self._line_is_open else b"")

    def close(self) -> bytes:
        self._is_closed = True
        return self._erase()

    def _erase(self) -> bytes:
        """Return what takes the bar away; the cursor is at the beginning of its place then."""
        lines, self._drawn = self._drawn, 0
        if not lines:
            return b""
        up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * (lines - 1)
        control = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *up)
        return str(control).encode()

    def _draw(self) -> bytes:
        """Return what draws the bar, from the beginning of a line on; the cursor stays in its last line."""
        now = self._clock()
        parts = self._progress.running[-_MOST_LINES:]
        if self._is_closed or not parts:
            return b""
        if now - self._looked >= _REDRAWN:
            self._looked, self._is_new = now, False
            self._look = self._render(parts, now)
        self._drawn = self._look.count(b"\n") + 1
        return self._look

    def _render(self, parts: list[Part], now: float) -> bytes:
        columns, lines = self._size()
        self._console.size = ConsoleDimensions(max(columns - 1, 1), max(lines, 1))  # a full line may be broken
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True, max_width=_LABEL)
        grid.add_column(ratio=1, min_width=5)
        for _ in range(4):
            grid.add_column(no_wrap=True, justify="right")
        for part in parts:
            grid.add_row(*_cells(part, now))
        self._console.print(Group(grid, self._workers()), end="", crop=True, overflow="ellipsis", no_wrap=True)
        return self._page.take().rstrip("\n").encode(self._page.encoding, errors="replace")

    def _workers(self) -> RenderableType:
        progress = self._progress
        queued = progress.queued()
        text = f"{progress.busy} running" + ("" if queued is None else f", {queued} queued")
        if progress.workers:
            text += f"; {progress.busy} of {progress.workers} workers busy"
        return Text(text, style="dim", no_wrap=True, overflow="ellipsis")


def _cells(part: Part, now: float) -> list[RenderableType]:
    left = part.left(now)
    count = f"{part.done}" if not part.total else f"{part.done}/{part.total} {100 * part.done // part.total}%"
    return [
        Text(part.label or "tasks", overflow="ellipsis"),
        ProgressBar(total=part.total, completed=part.done, animation_time=now, pulse=part.total is None),
        Text(count),
        Text(f"{part.failed} failed" if part.failed else "", style="red"),
        Text(per_second(part.rate(now))),
        Text("-:--:--" if left is None else clock_time(left)),
    ]


class _Page(io.StringIO):
    """What rich has drawn."""

    encoding = "utf-8"

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self.encoding = encoding

    def take(self) -> str:
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


def terminal_size(descriptor: int) -> tuple[int, int]:
    """Return how many columns and lines a terminal has."""
    try:
        columns, lines = os.get_terminal_size(descriptor)
    except OSError:
        return 80, 24
    return columns or 80, lines or 24
