"""Folds of items, shared with whoever is idle: lazy binary splitting.

::

    items   a b c d e f g h i j k l m n o p
            '-- folded here -->|     half of what is left, whenever somebody is hungry
                               |     '----------------> a part: a task that does the same elsewhere
                               half of what is left then
                               '----> another part

    result  what was folded here, then the parts from left to right

While nobody is hungry this is a plain loop. The parts come back to the fold that they were split from, so that a fold
shared among n workers is a tree log n deep [Tzannes et al., Lazy Scheduling, ACM TOPLAS 36(3):10 (2014)].
"""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError
from contextlib import AbstractContextManager
from typing import Any, Protocol

from scoop_hpc.bulk.options import bulk_task
from scoop_hpc.errors import InputError, UnpicklableError
from scoop_hpc.pickling import pickles
from scoop_hpc.pickling.arguments import NEVER_RESULTS, all_sendable, refuse_result, refuse_unsendable
from scoop_hpc.pickling.packed import Packed
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.pickling.unpicklable import go_on_after
from scoop_hpc.protocol.messages import Buffer
from scoop_hpc.task import options_of
from scoop_hpc.worker.current import current
from scoop_hpc.worker.durations import Cost, Unforeseeable
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.loop_timing import LoopTiming, LoopTimings
from scoop_hpc.worker.policy import Policy
from scoop_hpc.worker.watched.accounts import Meter

_COST = Unforeseeable()  # of a part: it looks around so often that it seems short, however long it lasts

Item = tuple[Any, ...]  # the arguments of one call


class _Nothing:
    """The result of no items."""


NOTHING = _Nothing()


class Worker(Protocol):
    """The worker's controller, as a fold uses it."""

    size: int
    loop_timings: LoopTimings
    policy: Policy

    @property
    def longest_here(self) -> float:
        """The seconds that a call may last which is made here, as far as it can be made elsewhere."""

    def hungry(self) -> bool:
        """Return whether somebody else would begin a task now."""

    def submit(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], cost: Cost | None = None
    ) -> Future:
        """Make a task."""

    def wait_for(self, future: Future, deadline: float | None) -> None:
        """Return when *future* is done or the *deadline* is over."""

    def as_task(self) -> AbstractContextManager[None]:
        """Return a context for the user's functions."""

    def meter(self, function: Callable[..., Any]) -> Meter | None:
        """Return what counts the calls of *function*; None where nobody counts."""

    def note_called(self, function: Callable[..., Any]) -> None:
        """Let what is said of this worker's death name *function*."""

    def abandon(self, future: Future) -> None:
        """Do not care for *future* any more."""


class _Failure(Exception):
    """A part that failed on its worker; the pickled outcome goes up to where it is raised without being opened."""

    def __init__(self, frames: Sequence[Buffer]) -> None:
        super().__init__(frames)
        self.frames = frames


class _FailedPart:
    """The result of a part that failed."""

    def __init__(self, frames: Sequence[Buffer]) -> None:
        self.frames = frames

    def __reduce__(self) -> tuple[Any, ...]:
        return _FailedPart, (pickles.out_of_band(self.frames),)


class _Part:
    """A part that is a task, and how many items it has."""

    def __init__(self, future: Future, count: int) -> None:
        self.future = future
        self.count = count


