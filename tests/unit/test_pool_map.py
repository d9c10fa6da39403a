"""A map's chunks on a pool that the test plays."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import TimeoutError
from typing import Any

import pytest

from scoop_hpc.bulk.chunks import Chunk, SingleCalls
from scoop_hpc.errors import BrokenPoolError, UnpicklableError, WorkerLostError
from scoop_hpc.pool.future import PoolFuture, QuestionKind
from scoop_hpc.pool.pool_map import ChunkFuture, Pool, PoolMap
from scoop_hpc.worker.loop_timing import LoopTimings


class FakePool(Pool):
    """A pool whose workers do what the test tells them to."""

    def __init__(self, workers: int = 2) -> None:
        super().__init__()
        self._workers = workers
        self._timings = LoopTimings()
        self.offered: deque[ChunkFuture] = deque()
        self._on_open: list[Callable[[], object]] = []

    @property
    def workers(self) -> int:
        return self._workers

    @property
    def loop_timings(self) -> LoopTimings:
        return self._timings

    def ask(self, future: PoolFuture, kind: QuestionKind) -> bool | None:
        raise AssertionError("nobody asks about a chunk that has begun")

    def submit(self, future: PoolFuture) -> None:
        assert isinstance(future, ChunkFuture)
        self.offered.append(future)

    def submit_more(self, future: PoolFuture) -> None:
        self.submit(future)

    def when_open(self, callback: Callable[[], object]) -> None:
        self._on_open.append(callback)
        if self._workers:
            callback()

    def open(self, workers: int) -> None:
        self._workers = workers
        for callback in self._on_open:
            callback()

    def cancel(self, futures: Iterable[PoolFuture]) -> None:
        for future in futures:
            future.cancel()

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        mapped = PoolMap(self, function, SingleCalls(items) if isinstance(items, range) else list(zip(items)))
        mapped.start()
        return mapped.results(None)

    def work(self, most: int = 1_000_000, pace: float = 1e-6, left: int = 0) -> list[int]:
        """Execute up to *most* chunks, the oldest first, but the *left* last items of each; return their sizes."""
        sizes: list[int] = []
        while self.offered and len(sizes) < most:
            future = self.offered.popleft()
            call = future.take()
            if call is None:
                continue
            _, (function, items, _), _ = call
            done = items[: len(items) - left]
            sizes.append(len(done))
            future.set_result(
                Chunk([function(*item) for item in done], None, True, len(items) - len(done), pace * len(done))
            )
        return sizes


kinds = pytest.mark.parametrize("kind", [range, lambda count: list(range(count))])  # sent as such, or as tuples


@kinds
def test_results_come_in_order_and_chunks_grow(kind: Callable[[int], Sequence[int]]) -> None:
    pool = FakePool()
    results = pool.map(operator.neg, kind(50_000))
    sizes = pool.work()
    assert list(results) == list(range(0, -50_000, -1))
    assert sizes[0] == 1
    assert max(sizes) > 1_000


def test_map_gets_on_while_nobody_takes_its_results() -> None:
    pool = FakePool()
    pool.map(abs, range(1_000))
    assert sum(pool.work()) == 1_000


def test_long_items_stay_alone_and_no_more_are_sent_than_workers_need_next() -> None:
    pool = FakePool(workers=3)
    pool.map(abs, range(100))
    assert len(pool.offered) == 9
    assert pool.work(most=20, pace=1.0) == [1] * 20


def test_next_map_of_a_function_begins_with_large_chunks() -> None:
    pool = FakePool()
    for _ in range(2):
        results = pool.map(abs, range(20_000))
        sizes = pool.work()
        assert list(results) == list(range(20_000))
    assert sizes[0] == 2_500


def test_map_before_the_workers_are_there_goes_on_when_they_are() -> None:
    pool = FakePool(workers=0)
    results = pool.map(abs, range(100))
    assert len(pool.offered) == 1
    pool.open(4)
    assert len(pool.offered) == 12
    pool.work()
    assert list(results) == list(range(100))


@kinds
def test_what_is_left_of_a_chunk_is_done_in_its_place(kind: Callable[[int], Sequence[int]]) -> None:
    pool = FakePool()
    results = pool.map(abs, kind(5_000))
    pool.work(most=8)
    assert any(len(future.items) > 2 for future in pool.offered)
    pool.work(most=1, left=2)
    pool.work()
    assert list(results) == list(range(5_000))


@kinds
@pytest.mark.parametrize("make", [lambda: WorkerLostError("gone", ("gone",)), lambda: UnpicklableError("no")])
def test_chunk_that_fails_as_a_whole_is_cut_until_the_guilty_item_is_alone(
    make: Callable[[], Exception], kind: Callable[[int], Sequence[int]]
) -> None:
    error, pool = make(), FakePool()
    results = pool.map(abs, kind(5_000))
    pool.work(most=8)
    guilty = pool.offered[-1].items[-1][0]
    while pool.offered:
        future = pool.offered.popleft()
        if (guilty,) in future.items:
            assert future.take() is not None
            future.set_exception(type(error)(*error.args) if len(future.items) > 1 else error)
        else:
            pool.offered.appendleft(future)
            pool.work(most=1)
    got: list[int] = []
    with pytest.raises(type(error)) as raised:
        got.extend(iter(results))
    assert raised.value is error
    assert got == list(range(guilty))
    assert f"item {guilty + 1} of map" in str(error) or isinstance(error, UnpicklableError)


def test_what_an_item_raises_comes_at_its_place_and_the_rest_is_cancelled() -> None:
    pool = FakePool()
    results = pool.map(abs, range(10))
    pool.work(most=1, pace=1.0)
    failing = pool.offered.popleft()
    assert failing.take() is not None
    failing.set_exception(ValueError("no"))
    rest = list(pool.offered)
    assert next(results) == 0
    with pytest.raises(ValueError, match="no"):
        next(results)
    assert all(future.cancelled() for future in rest)
    assert pool.work() == []


def test_broken_pool_gets_no_more_chunks() -> None:
    pool = FakePool()
    results = pool.map(abs, range(100))
    for future in list(pool.offered):
        pool.offered.popleft()
        future.take()
        future.set_exception(BrokenPoolError("worker 0.1 died"))
    assert not pool.offered
    with pytest.raises(BrokenPoolError):
        next(results)


def test_late_result_is_a_time_out_and_leaving_cancels_what_has_not_begun() -> None:
    pool = FakePool()
    mapped = PoolMap(pool, abs, [(item,) for item in range(100)])
    mapped.start()
    with pytest.raises(TimeoutError):
        next(mapped.results(float("-inf")))
    assert all(future.cancelled() for future in pool.offered)


def test_iterator_that_is_closed_cancels_the_rest() -> None:
    pool = FakePool()
    results = pool.map(abs, range(100))
    pool.work(most=1, pace=1.0)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert pool.work() == []
