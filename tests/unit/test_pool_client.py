"""The futures of a client, whose broker is played by the test."""

from __future__ import annotations

import concurrent.futures
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from scoop_hpc.broker.actions import Send
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.errors import BrokenPoolError, UnpicklableError
from scoop_hpc.pickling import batching
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.pool import calls
from scoop_hpc.pool.client import PoolClient
from scoop_hpc.pool.future import UNKNOWN_COST, Pooled, PoolFuture, Question, QuestionKind
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    Batch,
    Cancel,
    CancelAnswer,
    Message,
    Query,
    QueryAnswer,
    Ready,
    Reference,
    Request,
    Results,
    Tasks,
)
from scoop_hpc.protocol.names import CLIENT, ProcessName, broker_name, worker_name
from scoop_hpc.transport import segments as segments_module
from scoop_hpc.transport.segments import Segments

WORKER = worker_name(0, 1)


class Pool(Pooled):
    """A client, a broker in memory, and one worker that does what the test tells it to."""

    def __init__(self, workers: int = 1, segments: Segments | None = None) -> None:
        super().__init__()
        self.client = PoolClient()
        self.sent: list[Batch] = []
        self._broker = BrokerState(broker_name(0))
        self._broker.handle(Ready(), WORKER)
        self._inbox: list[tuple[int, Any, Any]] = []
        self._received = 0
        self.client.open(self._on_sent, workers, segments)

    def submit(self, function: Any, *args: Any) -> PoolFuture:
        future = PoolFuture(self, function, args, {}, UNKNOWN_COST)
        self.client.offer(future)
        return future

    def pump(self) -> None:
        self.client.pump()
        self.client.tell()

    def ask(self, future: PoolFuture, kind: QuestionKind) -> bool | None:
        question = Question(future, kind)
        self.client.ask(question)
        self.pump()
        return question.answer

    def work(self, count: int = 1, unpolled: float = 0.0) -> None:
        """Let the worker run *count* tasks."""
        for _ in range(count):
            if not self._inbox:
                self._route(Request(1, begun=self._received), WORKER)
            serial, function, item = self._inbox.pop(0)
            args, kwargs = batching.unpack_item(item)
            try:
                outcome = Outcome(function(*args, **kwargs), unpolled=unpolled)
            except Exception as error:
                outcome = Outcome(error=error, unpolled=unpolled)
            frames = batching.dump_outcomes([batching.pack_outcome(serial, outcome)])
            self._route(Results([Batch(CLIENT, 0, frames)]), WORKER)

    def _on_sent(self, message: Message) -> None:
        if isinstance(message, Tasks):
            self.sent += message.batches
        self._route(message, CLIENT)

    def _route(self, message: Message, sender: str) -> None:
        sends: list[Send] = self._broker.handle(codec.decode(codec.encode(message)), ProcessName(sender))
        for send in sends:
            if send.to == WORKER and isinstance(send.message, Tasks):
                for batch in send.message.batches:
                    function, items = batching.load_calls(batch.frames)
                    tasks = [(serial, function, item) for serial, item in enumerate(items, batch.serial)]
                    self._inbox += [task for task in tasks if task[0] not in batch.dropped]
                    self._received += len(tasks) - len(batch.dropped)
            elif send.to == WORKER:  # a question: it has begun all that it has
                kind = QueryAnswer if isinstance(send.message, Query) else CancelAnswer
                self._route(kind(CLIENT, send.message.serial, send.message.number, False), WORKER)  # type: ignore[attr-defined]
            elif send.to == CLIENT and isinstance(send.message, (Results, QueryAnswer, CancelAnswer)):
                self.client.take(send.message)
                self.pump()


def adder(n: int) -> Any:
    return lambda x: x + n


def test_plain_telling_leaves_callbacks_and_what_follows_them() -> None:
    pool = Pool(workers=2)
    called: list[Any] = []
    futures = [pool.submit(abs, -n) for n in range(1, 4)]
    futures[1].add_done_callback(called.append)
    pool.pump()
    outcomes = [batching.pack_outcome(future.serial, Outcome(future.serial)) for future in futures]
    pool.client.take(Results([Batch(CLIENT, 0, batching.dump_outcomes(outcomes))]))
    pool.client.tell(with_callbacks=False)
    assert [future.done() for future in futures] == [True, False, False]
    assert pool.client.has_news
    pool.client.tell()
    assert [future.result() for future in futures] == [1, 2, 3]
    assert called == [futures[1]]
    assert not pool.client.has_news


