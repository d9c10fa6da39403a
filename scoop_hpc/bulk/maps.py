"""Maps: a feed's chunks, whose results are taken in one of two orders; and bundles, which are maps of their own.

::

    origin --bundle--> worker --chunk--> worker      where one owner for all chunks would be too slow: see `Sizes`
                          |
                          '-----chunk--> itself, while it waits for the others

The results of a bundle are not opened where they are put together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

from scoop_hpc.bulk.chunks import Chunk, SingleCalls, run_chunk
from scoop_hpc.bulk.feed import Feed, Finished, length_of, result_by
from scoop_hpc.bulk.sizes import Shares
from scoop_hpc.errors import TaskError, UnpicklableError, WorkerLostError
from scoop_hpc.pickling import pickles
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.current import current
from scoop_hpc.worker.future import Future


class Map:
    """One call of map, and the two orders in which its results can be had."""

    def __init__(
        self,
        controller: Controller,
        function: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        chunksize: int | None = None,
        buffersize: int | None = None,
        deadline: float | None = None,
        finished: Finished | None = None,
        label: str = "",
    ) -> None:
        self._controller = controller
        self._deadline = deadline
        self.length = length_of(iterables)
        head = (function,)
        self._feed = Feed(
            controller,
            "map",
            run_chunk,
            head,
            iterables,
            chunksize,
            buffersize,
            finished,
            label,
            run_bundle,
            aloof=deadline is not None,
        )

    def in_order(self) -> Iterator[Any]:
        """Yield the results in the items' order."""
        return self._take(self._feed.first)

    def as_they_come(self, finished: Finished) -> Iterator[Any]:
        """Yield the results chunk by chunk, as they are done."""
        return self._take(finished.next)

    def _take(self, choose: Callable[[], Future]) -> Iterator[Any]:
        with contextlib.closing(_chunks(self._controller, self._feed, choose, self._deadline)) as chunks:
            for chunk, count in chunks:
                yield from self._feed.each(chunk, count)


def _chunks(
    controller: Controller, feed: Feed, choose: Callable[[], Future], deadline: float | None = None
) -> Generator[tuple[Chunk, int], None, None]:
    """Yield the chunks of *feed*, and of how many items each is, in the order in which they are chosen."""
    try:
        feed.go_on()
        while feed.more(deadline):
            yield from _chunks_of(controller, feed, choose(), deadline)
            feed.go_on()
        feed.finish()
    finally:
        feed.close()


def _chunks_of(
    controller: Controller, feed: Feed, future: Future, deadline: float | None
) -> Iterable[tuple[Chunk, int]]:
    """Return the chunk of *future*; none if it was cut anew, several if it could not be sent as a whole."""
    try:
        chunk: Chunk = result_by(controller, future, deadline, "map")
    except UnpicklableError:
        items = feed.take(future)
        if len(items) == 1:
            raise
        return _one_by_one(controller, feed, items, deadline)  # none of it was run
    except WorkerLostError:
        if feed.was_cut(future):
            return ()
        raise
    return ((chunk, len(feed.take(future))),)


def _one_by_one(
    controller: Controller, feed: Feed, items: Sequence[tuple[Any, ...]], deadline: float | None
) -> Iterator[tuple[Chunk, int]]:
    for item in items:
        yield result_by(controller, feed.submit([item]), deadline, "map"), 1


def run_bundle(
    function: Callable[..., Any], items: Sequence[tuple[Any, ...]], size: int, pace: float | None, first: int
) -> Chunk:
    """Do the same as `run_chunk` for *items* of which the first is number *first*, with others who are idle.

    They are cut into chunks of *size* items, which take *pace* seconds each, as far as known; called as a task.
    """
    controller = current()
    columns = [items.values] if isinstance(items, SingleCalls) else [list(column) for column in zip(*items)]
    sizes = Shares(len(items), size, pace, controller.policy)
    feed = Feed(controller, "map", run_chunk, (function,), tuple(columns), sizes=sizes, before=max(0, first - 1))
    results: list[Any] = []
    atoms, seconds, weight = True, 0.0, 0
    with contextlib.closing(_chunks(controller, feed, feed.first)) as chunks:
        try:
            for chunk, _ in chunks:
                results += chunk.results
                if chunk.error is not None:
                    return Chunk(results, chunk.error)
                atoms, seconds, weight = atoms and chunk.atoms, seconds + chunk.seconds, weight + chunk.size
        except (TaskError, UnpicklableError, WorkerLostError) as error:  # of one chunk: those before it are good
            return Chunk(results, pickles.dump_outcome(Outcome(error=error)))
    return Chunk(results, None, atoms, 0, seconds, weight)
