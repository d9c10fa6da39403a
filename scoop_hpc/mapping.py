"""What map does: cuts its items into chunks, keeps enough of them under way, and takes their results apart.

::

    iterables --read--> [ chunk ] --submit--> under way --done--> [ chunk ] --result by result--> consumer
                 ^                              |                              |
                 '--- fewer than three per worker                              |
                 '--- and room for a chunk more among the unread items <-------'
"""

from __future__ import annotations

import itertools
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import TimeoutError
from typing import Any, Callable, Optional, Protocol

from scoop_hpc.errors import InputError, UnpicklableError
from scoop_hpc.worker.arguments import all_sendable, refuse_unsendable, sendable
from scoop_hpc.worker.chunks import Chunk, run_chunk
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.future import Future

_CHUNK_TIME = 0.05  # seconds that a chunk should take
_BUDGET = 4  # times what a chunk was thought to take, after which what is left of it is cut anew
_LEAST_BUDGET = _CHUNK_TIME  # seconds
_SPLIT = 4  # pieces for each worker, at the most, that what is left is cut into
_DECAY = 0.5  # of what is known of an item's time, for each chunk
_WORTH = 0.001  # seconds that a chunk should take at the end, too, where chunks get smaller
_CHUNK_MOST = 10_000  # items in a chunk
_CHUNK_BYTES = 4_000_000  # of a chunk's results
_AHEAD = 100_000  # items that are read ahead of the consumer
_AHEAD_BYTES = 128_000_000  # of their results
_LAST = 4  # chunks that a worker should still get, at the least
_PER_WORKER = 3  # chunks under way, or as much in seconds: one that runs, and what comes and goes meanwhile


def _length(iterables: tuple[Iterable[Any], ...]) -> Optional[int]:
    """Return the length of the shortest of *iterables*, None if one does not know its own."""
    if all(isinstance(iterable, Sized) for iterable in iterables):
        return min(len(iterable) for iterable in iterables)  # type: ignore[arg-type]
    return None


class ChunkResult(Protocol):
    """What the task of a chunk returns."""

    @property
    def left(self) -> int:
        """How many of its items, at the end, were left."""

    @property
    def seconds(self) -> float:
        """How many seconds the others took."""

    @property
    def size(self) -> int:
        """How many bytes their results have."""


class Finished(Protocol):
    """Futures that are done and not yet taken."""

    def add(self, future: Any) -> None:
        """Take in a future that is done."""

    def next(self) -> Any:
        """Wait for the next one, and return it."""


def check_callable(function: Any) -> None:
    """Raise TypeError if *function* cannot be called."""
    if not callable(function):
        raise TypeError(f"{function!r} is not callable")


