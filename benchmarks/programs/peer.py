"""What a workload asks of a peer, and the peers that have the standard library's Executor."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from functions import Verbs


class Peer:
    """A pool of *workers*; each peer overrides what it does in a way of its own.

    *uneven*: tasks are long and differ, so none should wait behind another; *large*: arguments are.
    """

    verbs: Verbs | None = None  # of those whose tasks can make tasks

    def __init__(self, workers: int, uneven: bool = False, large: bool = False) -> None:
        self.workers = workers
        self.others = workers  # that are not the process which submits
        self.uneven = uneven
        self.large = large

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Start a task; return its handle."""
        raise NotImplementedError

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        """Return the results for all *items*, by the peer's fastest way."""
        raise NotImplementedError

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

    def chunk(self, items: Sequence[Any]) -> int:
        """Return how many items to put into a task: what `multiprocessing.Pool.map` chooses; 1 if they are uneven."""
        return 1 if self.uneven else max(1, math.ceil(len(items) / (4 * self.workers)))

    def close(self) -> None:
        """End the pool."""


class ExecutorPeer(Peer):
    """A peer with an Executor."""

    executor: Executor

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.executor.submit(function, *args)

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return list(self.executor.map(function, items, chunksize=self.chunk(items)))

    def close(self) -> None:
        self.executor.shutdown()


def memory(pids: Iterable[int], fields: tuple[str, ...]) -> int:
    """Return the bytes that *fields* of the processes' smaps_rollup add up to [proc_pid_smaps(5)]."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(fields))


def own_and(broker: int | None) -> list[int]:
    """Return the processes that hold what is queued."""
    return [os.getpid()] if broker is None else [os.getpid(), broker]
