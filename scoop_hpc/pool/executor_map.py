"""`Executor.map`: by a `PoolMap`, whose chunks follow from how long items take, or by one future for each task.

The latter where the program says how many items make a task, or how many tasks are submitted ahead of its consumer.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from msgspec import Struct

from scoop_hpc.bulk.chunks import Chunk, SingleCalls, can_be_sent, run_chunk, to_send
from scoop_hpc.bulk.options import bulk_task
from scoop_hpc.bulk.results import sized
from scoop_hpc.errors import WorkerLostError
from scoop_hpc.pickling.arguments import refuse_unsendable, sendable
from scoop_hpc.pool.calls import AnyFuture, Calls
from scoop_hpc.pool.pool_map import PIECES, Item, PoolMap
from scoop_hpc.pool.status import Counted
from scoop_hpc.task import options_of


class Submits(Protocol):
    """The Executor, as its maps use it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AnyFuture:
        """Schedule a call."""


class Wish(Struct, frozen=True):
    """How the results of a map are wanted."""

    chunksize: int | None  # items in a task; None: as many as is good
    buffersize: int | None  # tasks that are submitted ahead of the results that were taken; None: all
    deadline: float | None  # of `time.monotonic`
    label: str | None  # what the map is called in a notebook; None: it is not shown
    length: int | None  # items, if that is known
    values: range | Iterator[Any] | None = None  # what each item consists of, if that is one argument


def map_calls(executor: Submits, calls: Calls, function: Any, items: Iterator[Item], wish: Wish) -> Iterator[Any]:
    """Return the results of *function* for *items*, in their order. See `Executor.map`."""
    options = options_of(function)
    has_limit = options is not None and options.time_limit is not None  # which is that of one call
    label = wish.label if _in_notebook() else None
    if wish.chunksize is None and wish.buffersize is None and not has_limit:
        return _map_in_chunks(calls, function, _all(items, wish.values), wish.deadline, label)
    chunksize = 1 if has_limit or wish.chunksize is None else wish.chunksize
    tasks: Iterator[tuple[Any, ...]]
    if chunksize == 1:
        tasks = ((function, *item) for item in items)
    else:
        run = bulk_task(run_chunk, function)
        parts = _chunks(items, wish.values, chunksize)
        tasks = ((run, function, part) for part in parts)
    counter = None if label is None else _Counter(wish.length)
    mapped = _Mapped(weakref.ref(executor), tasks, chunksize > 1, wish.deadline, counter)
    mapped.submit(wish.buffersize)
    results = mapped.results(wish.buffersize is not None, calls)
    if label is not None and counter is not None:
        results = _shown(label, counter.counted, results)
    return sized(results, wish.length)


def _map_in_chunks(
    calls: Calls, function: Any, items: Sequence[Item], deadline: float | None, label: str | None
) -> Iterator[Any]:
    """Map in chunks that follow from how long the items take."""
    if not can_be_sent(items):
        refuse_unsendable(items[sendable(items)], {})
    mapped = PoolMap(calls.pool, function, items)
    mapped.start()
    results = mapped.results(deadline)
    if label is not None:
        results = _shown(label, mapped.counted, results)
    return sized(results, len(items))


def _all(items: Iterator[Item], values: range | Iterator[Any] | None) -> Sequence[Item]:
    if values is None:
        return list(items)
    return SingleCalls(values if isinstance(values, range) else list(values))


def _chunks(items: Iterator[Item], values: range | Iterator[Any] | None, size: int) -> Iterator[Sequence[Item]]:
    if isinstance(values, range):
        for start in range(0, len(values), size):
            yield SingleCalls(values[start : start + size])
        return
    while chunk := list(itertools.islice(items if values is None else values, size)):
        yield to_send(chunk if values is None else SingleCalls(chunk))


