"""One map on a pool: its items are cut into chunks by how long they take, as many at a time as keep the workers busy.

::

    items --cut--> [ chunk ] --offer--> under way --outcome--> how long an item takes: the next chunks' sizes
              ^        ^                                  |
              |        '-- cut anew, in its place: what is left of it, or all if it was lost with its worker
              '----------- too few are under way <--------'

The pool's thread takes outcomes in and cuts the next chunks, so that the map gets on while the program does something
else; the program's thread takes the results, in the items' order. Nothing here waits, but for `results`.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from scoop_hpc.bulk.chunks import Chunk, run_chunk, to_send
from scoop_hpc.bulk.options import bulk_task
from scoop_hpc.bulk.sizes import Sizes
from scoop_hpc.errors import BrokenPoolError, RunEndedError, UnpicklableError, WorkerLostError
from scoop_hpc.pool.future import Pooled, PoolFuture
from scoop_hpc.pool.status import Counted
from scoop_hpc.protocol.messages import Terms
from scoop_hpc.task import options_of
from scoop_hpc.worker.durations import Unforeseeable
from scoop_hpc.worker.loop_timing import LoopTimings
from scoop_hpc.worker.losses import name_item
from scoop_hpc.worker.policy import DEFAULT

PIECES = 8  # that a chunk is cut into which was lost with its worker, or cannot be pickled
_ONCE = Terms(attempts=1)  # for a chunk of several items: after a loss it is cut

Item = tuple[Any, ...]  # the arguments of one call


class Pool(Pooled, ABC):
    """A pool as its maps use it, from any thread."""

    bundle: Callable[..., Any] | None = None  # a task that hands the chunks of another one out: see `Sizes`
    policy = DEFAULT

    @property
    @abstractmethod
    def loop_timings(self) -> LoopTimings:
        """What is known of how long functions take."""

    @property
    @abstractmethod
    def workers(self) -> int:
        """The number of workers, 0 before they are there."""

    @abstractmethod
    def submit(self, future: PoolFuture) -> None:
        """Take on a future; raise RuntimeError after the end, BrokenPoolError if the pool has failed."""

    @abstractmethod
    def submit_more(self, future: PoolFuture) -> None:
        """Take on a future that goes on with what was submitted before."""

    @abstractmethod
    def when_open(self, callback: Callable[[], object]) -> None:
        """Call *callback* once the workers are there, now if they are."""

    @abstractmethod
    def cancel(self, futures: Iterable[PoolFuture]) -> None:
        """Cancel those of *futures* that have not begun, without waiting."""


class PoolMap:
    """The calls of *function* for all *items*, of which there is one at least."""

    def __init__(self, pool: Pool, function: Callable[..., Any], items: Sequence[Item]) -> None:
        self._pool = pool
        self._function = function
        self._task = bulk_task(run_chunk, function)
        self._items = items
        self._read = 0  # items that are in chunks
        self._lock = threading.RLock()  # a chunk that cannot be sent is settled while the next is cut
        self._chunks: OrderedDict[ChunkFuture, None] = OrderedDict()  # not yet taken, in the items' order
        self._under_way = 0  # chunks that are not done
        self._items_under_way = 0
        self._sizes: Sizes | None = None  # once the workers are there
        self._closed = False
        self._done = 0  # items
        self._failed = 0  # of these

    def start(self) -> None:
        """Submit the first chunks; raise as `Pool.submit`."""
        with self._lock:
            self._pool.submit(self._cut(self._known().next(len(self._items)) if self._pool.workers else 1))
        self._pool.when_open(self.go_on)

    def go_on(self) -> None:
        """Submit chunks while there are items, and too few chunks are under way."""
        with self._lock:
            if self._closed or not self._pool.workers:
                return
            sizes = self._known()
            while self._read < len(self._items) and not sizes.enough(self._under_way, self._items_under_way):
                self._pool.submit_more(self._cut(sizes.next(len(self._items) - self._read)))

    def counted(self) -> Counted:
        """Return how far the map is."""
        total = len(self._items)
        return Counted(total, self._done, self._failed, self._closed or self._done >= total)

    def results(self, deadline: float | None) -> Iterator[Any]:
        """Yield the results in the items' order; raise what an item raised at its place; then drop what is left.

        Raises `concurrent.futures.TimeoutError` where one is not there by the *deadline* of `time.monotonic`.
        """
        try:
            chunk = self._next(deadline)
            while chunk is not None:
                yield from chunk.unpacked()
                chunk = self._next(deadline)
        finally:
            self.close()

    def _next(self, deadline: float | None) -> Chunk | None:
        """Wait for the next chunk, and return it; None if there is no more."""
        chunk: Chunk | None = None
        while chunk is None:
            with self._lock:
                future = next(iter(self._chunks), None)
            if future is None:
                break
            try:
                chunk = future.result(None if deadline is None else deadline - time.monotonic())
            except (UnpicklableError, WorkerLostError):
                if future.items:  # else it was cut: its pieces follow
                    raise
            with self._lock:
                del self._chunks[future]
        return chunk

    def close(self) -> None:
        """Cut no more chunks, and cancel those that have not begun."""
        with self._lock:
            self._closed = True
            left = [future for future in self._chunks if not future.done()]
            if self._sizes is not None:
                self._pool.loop_timings.learn(self._sizes.pace, self._task, self._function)
                self._pool.loop_timings.weigh(self._sizes.weight, self._task, self._function)
        if left:
            self._pool.cancel(list(left))

    def note(self, future: ChunkFuture, chunk: Chunk) -> None:
        """Take in the outcome of a chunk, before it can be seen."""
        with self._lock:
            self._has_ended(future)
            self._done += len(chunk.results) + chunk.has_failed
            self._failed += chunk.has_failed
            if chunk.seconds:  # else an item failed
                self._known().learn(len(future.items) - chunk.left, chunk.seconds, chunk.size)
            if chunk.left and not self._closed:
                self._cut_anew(future, chunk.left, self._known().pieces(chunk.left))
            self.go_on()

    def note_failure(self, future: ChunkFuture, error: BaseException | None) -> None:
        """Take in that a chunk has failed as a whole: cut it, until the item is alone that is to blame."""
        with self._lock:
            self._has_ended(future)
            if isinstance(error, (BrokenPoolError, RunEndedError)) or error is None:  # None: it was cancelled
                self._closed = True
            elif isinstance(error, (UnpicklableError, WorkerLostError)) and len(future.items) > 1 and not self._closed:
                count = len(future.items)
                self._cut_anew(future, count, -(-count // PIECES))
            else:
                self._done += len(future.items)
                self._failed += len(future.items)
                if isinstance(error, WorkerLostError) and not self._closed:
                    name_item(error, future.first, "map")
            self.go_on()

    def _has_ended(self, future: ChunkFuture) -> None:
        self._under_way -= 1
        self._items_under_way -= len(future.items)

    def _known(self) -> Sizes:
        """Return the sizes of chunks for the workers that are there."""
        if self._sizes is None:
            timings = self._pool.loop_timings
            pace, weight = timings.of(self._task, self._function), timings.weight_of(self._task, self._function)
            spreads, policy = self._pool.bundle is not None, self._pool.policy
            self._sizes = Sizes(self._pool.workers, pace=pace, weight=weight, policy=policy, spreads=spreads)
        return self._sizes

    def _cut(self, size: int) -> ChunkFuture:
        items = self._items[self._read : self._read + size]
        self._read += len(items)
        future = self._make(items, self._read - len(items) + 1)
        self._chunks[future] = None
        return future

    def _make(self, items: Sequence[Item], first: int) -> ChunkFuture:
        """Return the future of a chunk of *items*, the first of which is number *first* of all."""
        self._under_way += 1
        self._items_under_way += len(items)
        sizes, bundle, task = self._sizes, self._pool.bundle, self._task
        budget = None if sizes is None else sizes.budget(len(items))
        pace = None if sizes is None else sizes.pace
        arguments: tuple[Any, ...] = (self._function, to_send(items), budget)
        if bundle is not None and sizes is not None and sizes.share(len(items)) < len(items):
            task = bulk_task(bundle, self._function)
            arguments = (self._function, to_send(items), sizes.share(len(items)), pace, first)
        return ChunkFuture(self._pool, self, task, arguments, items, first, pace)

    def _cut_anew(self, future: ChunkFuture, left: int, size: int) -> None:
        """Make new chunks of the *left* last items of a chunk, in their place, each of at most *size* items."""
        rest = future.items[-left:]
        first = future.first + len(future.items) - left
        future.items = future.items[:-left]
        pieces = [self._make(rest[start : start + size], first + start) for start in range(0, left, size)]
        chunks: OrderedDict[ChunkFuture, None] = OrderedDict()
        for known in self._chunks:
            chunks[known] = None
            if known is future:
                chunks.update(dict.fromkeys(pieces))
        self._chunks = chunks
        for piece in pieces:
            self._pool.submit_more(piece)


class ChunkFuture(PoolFuture):
    """The future of a chunk; its map hears of the outcome before anybody else."""

    def __init__(
        self,
        pool: Pool,
        of: PoolMap,
        task: Callable[..., Any],
        arguments: tuple[Any, ...],
        items: Sequence[Item],
        first: int,
        pace: float | None,
    ) -> None:
        cost = Unforeseeable(options=options_of(arguments[0]))  # no other goes with it
        cost.unpolled = (pace or 0.0) * len(items)
        super().__init__(pool, task, arguments, {}, cost)
        self._map = of
        self.items = items  # without those that were cut off it
        self.first = first  # the number of its first item, from 1 on
        if len(items) > 1:
            self.terms = _ONCE

    def settle(self, value: Any, error: BaseException | None) -> None:
        if error is None:
            self._map.note(self, value)
        else:
            self._map.note_failure(self, error)
        super().settle(value, error)

    def drop(self) -> None:
        if not self.settled:
            self._map.note_failure(self, None)
            super().drop()
