"""What a workload asks of a peer, and the peer that a run of scoop_hpc is, with the program beside the workers."""

from __future__ import annotations

import functools
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any


class Peer(ABC):
    """A pool of *workers*; each peer overrides what it does in a way of its own.

    *uneven*: tasks are long and differ, so none should wait behind another; *large*: arguments are.
    """

    verbs: Any = None  # of those whose tasks can make tasks, see `functions`

    def __init__(self, workers: int, uneven: bool = False, large: bool = False) -> None:
        self.workers = workers
        self.others = workers  # that are not the process which submits
        self.uneven = uneven
        self.large = large

    @abstractmethod
    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Start a task; return its handle."""

    @abstractmethod
    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        """Return the results for all *items*, by the peer's fastest way."""

    def map_lazily(self, function: Callable[..., Any], items: Sequence[Any]) -> Iterator[Any]:
        """Yield the results for all *items*; of those who can, before all are there."""
        return iter(self.map(function, items))

    def result(self, handle: Any) -> Any:
        """Wait for a task."""
        return handle.result()

    def result_from_elsewhere(self, handle: Any) -> Any:
        """Wait for a task that must not run in this process."""
        return self.result(handle)

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        """Wait for many tasks."""
        return [self.result(handle) for handle in handles]

    def map_reduce(self, function: Callable[..., Any], reduction: Callable[..., Any], items: Sequence[Any]) -> Any:
        """Reduce the results of a map."""
        return functools.reduce(reduction, self.map(function, items))

    def let_start(self, handles: Sequence[Any]) -> None:
        """Give tasks a moment to start elsewhere."""
        time.sleep(0.01)

    def broker(self) -> int | None:
        """Return the process id of the broker, of those that have one."""
        return None

    def root(self) -> int:
        """Return the process that is above all others of the pool."""
        return os.getpid()

    def chunk(self, items: Sequence[Any]) -> int:
        """Return how many items to put into a task: what `multiprocessing.Pool.map` chooses; 1 if they are uneven."""
        return 1 if self.uneven else max(1, math.ceil(len(items) / (4 * self.workers)))

    def close(self) -> None:  # noqa: B027
        """End the pool."""


class Run(Peer):
    """Futures of the run that this program is started in."""

    def __init__(self, workers: int, uneven: bool = False, large: bool = False) -> None:
        # 100 ms to import, which other peers need not
        from scoop_hpc import futures  # noqa: PLC0415

        super().__init__(workers, uneven, large)
        self._futures: Any = futures
        self.others = workers if workers > 1 else 0  # the program is a process beside them, unless there is but one

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._futures.submit(function, *args)

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return list(self._futures.map(function, items))

    def map_lazily(self, function: Callable[..., Any], items: Sequence[Any]) -> Iterator[Any]:
        results: Iterator[Any] = self._futures.map(function, items)
        return results

    def result_from_elsewhere(self, handle: Any) -> Any:
        return handle.result(timeout=60)  # a program that waits with a time-out leaves tasks to the other workers

    def map_reduce(self, function: Callable[..., Any], reduction: Callable[..., Any], items: Sequence[Any]) -> Any:
        return self._futures.map_reduce(function, reduction, items)

    def let_start(self, handles: Sequence[Any]) -> None:
        self._futures.wait(handles, timeout=0.01)
