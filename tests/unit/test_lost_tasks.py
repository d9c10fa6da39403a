"""Tasks whose workers die: what a worker has begun, what becomes of chunks, and how the errors read."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from typing import Any

import pytest

from scoop_hpc.broker.ledger import Ledger
from scoop_hpc.bulk.chunks import run_chunk
from scoop_hpc.errors import TimeLimitError, WorkerLostError
from scoop_hpc.pickling import batching
from scoop_hpc.protocol.messages import Batch, Loss, Message, Results, Stop, TaskId, TaskLost, Tasks, WorkerDied
from scoop_hpc.protocol.names import CLIENT, ORIGIN, worker_name
from scoop_hpc.task import task
from scoop_hpc.transport.begun import Begun, BegunTask
from scoop_hpc.worker import current
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.losses import lost, name_called
from scoop_hpc.worker.program.time_limit import KillTimer

OWNER = worker_name(3, 1)


def test_what_was_begun_and_has_not_ended_is_known_to_another_process() -> None:
    begun = Begun()
    child = os.fork()
    if not child:
        begun.begin(ORIGIN, 1)
        second = begun.begin(OWNER, 2, count=5, losses=2, deadline=7)
        begun.begin(CLIENT, 3)
        begun.end(second)
        begun.begin(OWNER, 4, count=5, losses=2, deadline=7)
        begun.call("simulate")
        os._exit(0)
    os.waitpid(child, 0)
    assert sorted(begun.tasks(), key=lambda each: each.serial) == [
        BegunTask(ORIGIN, 1, 1, 0, 0),
        BegunTask(CLIENT, 3, 1, 0, 0),
        BegunTask(OWNER, 4, 5, 2, 7),
    ]
    assert (begun.ended, begun.function) == (1, "simulate")
    assert begun.running() == [BegunTask(OWNER, 4, 5, 2, 7)]


def test_tasks_that_follow_each_other_are_each_known_while_they_run() -> None:
    begun = Begun()
    slot = begun.begin(OWNER, 1, losses=2)
    begun.go_on(slot, 2)
    begun.go_on(slot, 3)
    assert begun.running() == begun.tasks() == [BegunTask(OWNER, 3, 1, 2, 0)]
    assert begun.ended == 2
    begun.end(slot)
    assert (begun.tasks(), begun.ended) == ([], 3)


class Batches:
    """A broker that has these *calls* of the client for a worker, in one batch, and then has it stop."""

    def __init__(self, function: Callable[[int], Any], count: int) -> None:
        items: list[tuple[tuple[Any, ...], dict[str, Any]]] = [((number,), {}) for number in range(count)]
        self._left = [Tasks([Batch(CLIENT, 1, batching.pack_calls(function, items).frames, count)])]
        self._count = count
        self.outcomes: list[tuple[Any, ...]] = []

    def send(self, message: Message) -> None:
        if isinstance(message, Tasks):  # given back: nobody knows yet how long they take
            self._left.append(message)
        elif isinstance(message, Results):
            for batch in message.batches:
                self.outcomes += batching.load_outcomes(batch.frames)

    def receive(self) -> list[Message]:
        if self._left:
            return [self._left.pop()]
        return [Stop()] if len(self.outcomes) == self._count else []

    def wait(self, timeout: float | None) -> None:
        pass

    def wake(self) -> None:
        pass

    def descriptor(self) -> int | None:
        return None


BEGUN = Begun()


def what_runs(number: int) -> tuple[list[int], int]:
    return [task.serial for task in BEGUN.running()], 1 // (number % 50)


def test_worker_that_runs_many_quick_tasks_says_at_each_which_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, link = BEGUN, Batches(what_runs, 200)
    worker = Controller(link, OWNER, 4, begun=begun)
    monkeypatch.setattr(current, "_worker", worker)
    worker.loop.serve()
    for serial, item, _ in link.outcomes:
        value, error = batching.value_of(item)
        if (serial - 1) % 50:
            assert value[:1] == ([serial],)
        else:
            assert isinstance(error, ZeroDivisionError)
    assert begun.ended == 200
    assert not begun.has_tasks


def test_task_that_waits_is_not_to_blame_for_one_that_runs() -> None:
    begun = Begun()
    assert begun.running() == []
    begun.begin(ORIGIN, 1)
    waits = begun.pause()
    begun.begin(ORIGIN, 2)
    assert [task.serial for task in begun.running()] == [2]
    begun.pause()
    assert begun.running() == []
    begun.resume(waits)
    assert [task.serial for task in begun.running()] == [1]
    begun.resume()  # a task of the worker's own, which one of these has submitted
    assert sorted(task.serial for task in begun.running()) == [1, 2]


def test_more_tasks_than_there_is_room_for_are_begun_all_the_same() -> None:
    begun = Begun()
    slots = [begun.begin(ORIGIN, serial) for serial in range(1, 5000)]
    assert len(begun.tasks()) == len(set(slots) - {0})
    for slot in slots:
        begun.end(slot)
    assert (begun.tasks(), begun.ended) == ([], 4999)


def test_name_of_a_function_is_that_of_the_users_in_a_chunk_and_of_an_option() -> None:
    begun = Begun()
    assert name_called(begun, sorted, ([1],)) is sorted
    assert begun.function == "sorted"
    assert name_called(begun, run_chunk, (len, [])) is None  # the next chunk may be of another function
    assert begun.function == "len"
    name_called(begun, task(len, name="measure"), ())
    assert begun.function == "measure"


def test_timer_kills_this_process_even_if_it_does_not_let_go_of_the_interpreter() -> None:
    child = os.fork()
    if not child:
        KillTimer(0.001)
        sum(range(10**11))  # in C, with the lock
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_timer_that_is_stopped_in_time_kills_nobody() -> None:
    child = os.fork()
    if not child:
        KillTimer(3600).stop()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_errors_say_how_each_attempt_ended_and_survive_pickling() -> None:
    losses = Loss("worker 0.1 (pid 7) on n1 died: killed by SIGSEGV"), Loss("worker 1.2 (pid 8) on n2 died: status 3")
    error = pickle.loads(pickle.dumps(lost(TaskLost(ORIGIN, (1,), losses))))
    assert type(error) is WorkerLostError
    assert error.losses == tuple(loss.cause for loss in losses)
    assert str(error) == f"the task was lost with 2 workers, one after the other: {losses[0].cause}; {losses[1].cause}"
    late = lost(TaskLost(ORIGIN, (1,), losses[:1], 2.5))
    assert type(late) is TimeLimitError
    assert str(late) == f"the task exceeded its time limit of 2.5 s: {losses[0].cause}"


def test_ledger_is_empty_when_all_is_done() -> None:
    ledger = Ledger()
    ledger.add(
        [Batch(ORIGIN, 1, [b""]), Batch(ORIGIN, 2, [b""], 3, (3,)), Batch(OWNER, 1, [b""], 2)], worker_name(0, 1)
    )
    ledger.strike(ORIGIN, (1, 2))
    ledger.strike(OWNER, (1,))
    assert ledger
    ledger.strike(ORIGIN, (4,))
    ledger.drop_owned(OWNER.__eq__)
    assert not ledger
    assert ledger.remains(WorkerDied(OWNER, "it died", (TaskId(ORIGIN, 1),))).batches == []
