"""The deadlines of those that wait."""

from __future__ import annotations

import heapq
import time
from typing import Protocol


class Timed(Protocol):
    """Who waits, until somebody or the deadline wakes him."""

    deadline: float | None  # of time.monotonic()
    woken: bool

    def wake(self) -> None:
        """End the waiting."""


class Timers:
    """The deadlines of parked greenlets."""

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Timed]] = []  # false while nobody waits with a deadline
        self._crowded = 64

    def add(self, waiter: Timed) -> None:
        """Wake *waiter* at its deadline."""
        assert waiter.deadline is not None
        if len(self.heap) >= self._crowded:  # mostly of waiters that were woken long before their deadline
            self.heap = [timer for timer in self.heap if not timer[2].woken]
            heapq.heapify(self.heap)
            self._crowded = 64 + 2 * len(self.heap)
        heapq.heappush(self.heap, (waiter.deadline, id(waiter), waiter))

    def left(self) -> float | None:
        """Return the seconds until the next deadline, None if there is none."""
        return max(0.0, self.heap[0][0] - time.monotonic()) if self.heap else None

    def expire(self) -> None:
        """Wake those whose time has come."""
        while self.heap and self.heap[0][0] <= time.monotonic():
            heapq.heappop(self.heap)[2].wake()
