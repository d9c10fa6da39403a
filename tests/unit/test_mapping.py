"""How far map runs ahead of its consumer, and what it refuses."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from test_reductions import Run, run_program

from scoop_hpc import futures
from scoop_hpc.errors import InputError

MAPS = [futures.map, futures.map_as_completed]


@pytest.fixture(params=[1, 4], ids=["alone", "among others"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a program on a worker alone or one of four."""
    return functools.partial(run_program, size=request.param)


@pytest.mark.parametrize("buffersize", [1, 2, 7, 1000])
@pytest.mark.parametrize("chunksize", [None, 3])
@pytest.mark.parametrize("mapped", MAPS)
def test_no_more_items_are_read_ahead_than_buffersize(
    run: Run,
    mapped: Callable[..., Iterator[int]],
    buffersize: int,
    chunksize: int,
) -> None:
    read: list[int] = []
    items = (read.append(n) or n for n in itertools.count())  # type: ignore[func-returns-value]

    def program() -> None:
        results = mapped(int, items, buffersize=buffersize, chunksize=chunksize)
        for taken in range(300):
            assert len(read) <= taken + buffersize
            next(results)

    run(program)


def test_buffer_is_filled_before_a_result_is_asked_for() -> None:
    read = []

    def program() -> None:
        results = futures.map(int, (read.append(n) or n for n in itertools.count()), buffersize=2)  # type: ignore[func-returns-value]
        assert len(read) == 2
        next(results)
        assert len(read) == 3  # as in the standard library, room is made by what is yielded, not by the next call

    run_program(program)


@pytest.mark.parametrize("mapped", MAPS)
def test_bounded_map_gives_every_result(run: Run, mapped: Callable[..., Iterator[int]]) -> None:
    for buffersize in (1, 5, 100):
        assert sorted(run(lambda size=buffersize: list(mapped(int, range(50), buffersize=size)))) == list(range(50))


@pytest.mark.parametrize("name", ["chunksize", "buffersize"])
@pytest.mark.parametrize("mapped", MAPS)
def test_impossible_sizes_are_refused(mapped: Callable[..., Iterator[int]], name: str) -> None:
    for value, kind in ((0, InputError), (-1, ValueError), (2.5, TypeError), ("3", TypeError)):
        with pytest.raises(kind, match=f"{name} is {value!r}"):
            run_program(lambda value=value: mapped(int, [1], **{name: value}))  # type: ignore[misc]


@pytest.mark.parametrize("mapped", MAPS)
def test_sizes_may_be_integers_of_numpy_and_larger_than_any_sequence(mapped: Callable[..., Iterator[int]]) -> None:
    class Integer:
        def __index__(self) -> int:
            return 2

    for size in (Integer(), 10**30):
        for name in ("chunksize", "buffersize"):
            results = run_program(lambda given={name: size}: sorted(mapped(int, range(9), **given)))  # type: ignore[misc]
            assert results == list(range(9))


@pytest.mark.parametrize("mapped", MAPS)
def test_map_of_nothing_and_times_that_are_no_numbers_are_refused(mapped: Callable[..., Iterator[int]]) -> None:
    with pytest.raises(TypeError, match="map needs at least one iterable"):
        run_program(lambda: mapped(int))
    with pytest.raises(TypeError, match="timeout is 'a': it must be a number of seconds or None"):
        run_program(lambda: mapped(int, [1], timeout="a"))


def test_generator_among_the_items_is_refused_at_its_place(run: Run) -> None:
    def program() -> list[Any]:
        got: list[Any] = []
        with pytest.raises(TypeError, match="item 3 of map: argument 2 is a generator.*make a list of it"):
            got.extend(futures.map(lambda a, b: a, [1, 2, 3, 4], [1, 2, (n for n in "ab"), 4], chunksize=2))
        return got

    assert run(program) == [1, 2]


def test_map_that_was_left_reads_no_more(run: Run) -> None:
    read = []

    def program() -> None:
        results = futures.map(int, (read.append(n) or n for n in itertools.count()))  # type: ignore[func-returns-value]
        next(results)
        results.close()  # type: ignore[attr-defined]
        before = len(read)
        futures.submit(int, 3).result()
        assert len(read) == before

    run(program)


def test_items_may_come_from_futures(run: Run) -> None:
    def items() -> Iterator[int]:
        for n in range(20):
            yield futures.submit(int, n).result()

    assert run(lambda: list(futures.map(int, items(), buffersize=4))) == list(range(20))
    assert run(lambda: futures.map_reduce(int, max, items())) == 19
    assert run(lambda: list(futures.map_scan(int, max, items()))) == list(range(20))
