"""What a worker has been given, and may give back; and the thread that looks after it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from test_controller import Home

from scoop_hpc.errors import UnpicklableError
from scoop_hpc.pickling import batching
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.protocol.messages import Batch, Cancel, Query, Tasks
from scoop_hpc.protocol.names import ORIGIN, worker_name
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.exchange import Exchange
from scoop_hpc.worker.inbox import Inbox, Task, opened
from scoop_hpc.worker.relief import Relief


def bundle(first: int, *values: Any) -> Batch:
    items = [batching.pack_item((value,), {}) for value in values]
    return Batch(ORIGIN, first, batching.dump_calls(abs, items), len(values))


def of(_: object) -> Cost:
    return Cost()


def calls_in(batches: list[Batch]) -> list[tuple[int, Any]]:
    """Return the serial and the argument of every call."""
    found = []
    for batch in batches:
        for task in opened(batch, of):
            (argument,), _ = batching.unpack_item(task.item)
            found.append((task.serial, argument))
    return found


def none_refused(task: Task, outcome: Outcome) -> None:
    raise AssertionError(outcome)


def test_opened_parcel_comes_back_as_the_same_calls() -> None:
    inbox = Inbox()
    inbox.extend([bundle(1, -1, [2], "three"), bundle(4, -4)])
    batch = inbox.pop()
    assert isinstance(batch, Batch)
    inbox.open(batch, opened(batch, of))
    begun = inbox.pop()
    assert isinstance(begun, Task)
    assert (begun.serial, inbox.begun()) == (1, 1)
    assert calls_in(inbox.empty(none_refused)) == [(2, [2]), (3, "three"), (4, -4)]
    assert (len(inbox), inbox.begun()) == (0, 4)


def test_call_that_came_alone_goes_on_alone() -> None:
    inbox = Inbox()
    batch = Batch(ORIGIN, 7, batching.dump_call(abs, ([1],), {}))
    inbox.extend([batch])
    inbox.open(batch, opened(inbox.pop(), of))  # type: ignore[arg-type]
    assert calls_in(inbox.empty(none_refused)) == [(7, [1])]


@pytest.mark.parametrize("open_first", [False, True])
def test_cancelled_call_is_dropped_and_found_no_more(open_first: bool) -> None:
    inbox = Inbox()
    batch = bundle(1, 10, 20, 30)
    inbox.extend([batch])
    if open_first:
        inbox.pop()
        inbox.open(batch, opened(batch, of))
    assert inbox.find(Query(ORIGIN, 2, 1))
    assert inbox.find(Cancel(ORIGIN, 2))
    assert not inbox.find(Cancel(ORIGIN, 2))
    assert not inbox.find(Cancel(worker_name(1, 0), 1))
    left = inbox.empty(none_refused)
    assert [serial for serial, _ in calls_in(left) if all(serial not in batch.dropped for batch in left)] == [1, 3]


def test_parcel_whose_calls_are_all_cancelled_is_gone() -> None:
    inbox = Inbox()
    inbox.extend([bundle(1, 10, 20)])
    assert inbox.find(Cancel(ORIGIN, 1))
    assert inbox.find(Cancel(ORIGIN, 2))
    assert (len(inbox), inbox.begun()) == (0, 2)


def test_call_that_cannot_be_pickled_again_is_refused_and_the_others_go() -> None:
    inbox = Inbox()
    bad = Task(ORIGIN, 1, threading.Lock().acquire, (1,), Cost())
    batch = bundle(2, 5)
    inbox.open(batch, [bad])
    inbox.extend([batch])
    refused: list[tuple[int, Outcome]] = []
    assert calls_in(inbox.empty(lambda task, outcome: refused.append((task.serial, outcome)))) == [(2, 5)]
    ((serial, outcome),) = refused
    assert serial == 1
    assert isinstance(outcome.error, UnpicklableError)


def test_failure_of_the_relief_is_kept_for_the_main_thread() -> None:
    failed = threading.Event()

    def act() -> bool:
        failed.set()
        raise OSError("no more")

    relief = Relief(act)
    relief.arm()
    failed.wait()
    thread = relief._thread
    assert thread is not None
    thread.join()
    assert isinstance(relief.error, OSError)


class BackMeanwhile:
    """A lock that the main thread holds until it is done with its task: then it looks after the queues itself."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        self._exchange.busy_since = 0.0

    def __exit__(self, *exc_info: object) -> None:
        pass


def test_other_thread_does_not_take_what_the_main_thread_is_about_to_wait_for() -> None:
    home = Home()
    exchange = Exchange(home, ORIGIN, 4)
    exchange.receive(Tasks([bundle(1, 10)]))
    exchange.busy_since = 1e-9  # for as long as the machine is up
    exchange.lock = BackMeanwhile(exchange)  # type: ignore[assignment]
    assert exchange.relieve()
    assert len(exchange.inbox) == 1
    assert home.sent == []
    exchange.lock = threading.RLock()
    exchange.busy_since = 1e-9
    exchange.relieve()
    assert len(exchange.inbox) == 0
    assert isinstance(home.sent[0], Tasks)
