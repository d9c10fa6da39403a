"""What the program waits for, counted for whoever watches the run.

Calls that the program submits are counted one by one, maps by their items, as far as they are the program's own: not
those of its tasks. What goes by one label is counted together, from when there is something to wait for until all of it
is done; then it begins anew. Nobody counts where nobody watches.
"""

from __future__ import annotations

import threading
from typing import Any

from scoop_hpc.errors import RunEndedError
from scoop_hpc.transport.tally import ROWS, Tally
from scoop_hpc.worker.future import Future


class Counts:
    """Counts in one row of a tally."""

    def __init__(self, tally: Tally, row: int) -> None:
        self.total = self.done = self.failed = 0
        self.endless = 0  # maps whose length is not known
        self._tally = tally
        self._row = row
        self._lock = threading.Lock()  # threads of the program wait, too

    @property
    def is_over(self) -> bool:
        """True if there is nothing to wait for."""
        return self.done >= self.total and not self.endless

    def add_call(self) -> None:
        """Count one call more."""
        with self._lock:
            self.total += 1
            if not self.endless:
                self._tally.count_total(self._row, self.total)

    def end_call(self) -> None:
        """Count a call as done, that has not failed."""
        with self._lock:
            self.done += 1
            self._tally.count_done(self._row, self.done)

    def add(self, total: int = 0, done: int = 0, failed: int = 0, endless: int = 0) -> None:
        """Count more, or, where a number is negative, less."""
        with self._lock:
            self.total += total
            self.done += done
            self.failed += failed
            self.endless += endless
            self._tally.count(self._row, None if self.endless else self.total, self.done, self.failed)


class CountedItems:
    """The items of one map: *count* in all, None if that is not known."""

    def __init__(self, counts: Counts, count: int | None) -> None:
        self._counts = counts
        self._is_known = count is not None
        self._total = count or 0
        self._done = 0
        self._is_closed = False
        counts.add(total=self._total, endless=int(not self._is_known))

    def read(self, count: int) -> None:
        """Note that *count* items more are there."""
        if not self._is_known:
            self._total += count
            self._counts.add(total=count)

    def ended(self, done: int, failed: int = 0) -> None:
        """Note that *done* more are done, *failed* ones among them."""
        if self._is_closed:
            return
        self._done += done
        self._counts.add(done=done, failed=failed)

    def close(self) -> None:
        """Wait for no more of them."""
        if not self._is_closed:
            self._is_closed = True
            self._counts.add(total=self._done - self._total, endless=-int(not self._is_known))


class CountedFuture(Future):
    """The future of a call that is counted."""

    __slots__ = ("_counts",)

    def __init__(self, counts: Counts, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._counts: Counts | None = counts
        counts.add_call()

    def settle(self, value: Any, error: BaseException | None) -> None:
        super().settle(value, error)
        counts, self._counts = self._counts, None
        if counts is not None and error is None:
            counts.end_call()
        elif counts is not None and not isinstance(error, RunEndedError):  # else it was not done, nor has it failed
            counts.add(done=1, failed=1)

    def drop(self) -> None:
        super().drop()
        self.leave()

    def leave(self) -> None:
        """Count no more: nobody waits for it."""
        counts, self._counts = self._counts, None
        if counts is not None:
            counts.add(total=-1)


class Awaiting:
    """All that a program waits for, by labels."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._counts: dict[str, Counts] = {}
        self._rows: dict[str, int] = {}
        self._begun = 0  # rows, again and again
        self._lock = threading.Lock()

    def items(self, label: str, count: int | None) -> CountedItems:
        """Count the items of a map that goes by *label*."""
        with self._lock:
            return CountedItems(self._under(label), count)

    def future(self, *arguments: Any) -> Future:
        """Make the future of a call that is counted, of a future's own *arguments*."""
        with self._lock:
            return CountedFuture(self._under(""), *arguments)

    def _under(self, label: str) -> Counts:
        counts = self._counts.get(label)
        if counts is not None and not counts.is_over:
            return counts
        if counts is None and len(self._counts) == ROWS:
            over = next((each for each, its in self._counts.items() if its.is_over), None)
            if over is None:  # who waits under so many labels at once, may do so without
                return next(iter(self._counts.values()))
            del self._counts[over]
            self._rows[label] = self._rows.pop(over)
        row = self._rows.setdefault(label, len(self._rows))
        self._begun += 1
        self._tally.begin(row, self._begun, label)
        counts = self._counts[label] = Counts(self._tally, row)
        return counts
