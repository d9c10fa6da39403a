"""The virtual clock: what is to happen, in the order of its time, and then in that in which it was planned."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(slots=True, eq=False)
class Process:
    """A process as the clock knows it: it does nothing before `stalled_until`, and nothing once it `is_gone`."""

    name: str
    stalled_until: float = 0.0
    slowness: float = 1.0  # times as long as on other nodes is what it computes
    is_gone: bool = False


class _Entry(NamedTuple):
    time: float
    order: int
    act: Callable[[], object]
    process: Process | None


class Agenda:
    """What is to happen; *now* is the time of what happens."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now
        self.happened = 0
        self._entries: list[_Entry] = []
        self._order = itertools.count()

    def at(self, time: float, act: Callable[[], object], process: Process | None = None) -> None:
        """Plan *act* of *process*: later if that is stalled then, never if it is gone."""
        heapq.heappush(self._entries, _Entry(time, next(self._order), act, process))

    def step(self) -> bool:
        """Let the next thing happen; return whether there was one."""
        while self._entries:
            entry = heapq.heappop(self._entries)
            process = entry.process
            if process is not None:
                if process.is_gone:
                    continue
                if process.stalled_until > entry.time:  # with its order: no message overtakes another
                    heapq.heappush(self._entries, entry._replace(time=process.stalled_until))
                    continue
            self.now = entry.time
            self.happened += 1
            entry.act()
            return True
        return False
