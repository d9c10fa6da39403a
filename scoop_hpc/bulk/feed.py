"""The feed of a map: cuts its items into chunks, keeps enough of them under way, and takes their results apart.

::

    iterables --read--> [ chunk ] --submit--> under way --done--> [ chunk ] --result by result--> consumer
                 ^                              |                              |
                 '--- too few for all workers: see `Sizes`                     |
                 '--- and room for a chunk more among the unread items <-------'
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import TimeoutError
from threading import get_ident
from time import monotonic
from typing import Any, Protocol

from scoop_hpc.bulk.checks import checked_count
from scoop_hpc.bulk.chunks import Chunk, SingleCalls, can_be_sent, to_send
from scoop_hpc.bulk.options import bulk_task
from scoop_hpc.bulk.results import SizedResults
from scoop_hpc.bulk.sizes import Sizes
from scoop_hpc.errors import RunEndedError, UnpicklableError, WorkerLostError
from scoop_hpc.pickling.arguments import refuse_unsendable, sendable
from scoop_hpc.protocol.messages import Terms
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.losses import name_item
from scoop_hpc.worker.waiting import AnyWaiter
from scoop_hpc.worker.watched.awaited import CountedItems

_PIECES = 8  # that a chunk is cut into which was lost with its worker
_ONCE = Terms(attempts=1)  # for a chunk of several items: after a loss it is cut


def length_of(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """Return the length of the shortest of *iterables*, None if one does not know its own, or what is left of it."""
    if iterables and all(isinstance(each, Sized) and not isinstance(each, SizedResults) for each in iterables):
        with contextlib.suppress(OverflowError):  # of a range that nobody comes to the end of
            return min(len(iterable) for iterable in iterables)  # type: ignore[arg-type]
    return None


class ChunkResult(Protocol):
    """The result of a chunk's task."""

    @property
    def left(self) -> int:
        """The number of its items, at the end, that were left."""

    @property
    def seconds(self) -> float:
        """The seconds that the others took."""

    @property
    def size(self) -> int:
        """The bytes of their results."""

    @property
    def has_failed(self) -> bool:
        """Whether one of its items failed; those after it were not tried."""


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
    """The chunks of one call: reads the items as they are needed, and submits ``task(*head, items, budget, first)``.

    A chunk that has used up its budget of seconds gives back the rest of its items, which are cut anew. There is no
    budget where *chunksize* says how many make a chunk. One that was lost with its worker is cut anew, too, until the
    item is alone that takes its workers down.

    A *buffersize* bounds the items that are submitted and not yet consumed. *finished* is told of every chunk that is
    done. *caller* is the name for messages, *label* that for whoever watches the run. Where there are so many workers
    that it takes `Sizes` bundles of chunks, such a one is ``bundle(*head, items, size, pace, first)``, with chunks of
    *size* items that take *pace* seconds each. A bundle's own feed has *sizes*, and *before* it come so many items. One
    that stays *aloof* leaves all items to others: a call that lasts cannot be left half-way when a time-out is over.
    """

    def __init__(
        self,
        controller: Controller,
        caller: str,
        task: Callable[..., Any],
        head: tuple[Any, ...],
        iterables: tuple[Iterable[Any], ...],
        chunksize: int | None = None,
        buffersize: int | None = None,
        finished: Finished | None = None,
        label: str = "",
        bundle: Callable[..., Any] | None = None,
        sizes: Sizes | None = None,
        before: int = 0,
        aloof: bool = False,
    ) -> None:
        check_callable(head[0])
        chunksize = checked_count("chunksize", chunksize)
        buffersize = checked_count("buffersize", buffersize)
        if not iterables:
            raise TypeError(f"{caller} needs at least one iterable")
        self.chunks: OrderedDict[Future, Sequence[tuple[Any, ...]]] = OrderedDict()  # in order, those not yet taken
        self._controller = controller
        self._thread = get_ident()  # the consumer's: it alone reads items and takes outcomes in
        self._mailbox = controller.mailbox()
        self._arrived: deque[tuple[ChunkFuture, Any, BaseException | None]] = deque()  # by other threads
        self._caller = caller
        self._task = task = bulk_task(task, head[0])
        self._cost = controller.cost_of(task, head[0])
        self._own_cost = controller.own_cost_of(head[0])
        self._call_seconds = controller.seconds_of(head[0])
        self._may_own = not aloof
        self._bundle = bundle
        self._head = head
        self._is_single = len(iterables) == 1
        self._items: Iterator[Any] = iter(iterables[0]) if self._is_single else zip(*iterables)
        self._before = before
        self._read_so_far = 0
        self._count = length_of(iterables)
        numbers = iterables[0] if self._is_single and self._count is not None else None
        self._range = numbers if isinstance(numbers, range) else None
        self._counted = controller.counted(label, self._count)
        if self._cost.terms.time_limit is not None:
            chunksize = 1  # the limit is that of one call
        pace, weight = controller.loop_timings.of(task, *head), controller.loop_timings.weight_of(task, *head)
        self._sizes = sizes or Sizes(
            controller.workers, chunksize, buffersize, pace, weight, controller.policy, spreads=bundle is not None
        )
        self._bounded = buffersize is not None
        self._finished = finished
        self._under_way = 0  # chunks that are not done
        self._items_under_way = 0
        self._unread = 0  # items whose results were not consumed
        self._feeding = False
        self._hungry: list[AnyWaiter] = []  # consumers that wait for who reads on
        self._exhausted = False
        self._closed = False
        self._failure: BaseException | None = None  # of the iterables themselves, or of a signal
        self.go_on()

    def first(self) -> Future:
        """Return the first chunk that was not taken."""
        return next(iter(self.chunks))

    def take(self, future: Future) -> Sequence[tuple[Any, ...]]:
        """Hand out the items of a chunk, whose results will be consumed by `each`."""
        return self.chunks.pop(future)

    def was_cut(self, future: Future) -> bool:
        """Return whether a chunk was lost and cut anew; if so, take it: there is nothing in it any more."""
        if self.chunks[future]:
            return False
        del self.chunks[future]
        return True

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

    def submit(self, items: Sequence[tuple[Any, ...]], first: int = 0) -> ChunkFuture:
        """Make a task of *items*; the *first* is number so and so of all, 0 if that is not known."""
        calls = to_send(items)
        task, cost, sizes = self._task, self._cost, self._sizes
        arguments = (*self._head, calls, sizes.budget(len(items)), first)
        share = sizes.share(len(items))
        if self._bundle is not None and share < len(items):
            task = bulk_task(self._bundle, self._head[0])
            cost = self._controller.cost_of(task, self._head[0])
            arguments = (*self._head, calls, share, sizes.pace, first)
        make = self._make_one if len(items) == 1 else self._make_several
        future = self._controller.submit(task, arguments, {}, cost, make)
        assert isinstance(future, ChunkFuture)
        return future

    def _make_one(self, *arguments: Any) -> ChunkFuture:
        return ChunkFuture(self, *arguments)

    def _make_several(self, *arguments: Any) -> ChunkFuture:
        future = ChunkFuture(self, *arguments)
        future.terms = _ONCE
        return future

    def _submit_chunk(self, items: Sequence[tuple[Any, ...]], first: int) -> Future:
        """Make a chunk of *items*, the first of which is number *first* of all."""
        return self._watched(self.submit(items, first), len(items), first)

    def _run(self, items: Sequence[tuple[Any, ...]], first: int) -> None:
        """Make such a chunk, and run it here and now."""
        arguments = (*self._head, items, self._sizes.own_budget, first)
        future = self._make_several(self._controller, self._task, arguments, {}, self._own_cost)
        self.chunks[self._watched(future, len(items), first)] = items
        self._controller.run_now(future)
        # a call that fails may take its time for that, which is not measured, and so may the next
        self._may_own = future.exception() is None and not future.result().has_failed

    def _watched(self, future: ChunkFuture, count: int, first: int) -> ChunkFuture:
        """Return the *future* of *count* items, which is under way from now on."""
        self._under_way += 1
        self._items_under_way += count
        future.first = first
        concurrent.futures.Future.add_done_callback(future, self._on_done)
        return future

    def hand_over(self, future: ChunkFuture, value: Any, error: BaseException | None) -> bool:
        """Leave the outcome of a chunk to the consumer's thread; return whether this is another one."""
        if get_ident() == self._thread:
            return False
        self._arrived.append((future, value, error))
        if self._mailbox is None:
            self._controller.call_in_loop(self._take_in)
        else:
            self._mailbox.post(self._take_in)
        return True

    def _take_in(self) -> None:
        """Settle the chunks whose outcomes other threads have left here."""
        while self._arrived and get_ident() == self._thread:
            future, value, error = self._arrived.popleft()
            future.settle(value, error)

    def _follow_consumer(self) -> None:
        if get_ident() != self._thread:  # an iterator can be handed on to another thread
            self._thread, self._mailbox = get_ident(), self._controller.mailbox()
        if self._arrived:
            self._take_in()

    def go_on(self) -> None:
        """Submit chunks while there are items and too few chunks are under way."""
        self._follow_consumer()
        if self._feeding:  # an iterable may wait for futures, and so let another call in
            return
        self._feeding = True
        try:
            # where the items are there already: others do not wait for a chunk until the next one is read
            with contextlib.nullcontext() if self._count is None else self._controller.gathering():
                self._submit_more()
        finally:
            self._feeding = False
            self._wake_hungry()

    def _submit_more(self) -> None:
        while self._has_room():
            own = self._own_size()
            items = self._read(own or self._next_size())
            if items:
                self._unread += len(items)
                first = self._before + self._read_so_far - len(items) + 1
                if own:
                    self._run(items, first)
                else:
                    self.chunks[self._submit_chunk(items, first)] = items
                self._wake_hungry()

    def _wake_hungry(self) -> None:
        hungry, self._hungry = self._hungry, []
        for waiter in hungry:
            waiter.wake()

    def more(self, deadline: float | None) -> bool:
        """Return whether there is a chunk to take. A callback may be reading it, and wait for futures meanwhile."""
        self._follow_consumer()
        while not self.chunks and self._feeding:
            waiter = self._controller.waiter(deadline)
            self._hungry.append(waiter)
            if not waiter.park():
                raise TimeoutError(f"not all results of {self._caller} were there in time")
        return bool(self.chunks)

    def finish(self) -> None:
        """Raise what the iterables raised, at the place of that: after the results of the items before."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Read no more, and drop the chunks that were not taken."""
        self._exhausted = self._closed = True
        if self._counted is not None and not self._controller.is_cut_short:  # else its last word is what was not done
            self._counted.close()
        if not self._sizes.fixed:
            self._controller.loop_timings.learn(self._sizes.pace, self._task, *self._head)
            self._controller.loop_timings.weigh(self._sizes.weight, self._task, *self._head)
        for future in self.chunks:
            self._controller.abandon(future)

    def _left(self) -> int | None:
        return None if self._count is None else self._count - self._read_so_far

    def _next_size(self) -> int:
        return self._sizes.next(self._left())

    def _own_size(self) -> int:
        """Return how many of the next items to do here and now, instead of making them a task for others."""
        if not self._may_own or not self._controller.may_run_here():
            return 0
        return self._sizes.own(self._left(), self._call_seconds)

    def _has_room(self) -> bool:
        return (
            not self._exhausted
            and not self._sizes.enough(self._under_way, self._items_under_way)
            and self._sizes.room(self._unread + self._next_size())
        )

    def _read(self, size: int) -> Sequence[tuple[Any, ...]]:
        """Take the next *size* items, for a chunk; note the end of the items, or what the iterables raised there."""
        if self._range is not None:
            return self._read_range(self._range, size)
        read: list[Any] = []
        try:
            self._take_items(size, read)  # those before a failure are in it then
        except BaseException as error:  # the user's iterable: raised at its place, after the results before it
            self._failure, self._exhausted = error, True
        items: Sequence[tuple[Any, ...]] = SingleCalls(read) if self._is_single else read
        if not can_be_sent(items):
            good = sendable(items)
            try:
                refuse_unsendable(items[good], {})
            except TypeError as error:
                self._failure = TypeError(f"item {self._read_so_far + good + 1} of {self._caller}: {error}")
            items, self._exhausted = items[:good], True
        self._read_so_far += len(items)
        if self._counted is not None:
            self._counted.read(len(items))
        return items

    def _read_range(self, numbers: range, size: int) -> Sequence[tuple[Any, ...]]:
        first, self._read_so_far = self._read_so_far, min(self._read_so_far + size, len(numbers))
        self._exhausted = self._read_so_far == len(numbers)
        if self._counted is not None:
            self._counted.read(self._read_so_far - first)
        return SingleCalls(numbers[first : self._read_so_far])

    def _take_items(self, size: int, items: list[Any]) -> None:
        """Append *size* of the items that were not read yet, or all; fewer if they take their time to come."""
        deadline = monotonic() + self._controller.policy.read_seconds
        group = size if self._count is not None else 1
        while len(items) < size and not self._exhausted:
            wanted = len(items) + min(group, size - len(items))
            items.extend(itertools.islice(self._items, wanted - len(items)))
            self._exhausted = len(items) < wanted
            if monotonic() > deadline:
                return
            group = min(2 * group, self._controller.policy.read_items)

    def _on_done(self, future: Any) -> None:
        try:
            self._note(future)
            if not self._controller.ending():  # then a map that the program has left is dropped; who wants more asks
                self.go_on()
        except BaseException as error:  # of a signal's handler: without it the results would be taken for complete
            self._failure, self._exhausted = error, True
            if not isinstance(error, Exception):
                raise

    def _note(self, future: Any) -> None:
        """Take in the outcome of a chunk."""
        items = self.chunks.get(future, [])
        self._under_way -= 1
        self._items_under_way -= len(items)
        error = None if future.cancelled() else future.exception()
        if self._counted is not None:
            self._count_ended(self._counted, future, items, error)
        if isinstance(error, WorkerLostError) and not self._closed:
            if len(items) > 1:
                self._cut_anew(future, items, len(items), -(-len(items) // _PIECES))
            else:
                name_item(error, future.first, self._caller)
                self._controller.account_lost(self._head[0], error, future.first)
        elif items and not (self._sizes.fixed or self._closed or future.cancelled()) and error is None:
            done: ChunkResult = future.result()
            if done.seconds:  # else an item failed
                self._sizes.learn(len(items) - done.left, done.seconds, done.size)
            if done.left:
                self._cut_anew(future, items, done.left, self._sizes.pieces(done.left))
        if self._finished is not None:
            self._finished.add(future)

    def _count_ended(
        self, counted: CountedItems, future: Any, items: Sequence[tuple[Any, ...]], error: BaseException | None
    ) -> None:
        """Count the items of a chunk that is done, but for those that are cut anew, or that the end has come before."""
        if error is not None:
            if isinstance(error, RunEndedError):
                return
            if len(items) == 1 or not isinstance(error, WorkerLostError):
                is_together = len(items) > 1 and isinstance(error, UnpicklableError)  # each is tried by itself next
                counted.ended(len(items), 0 if is_together else len(items))
        elif not future.cancelled():
            done: ChunkResult = future.result()
            counted.ended(len(items) - done.left, int(done.has_failed))

    def _cut_anew(self, future: ChunkFuture, items: Sequence[tuple[Any, ...]], left: int, size: int) -> None:
        """Make new chunks of the *left* last of *items*, in their place, each of at most *size* items."""
        rest = items[-left:]
        first = future.first + len(items) - left
        chunks: OrderedDict[Future, Sequence[tuple[Any, ...]]] = OrderedDict()
        for known, its in self.chunks.items():
            chunks[known] = its
            if known is future:
                chunks[known] = items[:-left]
                for start in range(0, left, size):
                    piece = rest[start : start + size]
                    chunks[self._submit_chunk(piece, first + start)] = piece
        self.chunks = chunks


class ChunkFuture(Future):
    """The future of a chunk: settled in the thread of its consumer, which goes on with what is left of it."""

    __slots__ = ("_feed", "first")

    def __init__(self, feed: Feed, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._feed = feed
        self.first = 0  # the number of its first item, from 1 on

    def settle(self, value: Any, error: BaseException | None) -> None:
        if not self._feed.hand_over(self, value, error):
            super().settle(value, error)


def result_by(controller: Controller, future: Future, deadline: float | None, caller: str) -> Any:
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
