"""Reductions and scans of mapped items, by reductions that are associative."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

from scoop_hpc.bulk.chunks import Chunk
from scoop_hpc.bulk.feed import Feed, check_callable, result_by
from scoop_hpc.bulk.options import bulk_task
from scoop_hpc.bulk.scans import Scanned, put_before, scan_chunk, worth_a_task
from scoop_hpc.bulk.splitting import NOTHING, fold, reduce_two
from scoop_hpc.errors import UnpicklableError, WorkerLostError
from scoop_hpc.pickling.packed import Packed
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.future import Future

__all__ = ["NOTHING", "reduced", "scanned"]


def reduced(
    controller: Controller,
    function: Callable[..., Any],
    reduction: Callable[[Any, Any], Any],
    iterables: tuple[Iterable[Any], ...],
    deadline: float | None,
    initial: Any,
) -> Any:
    """Do what `scoop_hpc.futures.map_reduce` says."""
    check_callable(function)
    check_callable(reduction)
    if not iterables:
        raise TypeError("map_reduce needs at least one iterable")
    controller.check()
    result = fold(controller, function, reduction, zip(*iterables), deadline)
    if result is NOTHING:
        if initial is NOTHING:
            raise TypeError("map_reduce of no items needs an initial value")
        return initial
    if initial is NOTHING:
        return result
    return reduce_two(controller, reduction, initial, result, deadline, "map_reduce")


def scanned(
    controller: Controller,
    function: Callable[..., Any],
    reduction: Callable[[Any, Any], Any],
    iterables: tuple[Iterable[Any], ...],
    deadline: float | None,
) -> Iterator[Any]:
    """Do what `scoop_hpc.futures.map_scan` says; begin at once."""
    check_callable(reduction)
    aloof = deadline is not None
    feed = Feed(controller, "map_scan", scan_chunk, (function, reduction), iterables, aloof=aloof)
    return _Scan(controller, function, reduction, feed, deadline).results()


class _Scan:
    """The consumer of one scan: puts the last result before each chunk in front of the chunk's own.

    ::

        feed: scanned chunks --in order--> [ shifting: what came before is put in front ] --in order--> results
    """

    def __init__(
        self,
        controller: Controller,
        function: Callable[..., Any],
        reduction: Callable[[Any, Any], Any],
        feed: Feed,
        deadline: float | None,
    ) -> None:
        self._controller = controller
        self._function = function
        self._reduction = reduction
        self._feed = feed
        self._deadline = deadline
        self._before: Any = NOTHING  # the last result of the chunks that were taken from the feed
        self._shifting: deque[_Shifted] = deque()
        self._failure: Exception | None = None  # of what comes before the chunks that are still in the feed

    def results(self) -> Iterator[Any]:
        """Yield the results in the items' order."""
        feed = self._feed
        try:
            feed.go_on()
            while self._shifting or (self._failure is None and feed.more(self._deadline)):
                while feed.chunks and self._failure is None and (not self._shifting or feed.first().settled):
                    with self._controller.as_task():
                        self._take(feed.first())
                with self._controller.as_task():
                    if not self._shifting:  # the chunk was lost, and there are others in its place
                        continue
                    items, chunk = self._next()
                yield from feed.each(chunk, items)
                feed.go_on()
            if self._failure is not None:
                raise self._failure
            feed.finish()
        finally:
            feed.close()
            for shifted in self._shifting:
                if shifted.task is not None:
                    self._controller.abandon(shifted.task)

    def _take(self, future: Future) -> None:
        """Take a scanned chunk from the feed, and have what came before put in front of its results."""
        items = self._feed.chunks[future]
        try:
            scanned: Scanned = self._result(future, partial(scan_chunk, self._function, self._reduction, items))
        except WorkerLostError:
            if self._feed.was_cut(future):
                return
            raise
        count = len(self._feed.take(future))  # it may have left some
        chunk, before = scanned.chunk, self._before
        if before is NOTHING:
            self._shifting.append(_Shifted(count, None, lambda: chunk))
        else:
            here = partial(bulk_task(put_before, self._reduction), self._reduction, before, chunk)
            is_worth_it = worth_a_task(scanned.each, len(chunk.results)) or self._controller.longest_here < 0
            elsewhere = self._controller.size > 1 and is_worth_it
            task = self._controller.submit(here.func, here.args, {}) if elsewhere else None
            self._shifting.append(_Shifted(count, task, here))
        if chunk.results:
            last = chunk.results[-1]
            try:
                last = last.result() if type(last) is Packed else last
                self._before = last if before is NOTHING else self._reduced(before, last)
            except Exception as error:  # the user's reduction: raised after the results before
                self._failure = error

    def _reduced(self, before: Any, last: Any) -> Any:
        return reduce_two(self._controller, self._reduction, before, last, self._deadline, "map_scan")

    def _next(self) -> tuple[int, Chunk]:
        """Return how many items the next chunk has, and the chunk."""
        items, task, here = self._shifting.popleft()
        return items, here() if task is None else self._result(task, here)

    def _result(self, future: Future, here: Callable[[], Any]) -> Any:
        """Wait for a task; what could not be pickled, and so was not run, is done *here*."""
        try:
            return result_by(self._controller, future, self._deadline, "map_scan")
        except UnpicklableError:
            return here()


class _Shifted(NamedTuple):
    """A chunk of *items* to get what came before in front, by a task or *here*."""

    items: int
    task: Future | None
    here: Callable[[], Chunk]
