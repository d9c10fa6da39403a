"""Futures for programs: submit tasks, map functions, wait for results, from any task to any depth.

    >>> from scoop_hpc import futures
    >>> def main():
    ...     return sum(futures.map(abs, range(-1000, 1000)))

The functions mean what they mean in `concurrent.futures` (PEP 3148). In a program that was started by ``scoop-hpc run``
or ``scoop-hpc submit``, they use the workers of the run, in whichever thread. In any other program all tasks are run in
the thread that submits them, after one warning.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    InvalidStateError,
    TimeoutError,
)
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar  # noqa: TID251  see below

from scoop_hpc.bulk.checks import deadline_in
from scoop_hpc.bulk.feed import check_callable
from scoop_hpc.bulk.maps import Map
from scoop_hpc.bulk.reduce import NOTHING, reduced, scanned
from scoop_hpc.bulk.results import sized
from scoop_hpc.bulk.small_map import items_if_small, submit_each
from scoop_hpc.errors import InputError
from scoop_hpc.pickling.arguments import refuse_unsendable
from scoop_hpc.pool.future import PoolFuture
from scoop_hpc.task import task
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.current import current, running
from scoop_hpc.worker.future import Future as TaskFuture
from scoop_hpc.worker.waiting import AnyWaiter

if TYPE_CHECKING:  # as which programs declare it: the class below is one, and what it is of, no checker could tell
    from concurrent.futures import Future
else:
    Future = TaskFuture

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
    "map_reduce",
    "map_scan",
    "submit",
    "task",
    "wait",
]


_P = ParamSpec("_P")
_T = TypeVar("_T")


class DoneAndNotDone(NamedTuple):
    """The result of `wait`."""

    done: set[Future[Any]]
    not_done: set[Future[Any]]


def submit(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
    """Schedule ``function(*args, **kwargs)``; return its future."""
    if not callable(function):
        check_callable(function)
    refuse_unsendable(args, kwargs)
    return current().submit(function, args, kwargs)


def wait(
    futures: Iterable[Future[Any]], timeout: float | None = None, return_when: str = ALL_COMPLETED
) -> DoneAndNotDone:
    """Wait until all *futures* are done, or the first, or the first that raised; or *timeout* seconds are over."""
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise InputError(f"return_when is {return_when!r}: take ALL_COMPLETED, FIRST_COMPLETED or FIRST_EXCEPTION")
    wanted = _ours(futures)
    waiter = current().waiter(deadline_in(timeout))
    pending = {future for future in wanted if not future.settled}
    finished = itertools.count(1)

    def enough(future: TaskFuture) -> bool:
        return return_when == FIRST_COMPLETED or (return_when == FIRST_EXCEPTION and _raised(future))

    def on_done(future: TaskFuture) -> None:  # in whichever thread
        if next(finished) == len(pending) or enough(future):
            waiter.wake()

    if pending and not any(enough(future) for future in wanted - pending):
        watchers = {future: functools.partial(on_done, future) for future in pending}
        for future, watcher in watchers.items():
            future.watch(watcher)
        waiter.park()
        for future, watcher in watchers.items():
            future.unwatch(watcher)
    all_of_them: set[Future[Any]] = set(wanted)
    done: set[Future[Any]] = {future for future in wanted if future.settled}
    return DoneAndNotDone(done, all_of_them - done)


def as_completed(futures: Iterable[Future[_T]], timeout: float | None = None) -> Iterator[Future[_T]]:
    """Yield each of *futures* once, as it is done; raise TimeoutError *timeout* seconds after the call."""
    wanted = _ours(futures)
    finished = _Finished(current(), deadline_in(timeout), wanted)
    watchers = {future: functools.partial(finished.add, future) for future in wanted}
    for future, watcher in watchers.items():
        if future.settled:
            finished.add(future)
        else:
            future.watch(watcher)

    def take() -> Iterator[Future[_T]]:
        try:
            for _ in range(len(wanted)):
                yield finished.next()
        finally:
            for future, watcher in watchers.items():
                future.unwatch(watcher)

    return take()


def map(  # noqa: A001
    function: Callable[..., _T],
    *iterables: Iterable[Any],
    timeout: float | None = None,
    chunksize: int | None = None,
    buffersize: int | None = None,
    progress: str = "",
) -> Iterator[_T]:
    """Yield ``function(*items)`` for each tuple of items from *iterables*, in their order.

    Work starts at the call, and goes on while the results are consumed; *iterables* are read as they are needed, and
    may be endless. Raises TimeoutError if a result is not there *timeout* seconds after the call, and what *function*
    raised at the place of its result.

    *chunksize* is how many items should make a task; without it that follows from how long they take. *buffersize* is
    how many items may be submitted without their results having been yielded; fewer than twice the workers leave some
    of them idle. Without it that is 100,000, or ten for each worker, and where there are so many workers that one owner
    is too slow for them, tasks go in bundles whose results come together.

    *progress* is what this map is called where the progress of the run is shown. Where all *iterables* have a length,
    so have the results, for bars of others.
    """
    controller = current()
    if chunksize is None and buffersize is None and not progress and callable(function):
        items = items_if_small(iterables, controller.policy.small_map_items)
        if items is not None:
            return sized(submit_each(controller, function, items, deadline_in(timeout)), len(items))
    mapped = Map(controller, function, iterables, chunksize, buffersize, deadline_in(timeout), label=progress)
    return sized(_shown(progress, mapped.in_order(), mapped.length), mapped.length)


def map_as_completed(
    function: Callable[..., _T],
    *iterables: Iterable[Any],
    timeout: float | None = None,
    chunksize: int | None = None,
    buffersize: int | None = None,
    progress: str = "",
) -> Iterator[_T]:
    """Yield the same results as `map`, as they come."""
    controller = current()
    deadline = deadline_in(timeout)
    finished = _Finished(controller, deadline)
    mapped = Map(controller, function, iterables, chunksize, buffersize, deadline, finished, progress)
    return sized(_shown(progress, mapped.as_they_come(finished), mapped.length), mapped.length)


def map_reduce(
    function: Callable[..., _T],
    reduction: Callable[[_T, _T], _T],
    *iterables: Iterable[Any],
    timeout: float | None = None,
    initial: Any = NOTHING,
) -> _T:
    """Return the reduction of ``function(*items)`` over all tuples of items from *iterables*, in their order.

    This is ``functools.reduce(reduction, map(function, *iterables))``, or the same with *initial*, for a *reduction*
    that is associative; it need not be commutative. Items are folded where they are: idle workers take slices of what
    others have left, and give back one result for each, which must survive pickling. Items that do not are folded here.

    *reduction* may change and return its first argument if what *function* returns is new each time. What either of
    them raises is raised here, and the rest is dropped; if several calls fail, it is not defined whose exception that
    is. Raises TypeError if there are no items and no *initial*, and TimeoutError *timeout* seconds after the call.

    *iterables* must end. They are read in blocks of 10,000 items at the most, while less than 100,000 are out at other
    workers. A call with a *timeout* leaves all items to the others, so that it can be kept.
    """
    result: _T = reduced(current(), function, reduction, iterables, deadline_in(timeout), initial)
    return result


def map_scan(
    function: Callable[..., _T],
    reduction: Callable[[_T, _T], _T],
    *iterables: Iterable[Any],
    timeout: float | None = None,
) -> Iterator[_T]:
    """Yield the reduction of ``function(*items)`` over the first tuple of items, over the first two, and so on.

    This is ``itertools.accumulate(map(function, *iterables), reduction)`` for a *reduction* that is associative; it
    need not be commutative, and must not change its arguments. *iterables* are read as by `map` and may be endless;
    time-outs and exceptions are as there. What cannot be pickled is scanned here.

    Chunks of items are mapped and scanned by themselves, in parallel; what comes before each is reduced from their
    last results and put in front of all their results, again in parallel where that is worth a message. So *reduction*
    is called at most twice for each item and once for each chunk [Ladner and Fischer, Parallel Prefix Computation,
    J. ACM 27 (1980) 831; Blelloch, Prefix Sums and Their Applications, CMU-CS-90-190 (1990)].
    """
    return scanned(current(), function, reduction, iterables, deadline_in(timeout))


class _Finished:
    """Futures that are done and not yet taken, for one consumer."""

    def __init__(
        self, controller: Controller, deadline: float | None, wanted: Collection[TaskFuture] = frozenset()
    ) -> None:
        self._controller = controller
        self._deadline = deadline
        self._unstarted = [future for future in wanted if future.unstarted] if deadline is None else []
        self._futures: deque[Any] = deque()
        self._waiter: AnyWaiter | None = None

    def add(self, future: Any) -> None:
        """Take in a future that is done; fit to be its callback."""
        self._futures.append(future)
        if self._waiter is not None:
            self._waiter.wake()

    def next(self) -> Any:
        """Return the next future that is done; raise TimeoutError after the deadline."""
        while self._unstarted and not self._futures:
            self._controller.run_if_short(self._unstarted.pop())
        while not self._futures:
            self._waiter = self._controller.waiter(self._deadline)
            if not self._futures and not self._waiter.park() and not self._futures:
                raise TimeoutError("not all futures were done in time")
        return self._futures.popleft()


def _ours(futures: Iterable[Future[Any]]) -> set[TaskFuture]:
    """Return the set of *futures*; raise TypeError if one is of another kind."""
    wanted: set[TaskFuture] = set()
    for future in futures:
        if not isinstance(future, TaskFuture) or isinstance(future, PoolFuture):
            raise TypeError(
                f"{future!r} is not of scoop_hpc.futures: wait by concurrent.futures, which takes all kinds"
            )
        wanted.add(future)
    return wanted


def _shown(label: str, results: Iterator[Any], length: int | None) -> Iterator[Any]:
    """Return *results*; in a notebook, which runs the tasks itself, it shows how far they are."""
    if "IPython" not in sys.modules or running() is not None:
        return results
    from scoop_hpc.pool.notebook import in_notebook, shown_as_taken  # noqa: PLC0415  notebooks only

    return shown_as_taken(label, results, length) if in_notebook() else results


def _raised(future: Any) -> bool:
    return not future.cancelled() and future.exception() is not None
