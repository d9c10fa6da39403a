"""The bar of `submit --wait` in a terminal: how far the job is, as its driver tells whoever looks.

What the job prints scrolls above it.
"""

from __future__ import annotations

from collections.abc import Callable

from scoop_hpc.errors import ScoopError
from scoop_hpc.events import NodeJoined, Waits, WorkersBusy
from scoop_hpc.jobs.look import Viewer
from scoop_hpc.jobs.snapshot import Snapshot, Wait
from scoop_hpc.run.watching.progress import Display

_AGAIN = 1.0  # seconds from one look to the next
_ALL = "all nodes"


class WaitingBar:
    """Draws *bar* as the looks at *path* say; *write* is given a descriptor and what to write there.

    Nothing is asked before `look` is called, which is when the job has begun.
    """

    def __init__(
        self, path: str, bar: Display, clock: Callable[[], float], write: Callable[[int, bytes], None]
    ) -> None:
        self._path = path
        self._bar = bar
        self._clock = clock
        self._write = write
        self._viewer: Viewer | None = None
        self._looked = float("-inf")
        self._numbers: dict[str, int] = {}  # by label
        self._done: dict[str, int] = {}  # the same
        self._count = 0  # of all numbers
        self._is_off = False  # there is nothing to be seen

    def look(self) -> None:
        """Look at the run, if that is due, and draw what is new."""
        now = self._clock()
        if not self._is_off and now >= self._looked + _AGAIN:
            self._looked = now
            try:
                self._viewer = self._viewer or Viewer(self._path)
                seen = self._viewer.look(now)
            except (ScoopError, OSError):  # the waiting does without
                self._is_off = True
                return self.close()
            if seen is not None and self._viewer.is_answered:
                self._take(seen)
        return self._draw(self._bar.show())

    def print(self, block: bytes) -> None:
        """Write what the job has printed to the standard output."""
        self._write(1, self._bar.above(block) if 1 in self._bar.streams else block)

    def say(self, line: str) -> None:
        """Write a line to the standard error."""
        self._write(2, self._bar.above(f"{line}\n".encode(errors="backslashreplace")))

    def close(self) -> None:
        """Take the bar away for good."""
        self._draw(self._bar.close())

    def _take(self, seen: Snapshot) -> None:
        self._bar(NodeJoined(_ALL, "", 0, 0, seen.totals.workers))
        self._bar(WorkersBusy(_ALL, seen.totals.busy_workers))
        if seen.state == "ended":
            return self.close()
        for wait in seen.waits:
            self._bar(Waits(self._number(wait), wait.label, wait.total, wait.done, wait.failed))
        return None

    def _number(self, wait: Wait) -> int:
        """Return the number of what goes by a label: another one where it has begun anew."""
        if wait.label not in self._numbers or wait.done < self._done[wait.label]:
            self._count += 1
            self._numbers[wait.label] = self._count
        self._done[wait.label] = wait.done
        return self._numbers[wait.label]

    def _draw(self, text: bytes) -> None:
        if text:
            self._write(2, text)