def test_room_is_for_as_many_tasks_as_there_are_workers() -> None:
    pool = Pool(workers=2)
    assert not pool.client.has_work
    pool.submit(abs, -1)
    assert pool.client.has_work
    assert pool.client.has_offers
    pool.pump()
    assert pool.client.has_room
    assert not pool.client.has_work
    assert not pool.client.has_offers
    pool.submit(abs, -1)
    pool.pump()
    assert not pool.client.has_room
    pool.work(1)
    assert pool.client.has_room


def test_results_and_errors_come_back() -> None:
    pool = Pool()
    good, bad = pool.submit(pow, 2, 5), pool.submit(divmod, 1, 0)
    pool.pump()
    pool.work(2)
    assert good.result() == 32
    assert isinstance(bad.exception(), ZeroDivisionError)
    assert pool.client.is_idle


def test_client_is_never_asked_for_work() -> None:
    broker = BrokerState(broker_name(0))
    broker.handle(Ready(), WORKER)
    broker.handle(Tasks([Batch(CLIENT, 1, [b""])]), CLIENT)
    sends = [
        *broker.handle(Request(9), WORKER),
        *broker.handle(Request(9), WORKER),
        *broker.tick(0.0),
    ]
    assert {send.to for send in sends} == {WORKER}


def test_of_unknown_calls_no_more_are_sent_than_the_workers_need_next() -> None:
    pool = Pool(workers=3)
    submitted = [pool.submit(abs, n) for n in range(20)]
    pool.pump()
    assert [batch.count for batch in pool.sent] == [1] * 6
    assert [future.function is None for future in submitted] == 6 * [True] + 14 * [False]
    pool.work(unpolled=1.0)
    assert len(pool.sent) == 7


def test_quick_calls_of_one_function_travel_together() -> None:
    pool = Pool()
    submitted = [pool.submit(abs, -n) for n in range(50)] + [pool.submit(pow, n, 2) for n in range(3)]
    pool.pump()
    pool.work(unpolled=1e-6)
    assert max(batch.count for batch in pool.sent) > 10
    pool.work(52, unpolled=1e-6)
    assert [future.result(0) for future in submitted] == [*range(50), 0, 1, 4]


@pytest.mark.parametrize(("seconds", "calls", "batches"), [(2e-6, 60, [50, 10]), (4e-4, 6, [3, 2, 1])])
def test_calls_are_cut_into_parts_for_the_workers_unless_those_are_not_worth_a_message(
    seconds: float, calls: int, batches: list[int]
) -> None:
    pool = Pool(workers=2)
    pool.submit(abs, -1)
    pool.pump()
    pool.work(unpolled=seconds)
    futures = [pool.submit(abs, -n) for n in range(calls)]
    pool.pump()
    assert [batch.count for batch in pool.sent[1:]] == batches
    pool.work(calls, seconds)
    assert [future.result() for future in futures] == list(range(calls))


def test_calls_of_two_copies_of_a_function_stay_apart() -> None:
    pool = Pool()
    first = pool.submit(abs, -1)
    submitted = [pool.submit(adder(n), 0) for n in range(20)]
    pool.pump()
    pool.work(21, unpolled=1e-6)
    assert first.result(0) == 1
    assert [future.result(0) for future in submitted] == list(range(20))


def test_unsent_future_is_cancelled_and_those_who_wait_are_told() -> None:
    pool = Pool()
    submitted = [pool.submit(abs, n) for n in range(9)]
    pool.pump()
    assert submitted[8].cancel()
    assert submitted[8].cancel()
    assert concurrent.futures.wait([submitted[8]], 0).done == {submitted[8]}
    pool.work(8)
    assert [future.done() for future in submitted] == [True] * 9
    assert sum(batch.count for batch in pool.sent) == 8


def test_sent_future_is_cancelled_unless_it_has_begun() -> None:
    pool = Pool(workers=2)
    submitted = [pool.submit(abs, n) for n in range(4)]
    pool.pump()
    pool.work(2)
    assert [future.running() for future in submitted] == [False] * 4
    assert [future.cancel() for future in submitted] == [False, False, True, True]
    assert pool.client.is_idle


def test_cancelling_all_reaches_what_was_sent_and_spares_what_has_begun() -> None:
    pool = Pool(workers=2)
    submitted = [pool.submit(abs, n) for n in range(9)]
    pool.pump()
    pool.client.cancel()
    pool.pump()
    assert [future.cancelled() for future in submitted] == [True] * 9
    assert pool.client.is_idle


