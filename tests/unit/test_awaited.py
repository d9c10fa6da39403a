"""What a program waits for is counted, in memory that its agent sees."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from test_controller import Home

from scoop_hpc import futures
from scoop_hpc.errors import RunEndedError
from scoop_hpc.protocol.messages import Awaited
from scoop_hpc.protocol.names import ORIGIN
from scoop_hpc.transport.tally import ROWS, Tally
from scoop_hpc.worker import current
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.watched.awaited import Awaiting

Watch = Callable[[Callable[[], object]], tuple[Awaited, ...]]


@pytest.fixture(params=[1, 4], ids=["alone", "among others"])
def watch(request: pytest.FixtureRequest) -> Watch:
    """Run a program on a worker alone or one of four; return what was counted."""

    def watch(program: Callable[[], object]) -> tuple[Awaited, ...]:
        tally = Tally()
        worker = Controller(Home(), ORIGIN, request.param, awaiting=Awaiting(tally))
        handler = signal.getsignal(signal.SIGINT)
        try:
            with mock.patch.object(current, "_worker", worker):
                worker.loop.run_program(lambda: program() is None)
        finally:
            signal.signal(signal.SIGINT, handler)
        return tally.read()

    return watch


def fail(number: int) -> int:
    raise KeyError(number)


def nested(number: int) -> int:
    return int(sum(futures.map(abs, range(number))) + futures.submit(abs, -1).result())


def test_items_of_a_map_are_counted_by_its_label(watch: Watch) -> None:
    assert watch(lambda: list(futures.map(abs, range(1000), progress="distances"))) == (
        Awaited(1, "distances", 1000, 1000, 0),
    )


def test_items_without_a_length_are_counted_as_they_are_read(watch: Watch) -> None:
    assert watch(lambda: list(futures.map(abs, iter(range(1000))))) == (Awaited(1, "", 1000, 1000, 0),)


def test_length_of_an_endless_map_is_not_known_until_it_is_closed(watch: Watch) -> None:
    tallies = []

    def program() -> None:
        results: Any = futures.map(abs, iter(int, 1), buffersize=10)
        tallies.append([next(results) for _ in range(5)])
        results.close()

    (counted,) = watch(program)
    assert counted.total == counted.done >= 5


def test_map_that_is_cut_short_by_the_end_of_the_run_has_not_become_shorter(watch: Watch) -> None:
    def program() -> None:
        results: Any = futures.map(abs, range(1000), chunksize=1)
        next(results)
        current.current().give_up("the walltime is over", 1)
        with pytest.raises(RunEndedError):
            list(results)

    (counted,) = watch(program)
    assert counted.total == 1000
    assert 1 <= counted.done < 1000
    assert not counted.failed


def test_what_the_end_of_the_run_has_come_before_has_not_failed() -> None:
    tally = Tally()
    worker = Controller(Home(), ORIGIN, 4, is_spared=True, awaiting=Awaiting(tally))

    def program() -> int:
        calls = [futures.submit(abs, -number) for number in range(5)]
        items: Any = futures.map(abs, range(1000), chunksize=1, progress="map")
        worker.give_up("the walltime is over", 1)
        while not all(call.done() for call in calls):
            time.sleep(0.001)
        del items
        return 1

    handler = signal.getsignal(signal.SIGINT)
    try:
        with mock.patch.object(current, "_worker", worker):
            worker.loop.run_program(program)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert [(each.total, each.done, each.failed) for each in tally.read()] == [(5, 0, 0), (1000, 0, 0)]


def test_calls_are_counted_one_by_one_with_those_that_fail(watch: Watch) -> None:
    def program() -> None:
        futures.wait([futures.submit(abs if number % 10 else fail, number) for number in range(100)])

    assert watch(program) == (Awaited(1, "", 100, 100, 10),)


def test_tasks_of_tasks_are_not_counted(watch: Watch) -> None:
    assert watch(lambda: [futures.submit(nested, 20).result() for _ in range(3)])[-1].number == 3
    assert watch(lambda: futures.submit(nested, 20).result()) == (Awaited(1, "", 1, 1, 0),)


def test_what_is_cancelled_or_left_is_not_waited_for(watch: Watch) -> None:
    def program() -> None:
        assert all(future.cancel() for future in [futures.submit(abs, 1) for _ in range(5)])
        results: Any = futures.map(abs, range(10_000), progress="left")
        next(results)
        results.close()

    calls, items = watch(program)
    assert (calls.total, calls.done) == (0, 0)
    assert items.total == items.done


def test_map_that_fails_is_over(watch: Watch) -> None:
    def program() -> None:
        with pytest.raises(KeyError):
            list(futures.map(fail, range(100), progress="failing"))

    (counted,) = watch(program)
    assert counted.total == counted.done
    assert counted.failed >= 1


def test_what_comes_when_all_is_done_is_counted_anew(watch: Watch) -> None:
    def program() -> None:
        list(futures.map(abs, range(100), progress="one"))
        list(futures.map(abs, range(50), progress="one"))

    assert watch(program) == (Awaited(2, "one", 50, 50, 0),)


def test_there_is_no_end_of_labels() -> None:
    tally = Tally()
    awaiting = Awaiting(tally)
    for number in range(3 * ROWS):
        items = awaiting.items(f"label {number}", 2)
        items.ended(2)
        items.close()
    assert [counted.label for counted in tally.read()] == [f"label {number}" for number in range(2 * ROWS, 3 * ROWS)]
    for number in range(3 * ROWS):
        awaiting.items(f"open {number}", 2)
    assert len(tally.read()) == ROWS
    assert sum(counted.total or 0 for counted in tally.read()) == 6 * ROWS


def test_long_label_is_cut() -> None:
    tally = Tally()
    Awaiting(tally).items("ä" * 1000, 1)
    (counted,) = tally.read()
    assert counted.label in "ä" * 1000
    assert len(counted.label) > 50


def test_lost_chunk_is_counted_once_it_is_tried_again() -> None:
    tally = Tally()
    items = Awaiting(tally).items("", 10)
    items.ended(4)
    items.ended(6, failed=1)
    items.close()
    items.ended(3)  # an outcome that comes late
    assert tally.read() == (Awaited(1, "", 10, 10, 1),)
