"""Futures for programs: submit tasks, map functions, wait for results, from any task to any depth.

    >>> from scoop_hpc import futures
    >>> def main():
    ...     return sum(futures.map(abs, range(-1000, 1000)))

The functions mean what they mean in `concurrent.futures` (PEP 3148). They work in a program that was started by
``scoop-hpc run`` or ``scoop-hpc submit``, in its main thread; elsewhere they raise `scoop_hpc.errors.NotRunningError`.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    InvalidStateError,
    TimeoutError,
)
from typing import Any, Callable, NamedTuple, Optional

from scoop_hpc.errors import InputError, UnpicklableError
from scoop_hpc.worker.chunks import Chunk, run_chunk
from scoop_hpc.worker.controller import Controller, Waiter, current
from scoop_hpc.worker.future import Future

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "CancelledError",
    "Future",
    "InvalidStateError",
    "TimeoutError",
    "as_completed",
    "map",
    "map_as_completed",
    "submit",
    "wait",
]

_CHUNK_TIME = 0.01  # seconds that a chunk of a map should take
_CHUNK_MOST = 10_000  # items in a chunk
_AHEAD = 100_000  # items that map runs ahead of its consumer


class DoneAndNotDone(NamedTuple):
    """What `wait` returns."""

    done: set[Future]
    not_done: set[Future]


def submit(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
    """Schedule ``function(*args, **kwargs)``; return its future."""
    _check_callable(function)
    return current().submit(function, args, kwargs)


def wait(
    futures: Iterable[Future], timeout: Optional[float] = None, return_when: str = ALL_COMPLETED
) -> DoneAndNotDone:
    """Wait until all *futures* are done, or the first, or the first that raised; or *timeout* seconds are over."""
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise InputError(f"return_when is {return_when!r}: take ALL_COMPLETED, FIRST_COMPLETED or FIRST_EXCEPTION")
    waiter = current().waiter(_deadline(timeout))
    wanted = set(futures)
    pending = {future for future in wanted if not future.settled}
    left = len(pending)

    def enough(future: Any) -> bool:
        return return_when == FIRST_COMPLETED or (return_when == FIRST_EXCEPTION and _raised(future))

    def on_done(future: Any) -> None:
        nonlocal left
        left -= 1
        if not left or enough(future):
            waiter.wake()

    if pending and not any(enough(future) for future in wanted - pending):
        for future in pending:
            future.add_done_callback(on_done)
        waiter.park()
        for future in pending:
            future.forget(on_done)
    done = {future for future in wanted if future.settled}
    return DoneAndNotDone(done, wanted - done)


def as_completed(futures: Iterable[Future], timeout: Optional[float] = None) -> Iterator[Future]:
    """Yield each of *futures* once, as it is done; raise TimeoutError *timeout* seconds after the call."""
    finished = _Finished(current(), _deadline(timeout))
    wanted = set(futures)
    for future in wanted:
        future.add_done_callback(finished.add)

    def take() -> Iterator[Future]:
        try:
            for _ in range(len(wanted)):
                yield finished.next()
        finally:
            for future in wanted:
                future.forget(finished.add)

    return take()


def map(  # noqa: A001
    function: Callable[..., Any],
    *iterables: Iterable[Any],
    timeout: Optional[float] = None,
    chunksize: Optional[int] = None,
) -> Iterator[Any]:
    """Yield ``function(*items)`` for each tuple of items from *iterables*, in their order.

    Work starts at the call, and goes on while the results are consumed; *iterables* are read as they are needed.
    Raises TimeoutError if a result is not there *timeout* seconds after the call, and what *function* raised at the
    place of its result. *chunksize* fixes how many items make a task; without it that follows from how long they take.
    """
    return _Map(current(), function, iterables, chunksize, _deadline(timeout)).in_order()


def map_as_completed(
    function: Callable[..., Any],
    *iterables: Iterable[Any],
    timeout: Optional[float] = None,
    chunksize: Optional[int] = None,
) -> Iterator[Any]:
    """Yield the same results as `map`, as they come."""
    controller = current()
    deadline = _deadline(timeout)
    finished = _Finished(controller, deadline)
    return _Map(controller, function, iterables, chunksize, deadline, finished).as_they_come(finished)


class _Finished:
    """Futures that are done and not yet taken, for one consumer."""

    def __init__(self, controller: Controller, deadline: Optional[float]) -> None:
        self._controller = controller
        self._deadline = deadline
        self._futures: deque[Any] = deque()
        self._waiter: Optional[Waiter] = None

    def add(self, future: Any) -> None:
        """Take in a future that is done; fit to be its callback."""
        self._futures.append(future)
        if self._waiter is not None:
            self._waiter.wake()

    def next(self) -> Any:
        """Return the next future that is done; raise TimeoutError after the deadline."""
        while not self._futures:
            self._waiter = self._controller.waiter(self._deadline)
            if not self._waiter.park() and not self._futures:
                raise TimeoutError("not all futures were done in time")
        return self._futures.popleft()


class _Map:
    """One call of map: cuts the items into chunks, keeps enough of them under way, and takes their results apart."""

    def __init__(
        self,
        controller: Controller,
        function: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        chunksize: Optional[int],
        deadline: Optional[float],
        finished: Optional[_Finished] = None,  # told of every chunk that is done
    ) -> None:
        _check_callable(function)
        if chunksize is not None and chunksize < 1:
            raise InputError(f"chunksize is {chunksize!r}: it must be at least 1")
        if not iterables:
            raise TypeError("map needs at least one iterable")
        self._controller = controller
        self._function = function
        self._items = zip(*iterables)
        self._fixed = chunksize
        self._size = chunksize or 1
        self._deadline = deadline
        self._finished = finished
        self._chunks: OrderedDict[Future, list[tuple[Any, ...]]] = OrderedDict()  # in the items' order
        self._under_way = 0  # chunks that are not done
        self._unread = 0  # items whose results were not consumed
        self._feeding = False
        self._exhausted = False
        self._failure: Optional[BaseException] = None  # of the iterables themselves
        self._feed()

    def in_order(self) -> Iterator[Any]:
        """Yield the results in the items' order."""
        return self._take(lambda: next(iter(self._chunks)))

    def as_they_come(self, finished: _Finished) -> Iterator[Any]:
        """Yield the results chunk by chunk, as they are done."""
        return self._take(finished.next)

    def _take(self, choose: Callable[[], Future]) -> Iterator[Any]:
        try:
            self._feed()
            while self._chunks:
                future = choose()
                yield from self._results(future, self._chunks.pop(future))
                self._feed()
            if self._failure is not None:
                raise self._failure
        finally:
            self._exhausted = True
            for future in self._chunks:
                self._controller.abandon(future)

    def _results(self, future: Future, items: list[tuple[Any, ...]]) -> Iterator[Any]:
        """Yield the results of one chunk, and raise what its last item raised."""
        self._controller.wait_for(future, self._deadline)
        if not future.settled:
            raise TimeoutError("not all results of map were there in time")
        try:
            chunk: Chunk = future.result()
        except UnpicklableError:
            if len(items) == 1:
                raise
            for item in items:  # the chunk could not be pickled as a whole, so none of it was run
                yield from self._results(self._submit([item]), [item])
            return
        for result in chunk.unpacked():
            self._unread -= 1
            yield result

    def _submit(self, items: list[tuple[Any, ...]]) -> Future:
        return self._controller.submit(run_chunk, (self._function, items), {})

    def _feed(self) -> None:
        """Submit chunks while there are items and too few chunks are under way."""
        if self._feeding:  # an iterable may wait for futures, and so let another call in
            return
        self._feeding = True
        while (
            not (self._exhausted or self._controller.ending())
            and self._under_way < 3 * self._controller.size
            and self._unread < _AHEAD
        ):
            items = self._read()
            if items:
                self._unread += len(items)
                self._under_way += 1
                future = self._submit(items)
                self._chunks[future] = items
                future.add_done_callback(functools.partial(self._on_done, len(items)))
        self._feeding = False

    def _read(self) -> list[tuple[Any, ...]]:
        """Take the items of the next chunk; note the end of the items, or what the iterables raised there."""
        items: list[tuple[Any, ...]] = []
        try:
            for item in itertools.islice(self._items, self._size):
                items.append(item)  # those before a failure count
        except BaseException as error:  # the user's iterable: raised at its place, after the results before it
            self._failure = error
        self._exhausted = self._exhausted or len(items) < self._size
        return items

    def _on_done(self, count: int, future: Any) -> None:
        self._under_way -= 1
        if self._fixed is None and future.seconds:
            fitting = int(_CHUNK_TIME * count / future.seconds)
            self._size = max(1, min(2 * self._size, fitting, _CHUNK_MOST))
        if self._finished is not None:
            self._finished.add(future)
        self._feed()


def _deadline(timeout: Optional[float]) -> Optional[float]:
    return None if timeout is None else time.monotonic() + timeout


def _raised(future: Any) -> bool:
    return not future.cancelled() and future.exception() is not None


def _check_callable(function: Any) -> None:
    if not callable(function):
        raise TypeError(f"{function!r} is not callable")