def _in_notebook() -> bool:
    """Return whether a notebook may show progress; few programs have imported what could."""
    if "IPython" not in sys.modules:
        return False
    from scoop_hpc.pool.notebook import in_notebook  # noqa: PLC0415  notebooks only

    return in_notebook()


def _shown(label: str, counted: Callable[[], Counted], results: Iterator[Any]) -> Iterator[Any]:
    from scoop_hpc.pool.notebook import shown  # noqa: PLC0415  notebooks only

    return shown(label, counted, results)


class _Counter:
    """Counts the items of a map whose tasks are futures, for a notebook; *total* is None if that is not known."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._done = self._failed = 0
        self._is_closed = False
        self._lock = threading.Lock()  # any thread may settle a future

    def watch(self, future: AnyFuture, items: int) -> None:
        """Count the *items* of a future's task once it is done."""
        future.add_done_callback(functools.partial(self._add, items))

    def _add(self, items: int, future: AnyFuture) -> None:
        if future.cancelled():
            return
        error = future.exception()
        with self._lock:
            self._done += items
            self._failed += 0 if error is None else items

    def close(self) -> None:
        """Wait for no more of them."""
        self._is_closed = True

    def counted(self) -> Counted:
        """Return how far the map is."""
        return Counted(self._total, self._done, self._failed, self._is_closed or self._done == self._total)


class _Mapped:
    """The futures of one `Executor.map`, in the order of their *tasks*, which are chunks if *chunked*.

    It does not keep the Executor: who drops that, and not the results, ends it when all is done.
    """

    def __init__(
        self,
        executor: weakref.ref[Submits],
        tasks: Iterator[tuple[Any, ...]],
        chunked: bool,
        deadline: float | None,
        counter: _Counter | None = None,
    ) -> None:
        self.counter = counter
        self._executor = executor
        self._tasks = tasks
        self._chunked = chunked
        self._deadline = deadline
        self._futures: deque[AnyFuture] = deque()
        self._chunks: dict[AnyFuture, tuple[Any, ...]] = {}  # the tasks that are chunks, until they are done

    def submit(self, count: int | None) -> None:
        """Submit the next *count* tasks, all if that is None, unless the Executor is gone."""
        executor = self._executor()
        if executor is not None:
            self._futures.extend(self._submit(executor, task) for task in itertools.islice(self._tasks, count))

    def _submit(self, executor: Submits, task: tuple[Any, ...]) -> AnyFuture:
        future = executor.submit(*task)
        if self.counter is not None:
            self.counter.watch(future, len(task[2]) if self._chunked else 1)
        if self._chunked:
            self._chunks[future] = task
        return future

    def results(self, submits_more: bool, calls: Calls) -> Iterator[Any]:
        """Yield the results in order; cancel the futures that are left, after an error or by choice."""
        try:
            while self._futures:
                if submits_more:
                    self.submit(1)
                if self._chunked:
                    yield from self._take_chunk()
                else:
                    yield self._take()  # it gets no name here: the caller may want to free it
        finally:
            if self.counter is not None:
                self.counter.close()
            calls.cancel(self._futures)

    def _take(self) -> Any:
        """Return the result of the first future, and remove that; it stays if it is not done in time."""
        futures = self._futures
        futures[0].result(None if self._deadline is None else self._deadline - time.monotonic())
        return futures.popleft().result()

    def _take_chunk(self) -> Iterable[Any]:
        """Return the results of the first chunk; if that has cost its workers, cut it, and return none of them yet."""
        future = self._futures[0]
        try:
            chunk: Chunk = self._take()
        except WorkerLostError:
            function, fn, items = self._chunks.pop(future)
            executor = self._executor()
            if len(items) == 1 or executor is None:
                raise
            self._futures.popleft()
            size = -(-len(items) // PIECES)
            pieces = [(function, fn, items[start : start + size]) for start in range(0, len(items), size)]
            self._futures.extendleft([self._submit(executor, piece) for piece in pieces][::-1])
            return ()
        del self._chunks[future]
        return chunk.unpacked()
