"""Futures for programs: submit tasks, map functions, wait for results, from any task to any depth.

    >>> from scoop_hpc import futures
    >>> def main():
    ...     return sum(futures.map(abs, range(-1000, 1000)))

The functions mean what they mean in `concurrent.futures` (PEP 3148). They work in a program that was started by
``scoop-hpc run`` or ``scoop-hpc submit``, in its main thread; elsewhere they raise `scoop_hpc.errors.NotRunningError`.
"""

from __future__ import annotations

import itertools
from collections import deque
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

from scoop_hpc.errors import InputError, TaskError
from scoop_hpc.worker import calls
from scoop_hpc.worker.chunks import Chunk, run_chunk
from scoop_hpc.worker.controller import Controller, Future, Waiter, current

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


def submit(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future:
    """Schedule ``function(*args, **kwargs)``; return its future."""
    _check_callable(function)
    return current().submit(function, args, kwargs)


def wait(
    futures: Iterable[Future], timeout: Optional[float] = None, return_when: str = ALL_COMPLETED
) -> DoneAndNotDone:
    """Wait until all *futures* are done, or the first, or the first that raised; or *timeout* seconds are over."""
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise InputError(f"return_when is {return_when!r}: take ALL_COMPLETED, FIRST_COMPLETED or FIRST_EXCEPTION")
    wanted = set(futures)
    waiter = current().waiter(timeout)
    pending = {future for future in wanted if not future.done()}
    left = len(pending)

    def on_done(future: Any) -> None:
        nonlocal left
        left -= 1
        if not left or return_when == FIRST_COMPLETED or (return_when == FIRST_EXCEPTION and _raised(future)):
            waiter.wake()

    for future in pending:
        future.add_done_callback(on_done)
    settled = wanted - pending
    enough = (return_when == FIRST_COMPLETED and settled) or (
        return_when == FIRST_EXCEPTION and any(_raised(future) for future in settled)
    )
    if left and not enough:
        waiter.park()
    done = {future for future in wanted if future.done()}
    return DoneAndNotDone(done, wanted - done)


def as_completed(futures: Iterable[Future], timeout: Optional[float] = None) -> Iterator[Future]:
    """Yield each of *futures* once, as it is done; raise TimeoutError *timeout* seconds after the call."""
    wanted = set(futures)
    finished = _Finished(current(), timeout)
    for future in wanted:
        future.add_done_callback(finished.add)
    return (finished.next() for _ in range(len(wanted)))


def map(  # noqa: A001
    function: Callable[..., Any],
    *iterables: Iterable[Any],
    timeout: Optional[float] = None,
    chunksize: Optional[int] = None,
) -> Iterator[Any]:
    """Yield ``function(*items)`` for each tuple of items from *iterables*, in their order.

    Work starts at the call, and goes on while the results are consumed; *iterables* are read as they are needed.
    Raises TimeoutError if a result is not there *timeout* seconds after the call, and what *function* raised at the
    place of its result. *chunksize* fixes how many items make a task; without it that is measured.
    """
    return _Map(current(), function, iterables, timeout, chunksize).in_order()


def map_as_completed(
    function: Callable[..., Any],
    *iterables: Iterable[Any],
    timeout: Optional[float] = None,
    chunksize: Optional[int] = None,
) -> Iterator[Any]:
    """Yield the same results as `map`, as they come."""
    return _Map(current(), function, iterables, timeout, chunksize).as_they_come()


class _Finished:
    """Futures that are done and not yet taken, for one consumer."""

    def __init__(self, controller: Controller, timeout: Optional[float]) -> None:
        self._controller = controller
        self._futures: deque[Any] = deque()
        self._deadline = controller.waiter(timeout).deadline
        self._waiter: Optional[Waiter] = None

    def add(self, future: Any) -> None:
        """Take in a future that is done; fit to be its callback."""
        self._futures.append(future)
        if self._waiter is not None:
            self._waiter.wake()

    def next(self) -> Any:
        """Return the next future that is done; raise TimeoutError after the deadline."""
        while not self._futures:
            self._waiter = self._controller.waiter(None)
            self._waiter.deadline = self._deadline
            if not self._waiter.park() and not self._futures:
                raise TimeoutError("not all futures were done in time")
        return self._futures.popleft()


class _Map:
    """One call of map: cuts the items into chunks, keeps enough of them under way, and puts results in order."""

    def __init__(
        self,
        controller: Controller,
        function: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        timeout: Optional[float],
        chunksize: Optional[int],
    ) -> None:
        _check_callable(function)
        if chunksize is not None and chunksize < 1:
            raise InputError(f"chunksize is {chunksize!r}: it must be at least 1")
        if not iterables:
            raise TypeError("map needs at least one iterable")
        self._controller = controller
        self._function = function
        self._items: Iterator[tuple[Any, ...]] = zip(*iterables)
        self._fixed = chunksize
        self._size = chunksize or 1
        self._chunks: deque[tuple[list[tuple[Any, ...]], Future]] = deque()  # in the items' order
        self._finished = _Finished(controller, timeout)
        self._under_way = 0  # chunks
        self._unread = 0  # items that were taken and whose results were not consumed
        self._feeding = False
        self._failure: Optional[BaseException] = None  # of the iterables themselves
        self._exhausted = False
        self._feed()

    def in_order(self) -> Iterator[Any]:
        """Yield the results in the items' order."""
        self._finished.add = _forget  # type: ignore[method-assign]  # nobody asks which is done
        try:
            while True:
                self._feed()
                if not self._chunks:
                    break
                items, future = self._chunks.popleft()
                yield from self._results(items, future)
        finally:
            self._stop()
        if self._failure is not None:
            raise self._failure

    def as_they_come(self) -> Iterator[Any]:
        """Yield the results chunk by chunk, as they are done."""
        try:
            while True:
                self._feed()
                if not self._chunks:
                    break
                future = self._finished.next()
                for place, (items, candidate) in enumerate(self._chunks):
                    if candidate is future:
                        del self._chunks[place]
                        yield from self._results(items, future)
                        break
        finally:
            self._stop()
        if self._failure is not None:
            raise self._failure

    def _results(self, items: list[tuple[Any, ...]], future: Future) -> Iterator[Any]:
        deadline = self._finished._deadline
        if not future.done():
            waiter = self._controller.waiter(None)
            waiter.deadline = deadline
            if deadline is None:
                self._controller.wait_for(future, None)
            else:
                future.add_done_callback(waiter.wake)
                if not waiter.park() and not future.done():
                    raise TimeoutError("not all results of map were there in time")
        try:
            chunk: Chunk = future.result()
        except TaskError:
            if len(items) == 1:
                raise
            for item in items:  # the chunk could not be sent as a whole: find the item that cannot
                yield from self._results([item], self._controller.submit(run_chunk, (self._function, [item]), {}))
            return
        for result in chunk.results:
            self._unread -= 1
            yield result
        if chunk.error is not None:
            error = calls.load_outcome(chunk.error).error
            assert error is not None
            raise error

    def _feed(self) -> None:
        """Submit chunks while there are items and too few chunks are under way."""
        if self._feeding or self._exhausted:
            return
        self._feeding = True
        try:
            while self._under_way < 3 * self._controller.size and self._unread < _AHEAD:
                try:
                    items = list(itertools.islice(self._items, self._size))
                except Exception as error:  # the user's iterable: raised at its place among the results
                    self._failure = error
                    items = []
                if not items:
                    self._exhausted = True
                    break
                self._unread += len(items)
                self._under_way += 1
                future = self._controller.submit(run_chunk, (self._function, items), {})
                self._chunks.append((items, future))
                future.add_done_callback(lambda done, count=len(items): self._on_done(done, count))
        finally:
            self._feeding = False

    def _on_done(self, future: Any, count: int) -> None:
        self._under_way -= 1
        if self._fixed is None and future.seconds:
            fitting = int(_CHUNK_TIME * count / future.seconds)
            self._size = max(1, min(2 * self._size, fitting, _CHUNK_MOST))
        self._finished.add(future)
        self._feed()

    def _stop(self) -> None:
        """Take no more items, and drop the chunks that have not started."""
        self._exhausted = True
        for _, future in self._chunks:
            future.cancel()


def _forget(future: Any) -> None:
    """Take no note of a future that is done."""


def _raised(future: Any) -> bool:
    return not future.cancelled() and future.exception() is not None


def _check_callable(function: Any) -> None:
    if not callable(function):
        raise TypeError(f"{function!r} is not callable")
