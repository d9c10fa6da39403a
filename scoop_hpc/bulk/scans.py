"""Scans of a chunk's items: its results so far, and later what came before them put in front."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from scoop_hpc.bulk.chunks import Chunk, run_chunk
from scoop_hpc.pickling.arguments import NEVER_RESULTS, refuse_result
from scoop_hpc.pickling.packed import Packed
from scoop_hpc.worker.policy import DEFAULT


class Scanned(Struct, frozen=True):
    """The running results of a chunk by itself, and how many seconds a reduction takes."""

    chunk: Chunk
    each: float

    @property
    def left(self) -> int:
        """The number of items of the chunk that were left."""
        return self.chunk.left

    @property
    def seconds(self) -> float:
        """The seconds that the others took."""
        return self.chunk.seconds

    @property
    def size(self) -> int:
        """The bytes of their results."""
        return self.chunk.size

    @property
    def has_failed(self) -> bool:
        """True if an item of the chunk failed."""
        return self.chunk.has_failed


class _Running:
    """Reduces what it is called with to what it was called with before."""

    def __init__(self, function: Callable[..., Any], reduction: Callable[[Any, Any], Any]) -> None:
        self._function = function
        self._reduction = reduction
        self._total: Any = None
        self._started = False
        self.timed = 0
        self.seconds = 0.0

    def __call__(self, *args: Any) -> Any:
        value = self._function(*args)
        if not self._started:
            if type(value) in NEVER_RESULTS:
                refuse_result(self._function, value)
            self._started = True
            self._total = value
        elif self.timed < DEFAULT.scan_timed:
            start = time.monotonic()
            self._total = self._reduction(self._total, value)
            self.seconds += time.monotonic() - start
            self.timed += 1
        else:
            self._total = self._reduction(self._total, value)
        return self._total


def scan_chunk(
    function: Callable[..., Any],
    reduction: Callable[[Any, Any], Any],
    items: Sequence[tuple[Any, ...]],
    budget: float | None = None,
    first: int = 0,
) -> Scanned:
    """Return the running reduction of ``function(*item)``, up to an item that fails, or that there is no time for.

    Called as a task.
    """
    running = _Running(function, reduction)
    chunk = run_chunk(running, items, budget, first, function)
    return Scanned(chunk, running.seconds / max(1, running.timed))


def put_before(reduction: Callable[[Any, Any], Any], before: Any, chunk: Chunk) -> Chunk:
    """Reduce *before* with each result of *chunk*; called as a task, or where it is not worth one."""
    results = [(result.result() if type(result) is Packed else result,) for result in chunk.results]
    shifted = run_chunk(partial(reduction, before), results)
    return shifted if shifted.error is not None else Chunk(shifted.results, chunk.error)


def worth_a_task(each: float, count: int) -> bool:
    """Return whether *count* reductions that take *each* so many seconds should be done elsewhere.

    >>> worth_a_task(1e-7, 10_000), worth_a_task(1e-5, 10_000), worth_a_task(1e-5, 10)
    (False, True, False)
    """
    return each * count > DEFAULT.scan_message + DEFAULT.scan_pickling * count