def test_call_that_cannot_be_pickled_fails_alone() -> None:
    pool = Pool()
    pool.submit(abs, -3)
    pool.pump()
    pool.work(unpolled=1e-6)
    bad, *good = pool.submit(abs, threading.Lock()), pool.submit(abs, -1), pool.submit(abs, -2)
    pool.pump()
    assert isinstance(bad.exception(0), UnpicklableError)
    pool.work(2)
    assert [future.result(0) for future in good] == [1, 2]


def test_every_future_of_a_broken_pool_fails_by_an_error_of_its_own() -> None:
    pool = Pool()
    submitted = [pool.submit(abs, n) for n in range(9)]
    submitted[5].cancel()
    pool.pump()
    question = Question(submitted[0], Cancel)
    pool.client.ask(question)
    pool.client.fail(lambda: BrokenPoolError("worker 0.1 died"))
    pool.client.tell()
    errors = [future.exception(0) for future in submitted if not future.cancelled()]
    assert [type(error) for error in errors] == [BrokenPoolError] * 8
    assert len(set(map(id, errors))) == 8
    assert pool.client.is_idle
    assert question.told.is_set()


def test_next_task_is_sent_before_the_callback_of_the_last() -> None:
    pool = Pool()
    submitted = [pool.submit(abs, n) for n in range(9)]
    pool.pump()
    sent: list[int] = []
    submitted[0].add_done_callback(lambda _: sent.append(len(pool.sent)))
    pool.work(unpolled=1.0)
    assert sent == [3]


def test_late_result_is_counted_and_dropped() -> None:
    pool = Pool()
    frames = batching.dump_outcomes([batching.pack_outcome(99, Outcome(1))])
    pool.client.take(Results([Batch(CLIENT, 0, frames)]))
    assert pool.client.late == 1


def test_submitter_may_submit_from_a_callback() -> None:
    pool = Pool()
    first = pool.submit(abs, -1)
    more: list[PoolFuture] = []
    first.add_done_callback(lambda _: more.append(pool.submit(abs, -2)))
    pool.pump()
    pool.work()
    pool.pump()
    pool.work()
    assert more[0].result(0) == 2


LARGE = 1_000_000  # bytes: more than goes by messages


@pytest.fixture
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Free each segment when nobody needs its content any more."""
    monkeypatch.setattr(segments_module, "_REST_EACH", 0)


def open_segments() -> int:
    return sum("memfd:scoop-hpc" in os.path.realpath(f"/proc/self/fd/{entry}") for entry in os.listdir("/proc/self/fd"))


@pytest.mark.usefixtures("no_rest")
def test_large_argument_is_in_shared_memory_until_its_outcome_has_come() -> None:
    pool = Pool(segments=Segments(most=10))
    future = pool.submit(len, bytearray(LARGE))
    pool.pump()
    assert [type(frame) is Reference for frame in pool.sent[0].frames] == [True]
    assert open_segments() == 1
    pool.work()
    assert future.result(0) == LARGE
    assert open_segments() == 0


@pytest.mark.usefixtures("no_rest")
def test_large_arguments_of_calls_that_travel_together_are_copied_once_each() -> None:
    pool = Pool(segments=Segments(most=10))
    pool.submit(len, b"")
    pool.pump()
    pool.work(unpolled=1e-6)
    submitted = [pool.submit(len, bytearray(LARGE + n)) for n in range(4)]
    pool.pump()
    assert max(batch.count for batch in pool.sent) > 1
    assert open_segments() == 4
    pool.work(4)
    assert [future.result(0) for future in submitted] == [LARGE + n for n in range(4)]
    assert open_segments() == 0


@pytest.mark.usefixtures("no_rest")
def test_large_arguments_of_calls_that_cannot_be_sent_are_freed() -> None:
    def locked(value: object, lock: Any = threading.Lock()) -> None:
        """Cannot be pickled."""

    segments = Segments(most=10)
    packed = batching.pack_calls(locked, [((bytearray(LARGE),), {}), ((bytearray(LARGE),), {})], segments)
    assert set(packed.refused) == {0, 1}
    assert open_segments() == 0


def test_arguments_of_the_program_may_be_no_strings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["p.py", 1, Path("data"), None])
    assert calls._argv() == (b"p.py", b"1", b"data", b"None")


def test_calls_offered_after_all_were_cancelled_are_cancelled_too() -> None:
    pool = Pool()
    pool.client.cancel()
    late = pool.submit(abs, 1)
    pool.pump()
    assert late.cancelled()
    assert pool.client.is_idle
