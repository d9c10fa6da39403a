"""Chunks that last longer than was thought: what is left of them is cut anew, and goes to whoever is idle."""

from __future__ import annotations

import functools
import itertools
import operator
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from test_reductions import Run, run_program

from scoop_hpc import futures
from scoop_hpc.bulk import chunks
from scoop_hpc.bulk import feed as mapping
from scoop_hpc.bulk.chunks import run_chunk
from scoop_hpc.bulk.sizes import Sizes
from scoop_hpc.worker.policy import DEFAULT, Policy


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now

    def work(self, seconds: float) -> int:
        """Be an item that takes so long."""
        self.now += seconds
        return 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that chunks look at."""
    clock = Clock()
    monkeypatch.setattr(chunks, "monotonic", clock)
    return clock


@pytest.fixture(params=[1, 4], ids=["alone", "among others"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a program on a worker alone or one of four."""
    return functools.partial(run_program, size=request.param)


@pytest.fixture
def impatient(run: Run) -> Run:
    """Run a program on such a worker, where each chunk runs out of time after its first item."""
    return functools.partial(run, policy=Policy(chunk_budget=1e-9, chunk_least_budget=1e-9))


def test_chunk_without_a_budget_is_done_whole(clock: Clock) -> None:
    chunk = run_chunk(clock.work, [(3600.0,)] * 10)
    assert (chunk.results, chunk.left) == ([1] * 10, 0)


def test_long_items_end_a_chunk_at_its_budget(clock: Clock) -> None:
    chunk = run_chunk(clock.work, [(0.05,)] * 100, budget=0.12)
    assert (len(chunk.results), chunk.left) == (3, 97)


def test_cost_that_rises_a_thousandfold_half_way_is_noticed_within_8_items(clock: Clock) -> None:
    chunk = run_chunk(clock.work, [(0.00001,)] * 1000 + [(0.01,)] * 1000, budget=0.12)
    assert len(chunk.results) + chunk.left == 2000
    assert 1000 < len(chunk.results) <= 1000 + 16
    assert clock.now < 0.12 + 16 * 0.01


def test_quick_items_are_not_held_up_by_the_clock(clock: Clock) -> None:
    chunk = run_chunk(clock.work, [(0.000001,)] * 10_000, budget=0.12)
    assert (len(chunk.results), chunk.left) == (10_000, 0)
    assert clock.looks < 10_000 / 7