class Feed:
    """The chunks of one call: reads the items as they are needed, and submits ``task(*head, items, budget)`` for each.

    A chunk that has used up its budget of seconds gives back the rest of its items, which are cut anew. There is no
    budget where *chunksize* says how many make a chunk.

    A *buffersize* bounds the items that are submitted and not yet consumed. *finished* is told of every chunk that is
    done. *caller* is the name for messages.
    """

    def __init__(
        self,
        controller: Controller,
        caller: str,
        task: Callable[..., Any],
        head: tuple[Any, ...],
        iterables: tuple[Iterable[Any], ...],
        chunksize: Optional[int] = None,
        buffersize: Optional[int] = None,
        finished: Optional[Finished] = None,
    ) -> None:
        check_callable(head[0])
        _check_count("chunksize", chunksize)
        _check_count("buffersize", buffersize)
        if not iterables:
            raise TypeError(f"{caller} needs at least one iterable")
        self.chunks: OrderedDict[Future, list[tuple[Any, ...]]] = OrderedDict()  # not yet taken, in the items' order
        self._controller = controller
        self._caller = caller
        self._task = task
        self._cost = controller.cost_of(task, head[0])
        self._head = head
        self._items = zip(*iterables)
        self._read_so_far = 0
        self._count = _length(iterables)
        self._fixed = chunksize is not None
        self._pace = None if self._fixed else controller.paces.of(task, *head)  # seconds for an item, as far as known
        self._weight = 0.0 if self._fixed else controller.paces.weight_of(task, *head)  # bytes of an item's result
        self._counted = self._seconds = self._bytes = 0.0  # of the last chunks: items, how long they took, results
        self._size = min(chunksize or self._fitting() or 1, sys.maxsize)
        self._bounded = buffersize is not None
        self._limit = max(_AHEAD, self._size) if buffersize is None else min(buffersize, sys.maxsize)
        # of a bounded map every worker should have two chunks
        self._most = self._limit if self._fixed else min(_CHUNK_MOST, max(1, self._limit // (2 * controller.size)))
        self._finished = finished
        self._under_way = 0  # chunks that are not done
        self._items_under_way = 0
        self._unread = 0  # items whose results were not consumed
        self._feeding = False
        self._exhausted = False
        self._closed = False
        self._failure: Optional[BaseException] = None  # of the iterables themselves
        self.go_on()

    def first(self) -> Future:
        """Return the first chunk that was not taken."""
        return next(iter(self.chunks))

    def take(self, future: Future) -> list[tuple[Any, ...]]:
        """Hand out the items of a chunk, whose results will be consumed by `each`."""
        return self.chunks.pop(future)

    def each(self, chunk: Chunk, count: int) -> Iterable[Any]:
        """Return the results of a chunk of *count* items in turn, and read on where that makes room."""
        if self._bounded:
            return self._each(chunk)
        self._unread -= count
        return chunk.unpacked()

    def _each(self, chunk: Chunk) -> Iterator[Any]:
        for result in chunk.unpacked():
            self._unread -= 1
            self.go_on()
            yield result

    def submit(self, items: list[tuple[Any, ...]]) -> Future:
        """Make a task of *items*."""
        budget = None if self._fixed else max(_LEAST_BUDGET, _BUDGET * len(items) * (self._pace or 0.0))
        return self._controller.submit(self._task, (*self._head, items, budget), {}, self._cost)

    def _submit_chunk(self, items: list[tuple[Any, ...]]) -> Future:
        self._under_way += 1
        self._items_under_way += len(items)
        future = self.submit(items)
        future.add_done_callback(self._on_done)
        return future

    def go_on(self) -> None:
        """Submit chunks while there are items and too few chunks are under way."""
        if self._feeding:  # an iterable may wait for futures, and so let another call in
            return
        self._feeding = True
        try:
            while self._has_room():
                items = self._read()
                if items:
                    self._unread += len(items)
                    self.chunks[self._submit_chunk(items)] = items
        finally:
            self._feeding = False

    def finish(self) -> None:
        """Raise what the iterables raised, at the place of that: after the results of the items before."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Read no more, and drop the chunks that were not taken."""
        self._exhausted = self._closed = True
        if not self._fixed:
            self._controller.paces.learn(self._pace, self._task, *self._head)
            self._controller.paces.weigh(self._weight, self._task, *self._head)
        for future in self.chunks:
            self._controller.abandon(future)

    def _next_size(self) -> int:
        size = min(self._size, self._most)
        if self._fixed or self._count is None:
            return size
        left = self._count - self._read_so_far  # small at the end, so that all end together
        return max(1, min(size, max(left // (_LAST * self._controller.size), self._fitting(_WORTH))))

    def _fitting(self, seconds: float = _CHUNK_TIME) -> int:
        """Return how many items, at least one, take so many *seconds*; 0 if that is not known."""
        if self._pace is None:
            return 0
        in_time = seconds / max(self._pace, 1e-9)
        return int(max(1, min(_CHUNK_MOST, in_time, _CHUNK_BYTES / max(self._weight, 1e-9))))

    def _has_room(self) -> bool:
        return (
            not (self._exhausted or self._controller.ending())
            and self._has_workers()
            and self._unread + self._next_size() <= self._most_unread()
        )

    def _most_unread(self) -> int:
        """Return how many items may be ahead of the consumer: fewer if their results are large."""
        if self._bounded or self._fixed:
            return self._limit
        fitting = int(_AHEAD_BYTES / max(self._weight, 1e-9))
        return min(self._limit, max(fitting, _PER_WORKER * self._controller.size))

    def _has_workers(self) -> bool:
        """Whether more should be under way."""
        usual = _PER_WORKER * self._controller.size
        if self._under_way < usual:
            return True
        if self._fixed or self._pace is None or self._size < self._fitting():
            return False
        return self._items_under_way * self._pace < usual * _CHUNK_TIME  # at the end: many small chunks

    def _read(self) -> list[tuple[Any, ...]]:
        """Take the items of the next chunk; note the end of the items, or what the iterables raised there."""
        size = self._next_size()
        items: list[tuple[Any, ...]] = []
        try:
            items.extend(itertools.islice(self._items, size))  # those before a failure are in it then
        except BaseException as error:  # the user's iterable: raised at its place, after the results before it
            self._failure = error
        if not all_sendable(items):
            good = sendable(items)
            try:
                refuse_unsendable(items[good], {})
            except TypeError as error:
                self._failure = TypeError(f"item {self._read_so_far + good + 1} of {self._caller}: {error}")
            items = items[:good]
        self._read_so_far += len(items)
        self._exhausted = self._exhausted or len(items) < size
        return items

    def _on_done(self, future: Any) -> None:
        items = self.chunks.get(future, [])
        self._under_way -= 1
        self._items_under_way -= len(items)
        if items and not self._fixed and not future.cancelled() and future.exception() is None:
            done: ChunkResult = future.result()
            if done.seconds:  # else an item failed
                self._learn(len(items) - done.left, done.seconds, done.size)
            if done.left:
                self._cut_anew(future, items, done.left)
        if self._finished is not None:
            self._finished.add(future)
        self.go_on()

    def _learn(self, count: int, seconds: float, size: int) -> None:
        """Note how long *count* items took, and how many bytes there are of their results.

        The last chunks count, each by the number of its items.
        """
        self._counted = _DECAY * self._counted + count
        self._seconds = _DECAY * self._seconds + seconds
        self._bytes = _DECAY * self._bytes + size
        self._pace, self._weight = self._seconds / self._counted, self._bytes / self._counted
        self._size = min(2 * self._size, self._fitting(), self._most)

    def _cut_anew(self, future: Future, items: list[tuple[Any, ...]], left: int) -> None:
        """Make new chunks of the *left* last of *items*, in their place."""
        rest = items[-left:]
        size = max(self._size, -(-left // (_SPLIT * self._controller.size)))
        pieces = [rest[start : start + size] for start in range(0, left, size)]
        chunks: OrderedDict[Future, list[tuple[Any, ...]]] = OrderedDict()
        for known, its in self.chunks.items():
            chunks[known] = its
            if known is future:
                chunks[known] = items[:-left]
                chunks.update((self._submit_chunk(piece), piece) for piece in pieces)
        self.chunks = chunks


class Map:
    """One call of map, and the two orders in which its results can be had."""

    def __init__(
        self,
        controller: Controller,
        function: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        chunksize: Optional[int] = None,
        buffersize: Optional[int] = None,
        deadline: Optional[float] = None,
        finished: Optional[Finished] = None,
    ) -> None:
        self._controller = controller
        self._deadline = deadline
        self._feed = Feed(controller, "map", run_chunk, (function,), iterables, chunksize, buffersize, finished)

    def in_order(self) -> Iterator[Any]:
        """Yield the results in the items' order."""
        return self._take(self._feed.first)

    def as_they_come(self, finished: Finished) -> Iterator[Any]:
        """Yield the results chunk by chunk, as they are done."""
        return self._take(finished.next)

    def _take(self, choose: Callable[[], Future]) -> Iterator[Any]:
        feed = self._feed
        try:
            feed.go_on()
            while feed.chunks:
                yield from self._results(choose())
                feed.go_on()
            feed.finish()
        finally:
            feed.close()

    def _results(self, future: Future) -> Iterable[Any]:
        """Return the results of one chunk in turn; the last raises what its item raised."""
        try:
            chunk: Chunk = result_by(self._controller, future, self._deadline, "map")
        except UnpicklableError:
            items = self._feed.take(future)
            if len(items) == 1:
                raise
            return self._one_by_one(items)  # the chunk could not be pickled as a whole, so none of it was run
        return self._feed.each(chunk, len(self._feed.take(future)))

    def _one_by_one(self, items: list[tuple[Any, ...]]) -> Iterator[Any]:
        for item in items:
            task = self._feed.submit([item])
            chunk: Chunk = result_by(self._controller, task, self._deadline, "map")
            yield from self._feed.each(chunk, 1)


def result_by(controller: Controller, future: Future, deadline: Optional[float], caller: str) -> Any:
    """Wait for *future* and return its result; after the *deadline* let it go, and raise TimeoutError."""
    done = False
    try:
        controller.wait_for(future, deadline)
        done = future.settled
    finally:
        if not done:
            controller.abandon(future)
    if not done:
        raise TimeoutError(f"not all results of {caller} were there in time")
    return future.result()


def _check_count(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}: it must be an integer or None")
    if value < 1:
        raise InputError(f"{name} is {value!r}: it must be at least 1")