class Fold:
    """One fold under way, of ``function(*item)`` for each item by *reduction*.

    An item takes *each* so many seconds, as far as known. A fold that stays *aloof* leaves all items to others, so that
    it can keep its *deadline*: a call that lasts cannot be left half-way.
    """

    def __init__(
        self,
        worker: Worker,
        function: Callable[..., Any],
        reduction: Callable[[Any, Any], Any],
        each: float | None = None,
        deadline: float | None = None,
        aloof: bool = False,
    ) -> None:
        self._worker = worker
        self._function = function
        self._reduction = reduction
        known = worker.loop_timings.of(function, reduction) if each is None else each
        self._timing = LoopTiming(time.monotonic, known, worker.policy)
        options = options_of(function)
        self._task = bulk_task(fold_part, function)
        self._cost = _COST if options is None else Unforeseeable(worker.policy, options)
        self._deadline = deadline
        self._aloof = aloof
        self._movable = True  # what is left of this block can be pickled, as far as known
        self._front: Any = NOTHING  # the result of all items before the first segment
        self._segments: deque[_Part | Any] = deque()  # parts, and results of what was folded here, in order
        self._out = 0  # items in parts among the segments

    def run(self, source: Iterator[Item], first: int) -> Any:
        """Return the result of all items of *source*, NOTHING if there are none; the *first* block has so many."""
        size, done = first, 0
        try:
            while True:
                block = list(itertools.islice(source, size))
                count = len(block)  # parts are split off it
                if not all_sendable(block):
                    for number, item in enumerate(block, done + 1):
                        _refuse(number, item)
                is_last = count < size
                with self._worker.as_task():  # once: it takes longer than a hundred quick items
                    self._fold(block)
                    result = self._gather(-1 if is_last else self._worker.policy.fold_ahead)
                if is_last:
                    return result
                done += count
                size = max(size, min(2 * size, self._worker.policy.fold_block))
        finally:
            self._worker.loop_timings.learn(self._timing.each, self._function, self._reduction)
            for segment in self._segments:
                if type(segment) is _Part:
                    self._worker.abandon(segment.future)

    def _fold(self, block: list[Item]) -> None:
        """Append the segments of *block*."""
        parts: list[_Part] = []  # the last is the nearest
        self._movable = True
        try:
            if block and self._aloof:
                self._split(block, 0, parts)
            if block:
                self._segments.append(self._loop(block, parts))
        finally:
            self._segments.extend(reversed(parts))

    def _loop(self, block: list[Item], parts: list[_Part]) -> Any:
        """Fold *block* from the left until what is left of it, after others took from its end, is done."""
        function, reduction, timing = self._function, self._reduction, self._timing
        meter, counted = self._worker.meter(function), 0
        timing.start()
        counted_at = timing.now
        total: Any = NOTHING
        at = 0
        while at < len(block):
            if self._deadline is not None and timing.now >= self._deadline:
                raise TimeoutError("map_reduce was not done in time")
            if timing.is_due():
                self._share(block, at, parts)
                timing.start()
            item = block[at]
            try:
                if total is NOTHING:
                    total = function(*item)
                    if type(total) in NEVER_RESULTS:
                        refuse_result(function, total)
                    done = at + 1
                else:
                    done = min(at + timing.group, len(block))
                    for item in block[at:done]:
                        total = reduction(total, function(*item))
            except BaseException as error:  # the user's function, or reduction
                if meter is not None:
                    done = next(place for place in range(at, len(block)) if block[place] is item) + 1
                    meter.add(done - counted, time.monotonic() - counted_at)
                    meter.fail(error, item, None)
                raise
            timing.note(done - at)
            at = done
            if meter is not None and timing.now - counted_at >= self._worker.policy.loop_look:
                meter.add(at - counted, timing.now - counted_at)
                counted, counted_at = at, timing.now
            if timing.each is not None and timing.each > self._worker.longest_here and at < len(block):
                self._aloof = True
                self._split(block, at, parts)
        if meter is not None:
            meter.add(at - counted, timing.now - counted_at)
        return total

    def _share(self, block: list[Item], at: int, parts: list[_Part]) -> None:
        """Split off halves of what is left of *block* while somebody is hungry and it is worth the message."""
        while self._movable and self._timing.worth_sharing(len(block) - at) and self._worker.hungry():
            self._split(block, at + (len(block) - at + 1) // 2, parts)

    def _split(self, block: list[Item], middle: int, parts: list[_Part]) -> None:
        """Make a part of the items of *block* from *middle* on; what cannot be pickled stays."""
        items = block[middle:]
        start = time.monotonic()
        try:
            packed = Packed(pickles.dump_task((self._function, self._reduction, items)))
        except UnpicklableError:
            self._movable = False
            return
        del block[middle:]
        self._timing.pickled(len(items), time.monotonic() - start)
        left = None if self._deadline is None else self._deadline - time.monotonic()
        future = self._worker.submit(self._task, (packed, self._timing.each, left), {}, self._cost)
        parts.append(_Part(future, len(items)))
        self._out += len(items)

    def _gather(self, ahead: int) -> Any:
        """Reduce what is done from the left, waiting as long as more than *ahead* items are out; return the result."""
        segments = self._segments
        while segments:
            segment = segments[0]
            value = segment
            if type(segment) is _Part:
                if self._out <= ahead and not segment.future.settled:
                    break
                value = self._result(segment)
                self._out -= segment.count
            segments.popleft()
            if self._front is not NOTHING:
                deadline = self._deadline if self._aloof else None
                value = reduce_two(self._worker, self._reduction, self._front, value, deadline, "map_reduce")
            self._front = value
        return self._front

    def _result(self, part: _Part) -> Any:
        self._worker.wait_for(part.future, self._deadline if self._aloof else None)
        if not part.future.settled:
            raise TimeoutError("not all parts of map_reduce were done in time")
        value = part.future.result()
        if type(value) is _FailedPart:
            raise _Failure(value.frames)
        return value


def fold_part(packed: Packed, each: float | None, left: float | None) -> Any:
    """Fold the items of a part; called as a task.

    *each* is how many seconds an item takes, as far as known, and *left* how many there are: clocks of nodes differ.
    """
    try:
        function, reduction, items = packed.unpack()
    except BaseException as error:  # unpickling runs the user's code
        go_on_after(error)
        raise pickles.refusal("cannot unpickle a part of map_reduce", error) from error
    deadline = None if left is None else time.monotonic() + left
    process = os.getpid()
    try:
        worker = current()
        worker.note_called(function)
        return Fold(worker, function, reduction, each, deadline).run(iter(items), len(items) + 1)
    except _Failure as failure:
        return _FailedPart(failure.frames)
    except BaseException as error:  # the user's functions: what they raised is sent on
        if os.getpid() != process:  # by a child that they have forked: not this worker's business
            raise
        return _FailedPart(pickles.dump_outcome(Outcome(error=error)))


def reduce_two(
    worker: Worker, reduction: Callable[[Any, Any], Any], left: Any, right: Any, deadline: float | None, caller: str
) -> Any:
    """Return ``reduction(left, right)``, of another worker where the program is at stake here and they can travel."""
    if worker.longest_here >= 0:
        return reduction(left, right)
    future = worker.submit(reduction, (left, right), {})
    try:
        worker.wait_for(future, deadline)
        if not future.settled:
            raise TimeoutError(f"not all results of {caller} were reduced in time")
        return future.result()
    except UnpicklableError:
        return reduction(left, right)
    finally:
        if not future.settled:
            worker.abandon(future)


def fold(
    worker: Worker,
    function: Callable[..., Any],
    reduction: Callable[[Any, Any], Any],
    items: Iterator[Item],
    deadline: float | None = None,
) -> Any:
    """Return the reduction of ``function(*item)`` over *items*, NOTHING if there are none; raise what they raise."""
    options = options_of(function)
    if options is not None and options.time_limit is not None:
        raise InputError(
            f"{function!r} has a time limit, which map_reduce cannot keep, for it calls functions where it is called: "
            "use map, and functools.reduce"
        )
    aloof = (deadline is not None and worker.size > 1) or worker.longest_here < 0
    try:
        return Fold(worker, function, reduction, None, deadline, aloof).run(
            items, worker.policy.fold_first_block * worker.size
        )
    except _Failure as failure:
        error = pickles.load_outcome(failure.frames).error
        assert error is not None
        raise error from error.__cause__


def _refuse(number: int, item: Item) -> None:
    try:
        refuse_unsendable(item, {})
    except TypeError as error:
        raise TypeError(f"item {number} of map_reduce: {error}") from None