def test_large_results_end_a_chunk() -> None:
    chunk = run_chunk(bytes, [(DEFAULT.chunk_result_bytes // 4,)] * 100, budget=60)
    assert len(chunk.results) + chunk.left == 100
    assert 4 <= len(chunk.results) <= 8
    assert chunk.size >= DEFAULT.chunk_result_bytes


def test_one_long_item_at_the_end_leaves_nothing(clock: Clock) -> None:
    chunk = run_chunk(clock.work, [(0.1,), (3600.0,)], budget=0.12)
    assert (chunk.results, chunk.left) == ([1, 1], 0)


def test_chunks_that_are_cut_anew_keep_their_order(impatient: Run) -> None:
    assert impatient(lambda: list(futures.map(abs, range(500)))) == list(range(500))


def test_chunks_that_are_cut_anew_are_all_completed(impatient: Run) -> None:
    assert impatient(lambda: sorted(futures.map_as_completed(abs, iter(range(500))))) == list(range(500))


def test_scan_of_chunks_that_are_cut_anew_is_right(impatient: Run) -> None:
    letters = [str(n) for n in range(200)]
    found = impatient(lambda: list(futures.map_scan(str, operator.add, letters)))
    assert found == list(itertools.accumulate(letters))


@pytest.mark.parametrize("mapped", [futures.map, futures.map_as_completed])
def test_bounded_map_whose_chunks_are_cut_anew_reads_no_further(impatient: Run, mapped: Callable[..., Any]) -> None:
    read: list[int] = []

    def program() -> None:
        results = mapped(abs, (read.append(n) or n for n in itertools.count()), buffersize=40)  # type: ignore[func-returns-value]
        for taken in range(300):
            assert len(read) <= taken + 40
            next(results)

    impatient(program)


def test_failure_in_what_was_left_comes_at_its_place(impatient: Run) -> None:
    def program() -> list[Any]:
        results = futures.map(lambda n: 1 // (100 - n), range(500))
        return [next(results) for _ in range(100)] + [pytest.raises(ZeroDivisionError, next, results)]

    assert impatient(program)[:-1] == [1 // (100 - n) for n in range(100)]


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many items each chunk has that is submitted."""
    submitted: list[int] = []
    submit = mapping.Feed.submit

    def watched(feed: mapping.Feed, items: list[tuple[Any, ...]], first: int = 0) -> futures.Future[Any]:
        submitted.append(len(items))
        return submit(feed, items, first)

    monkeypatch.setattr(mapping.Feed, "submit", watched)
    return submitted


def test_map_of_large_results_runs_ahead_by_bytes(run: Run, submitted: list[int]) -> None:
    read: list[int] = []

    def program() -> None:
        results = futures.map(bytes, (read.append(n) or 10_000 for n in itertools.count()))  # type: ignore[func-returns-value]
        for taken in range(300):
            assert len(next(results)) == 10_000
            assert len(read) < taken + 50

    run(program, policy=Policy(chunk_bytes=30_000, ahead_bytes=200_000))
    assert max(submitted) == 3


def test_chunks_of_a_chosen_size_are_left_alone(impatient: Run, submitted: list[int]) -> None:
    assert impatient(lambda: list(futures.map(abs, range(500), chunksize=100))) == list(range(500))
    assert submitted == [100] * 5


def test_second_map_begins_with_chunks_that_fit(run: Run, submitted: list[int]) -> None:
    def program() -> tuple[int, int]:
        assert sum(futures.map(abs, range(100_000))) == sum(range(100_000))
        first, count = submitted[0], len(submitted)
        assert sum(futures.map(abs, range(100_000))) == sum(range(100_000))
        return first, submitted[count]

    first, second = run(program)
    assert first == 1
    assert second > 100


def test_all_workers_of_a_large_run_get_items_however_many_may_be_ahead() -> None:
    workers = 640_000
    assert Sizes(workers).room(2 * workers)
    assert not Sizes(2).room(200_000)


def quick(n: int) -> int:
    return 2 * n


def scan_of(function: Callable[..., Any], items: range, timeout: float) -> Iterator[Any]:
    """Be a map, for what is known of the largest result so far."""
    return futures.map_scan(function, max, items, timeout=timeout)


def known_to_be_quick() -> None:
    for n in range(3):
        assert futures.submit(quick, n).result() == 2 * n


def test_map_of_a_few_quick_items_is_done_where_it_is_called(submitted: list[int]) -> None:
    def program() -> list[int]:
        known_to_be_quick()
        return list(futures.map(quick, range(100)))

    assert run_program(program, policy=Policy(own_map=60.0)) == [2 * n for n in range(100)]
    assert submitted == []


def test_map_of_quick_items_is_done_at_the_call_and_not_when_it_is_read() -> None:
    called: list[int] = []

    def note(n: int) -> None:
        called.append(n)

    def program() -> None:
        for n in range(3):
            futures.submit(note, n).result()
        del called[:]
        futures.map(note, range(100))
        assert called == [*range(100)]

    run_program(program, policy=Policy(own_map=60.0, own_chunk=60.0))


def test_what_takes_longer_than_was_thought_goes_to_others(submitted: list[int]) -> None:
    def program() -> list[int]:
        known_to_be_quick()
        return list(futures.map(quick, range(500)))

    assert run_program(program, policy=Policy(own_map=60.0, own_chunk=1e-4)) == [2 * n for n in range(500)]


def test_failure_of_a_quick_item_comes_at_its_place() -> None:
    def program() -> list[Any]:
        known_to_be_quick()
        results = futures.map(quick, [*range(50), None, *range(50)])
        return [next(results) for _ in range(50)] + [pytest.raises(TypeError, next, results)]

    assert run_program(program, policy=Policy(own_map=60.0))[:-1] == [2 * n for n in range(50)]


@pytest.mark.parametrize("mapped", [futures.map, futures.map_as_completed, scan_of])
def test_map_with_a_timeout_leaves_quick_items_to_others(submitted: list[int], mapped: Callable[..., Any]) -> None:
    def program() -> None:
        known_to_be_quick()
        mapped(quick, range(100), timeout=60)

    run_program(program, policy=Policy(own_map=60.0))
    assert submitted


def test_what_fails_where_it_was_to_be_quick_is_tried_by_others_next(submitted: list[int]) -> None:
    def fail_at_last(n: int) -> int:
        return 1 // n

    def program() -> list[Any]:
        for _ in range(3):
            futures.submit(fail_at_last, 1).result()
        results = futures.map(fail_at_last, [0] * 5_000)
        return [pytest.raises(ZeroDivisionError, next, results)]

    assert run_program(program, policy=Policy(own_map=60.0, own_chunk=1e-4))
    assert submitted


def nested(n: int) -> int:
    return 1 + max(futures.map(nested, [n - 1] + [0] * 39)) if n else 0


def test_quick_items_that_map_go_as_deep_as_tasks_do() -> None:
    def program() -> int:
        for _ in range(3):
            assert list(futures.map(nested, [1] * 40)) == [1] * 40
        return max(futures.map(nested, [300] + [0] * 39))

    assert run_program(program, policy=Policy(own_map=60.0, own_chunk=60.0)) == 300


def test_map_that_a_signal_has_broken_off_is_not_taken_for_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, calls = mapping.Feed.go_on, itertools.count(1)

    def interrupted(feed: mapping.Feed) -> None:
        if sys._getframe(1).f_code.co_name == "_on_done" and next(calls) == 3:
            raise InterruptedError  # which `concurrent.futures` writes down, and passes on to nobody
        go_on(feed)

    monkeypatch.setattr(mapping.Feed, "go_on", interrupted)
    run_program(lambda: pytest.raises(InterruptedError, list, futures.map(abs, range(100_000))))
