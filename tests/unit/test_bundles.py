"""Maps among so many workers that several chunks go as one bundle: what comes of them, as of any other map."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from test_controller import Home
from test_reductions import run_program

from scoop_hpc import futures
from scoop_hpc.bulk import maps
from scoop_hpc.bulk.chunks import Calls, Chunk, SingleCalls
from scoop_hpc.bulk.feed import Feed
from scoop_hpc.bulk.sizes import Sizes
from scoop_hpc.errors import UnpicklableError, WorkerLostError
from scoop_hpc.worker.policy import Policy

SLOW_OWNER = Policy(chunk_owner=0.0625)  # seconds: so that a bundle spans 20 of four workers
run = functools.partial(run_program, policy=SLOW_OWNER)


@pytest.fixture
def bundles(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of items of each bundle that is made; there has to be one."""
    made: list[int] = []
    share_of = Sizes.share

    def watched(sizes: Sizes, count: int) -> int:
        share = share_of(sizes, count)
        if share < count:
            made.append(count)
        return share

    monkeypatch.setattr(Sizes, "share", watched)
    yield made
    assert made


def test_results_are_in_order(bundles: list[int]) -> None:
    assert run(lambda: list(futures.map(abs, range(5000)))) == list(range(5000))
    assert bundles[0] == SLOW_OWNER.bundle_unknown
    assert max(bundles) <= SLOW_OWNER.chunk_items


@pytest.mark.usefixtures("bundles")
def test_all_are_completed() -> None:
    assert run(lambda: sorted(futures.map_as_completed(abs, iter(range(5000))))) == list(range(5000))


@pytest.mark.usefixtures("bundles")
def test_calls_with_several_arguments_come_to_the_same() -> None:
    words = [str(n) for n in range(1000)]
    assert run(lambda: list(futures.map(operator.add, words, reversed(words)))) == [
        one + other for one, other in zip(words, reversed(words))
    ]


@pytest.mark.usefixtures("bundles")
def test_results_that_are_changed_afterwards_are_those_of_their_call() -> None:
    def grow(n: int, known: list[int] = []) -> list[int]:  # noqa: B006  the same object each time, on purpose
        known[:] = [n]
        return known

    assert run(lambda: list(futures.map(grow, range(500)))) == [[n] for n in range(500)]


@pytest.mark.usefixtures("bundles")
def test_failure_comes_at_its_place() -> None:
    def program() -> list[Any]:
        results = futures.map(lambda n: 1 // (400 - n), range(5000))
        return [next(results) for _ in range(400)] + [pytest.raises(ZeroDivisionError, next, results)]

    assert run(program)[:-1] == [1 // (400 - n) for n in range(400)]


@pytest.mark.usefixtures("bundles")
def test_chunks_of_bundles_are_cut_anew_where_items_last() -> None:
    impatient = Policy(chunk_owner=0.0625, chunk_budget=1e-9, chunk_least_budget=1e-9)
    assert run(lambda: list(futures.map(abs, range(500))), policy=impatient) == list(range(500))


@pytest.mark.usefixtures("bundles")
def test_items_that_cannot_travel_are_named_at_their_place() -> None:
    def program() -> list[Any]:
        results = futures.map(type, [*range(40), print, (letter for letter in ""), 4])
        return [next(results) for _ in range(41)] + [pytest.raises(TypeError, next, results)]

    assert "item 42 of map" in str(run(program)[-1].value)


def test_map_that_is_left_reads_no_further(bundles: list[int]) -> None:
    read: list[int] = []

    def program() -> int:
        results = futures.map(abs, (read.append(n) or n for n in itertools.count()))  # type: ignore[func-returns-value]
        return int(next(results))

    assert run(program) == 0
    assert len(read) < 10_000 + SLOW_OWNER.ahead_items
    assert len(bundles) < 100


def run_as_task(function: Callable[..., Any], items: Any, size: int = 4, link: Home | None = None) -> Chunk:
    """Return what becomes of one bundle of *items*, of which the first is number 11."""
    return run_program(lambda: maps.run_bundle(function, items, size, None, 11), link)  # type: ignore[no-any-return]


def test_bundle_counts_what_its_chunks_took_and_weighed() -> None:
    chunk = run_as_task(str, SingleCalls(range(10, 20)))
    assert (chunk.results, chunk.atoms, chunk.left, chunk.has_failed) == (
        [str(n) for n in range(10, 20)],
        True,
        0,
        False,
    )
    assert chunk.size == 20
    assert chunk.seconds > 0.0


def test_results_of_a_bundle_are_not_opened_on_the_way() -> None:
    chunk = run_as_task(lambda n: {n}, Calls([(n,) for n in range(10)]))
    assert not chunk.atoms
    assert list(chunk.unpacked()) == [{n} for n in range(10)]


class Worse(Exception):
    """What an item raises."""


def test_bundle_ends_with_its_first_failure() -> None:
    def fail(n: int) -> int:
        if n in (6, 9):
            raise Worse(n)
        return n

    chunk = run_as_task(fail, Calls([(n,) for n in range(10)]))
    assert chunk.results == list(range(6))
    with pytest.raises(Worse, match="6"):
        list(chunk.unpacked())


@pytest.mark.parametrize("error", [WorkerLostError("item 16 of map: gone"), UnpicklableError("no")])
def test_chunk_that_is_lost_is_the_failure_of_its_bundle(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []

    def lose_the_second(controller: Any, future: Any, deadline: Any, caller: str) -> Any:
        taken.append(future)
        controller.wait_for(future, None)
        if len(taken) == 2:
            raise error
        return future.result()

    monkeypatch.setattr(maps, "result_by", lose_the_second)
    chunk = run_as_task(abs, Calls([(n,) for n in range(3)]), size=1)
    assert chunk.results == [0]
    with pytest.raises(type(error), match=str(error)):
        list(chunk.unpacked())


def test_bundle_knows_the_numbers_of_its_items() -> None:
    numbers: list[int] = []
    submit = Feed.submit

    def watched(feed: Feed, items: Any, first: int = 0) -> Any:
        numbers.append(first)
        return submit(feed, items, first)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Feed, "submit", watched)
        run_as_task(abs, Calls([(n,) for n in range(10)]))
    assert numbers == [11, 15, 19]
