"""Whole runs under a virtual clock: many seeds of them, and bugs that the simulator must find."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from scoop_hpc.broker.actions import Send
from scoop_hpc.broker.ledger import Ledger as BrokerLedger
from scoop_hpc.broker.ledger import Remains
from scoop_hpc.broker.queue import Queue
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.broker.workers import Worker as BrokerWorker
from scoop_hpc.protocol.messages import (
    Batch,
    CancelAnswer,
    Demand,
    Gone,
    Message,
    QueryAnswer,
    Request,
    Results,
    Shared,
    Tasks,
    WorkerDied,
)
from scoop_hpc.protocol.names import ProcessName, WorkerName
from scoop_hpc.run import agent_state
from scoop_hpc.sim import __main__ as command
from scoop_hpc.sim.agenda import Agenda, Process
from scoop_hpc.sim.efficiency import NETWORK, flat, nested, rows
from scoop_hpc.sim.faults import MOMENTS, Death, HeldUp, SlowLink, SlowNode, Stall
from scoop_hpc.sim.many import try_seed, try_seeds
from scoop_hpc.sim.network import Hold, Network, NetworkPlan
from scoop_hpc.sim.plan import Classes, Result, Scenario
from scoop_hpc.sim.program import ROOT, Abandon, Call, Cancel, Compute, Kill, Program, Step, Submit, Wait
from scoop_hpc.sim.scenario import Failure, Sizes, make_scenario, run
from scoop_hpc.sim.shrink import shrink
from scoop_hpc.sim.world import World
from scoop_hpc.worker.state import WorkerState

SMALL = Sizes(most_nodes=4, most_workers=3, most_tasks=24, most_faults=5)
LASTING = Sizes(most_nodes=4, most_workers=3, most_tasks=24, most_faults=5, losses=0)
DEADLY = Sizes(most_nodes=3, most_workers=3, most_tasks=24, faults=1, deaths=4, losses=0)


@pytest.mark.parametrize("first", range(0, 60, 20))  # `make simulate` tries thousands
def test_no_promise_is_broken_under_any_seed(first: int) -> None:
    broken = [outcome for outcome in map(partial(try_seed, sizes=SMALL), range(first, first + 20)) if outcome.reason]
    assert not broken


@pytest.mark.parametrize("seed", [252, 365, 378, 589, 847, 1084])  # see Worker._arm_for_tasks
def test_no_task_stays_behind_a_greenlet_that_goes_on_while_the_progress_thread_sleeps(seed: int) -> None:
    result = run(make_scenario(seed))
    assert not isinstance(result, Failure), result.reason


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_gives_the_same_run_to_the_last_event(seed: int) -> None:
    first: list[str] = []
    again: list[str] = []
    assert run(make_scenario(seed, SMALL), tell=first.append) == run(make_scenario(seed, SMALL), tell=again.append)
    assert first == again
    assert len(first) > 20


def test_other_seeds_give_other_runs() -> None:
    assert len({repr(run(make_scenario(seed, SMALL))) for seed in range(10)}) == 10


# bugs


class _Changed(BrokerState):
    """A broker whose messages a bug may change on their way out."""

    count = 0

    def handle(self, message: Message, sender: ProcessName) -> list[Send]:
        return [changed for send in super().handle(message, sender) for changed in self.change(send)]

    def change(self, send: Send) -> list[Send]:
        return [send]


class LosesBatches(_Changed):
    def change(self, send: Send) -> list[Send]:
        if isinstance(send.message, Tasks) and len(send.message.batches) > 1:
            return [Send(send.to, Tasks(send.message.batches[1:], send.message.answer))]
        return [send]


class DeliversTwice(_Changed):
    def change(self, send: Send) -> list[Send]:
        self.count += isinstance(send.message, Tasks) and bool(send.message.batches)
        return [send, send] if isinstance(send.message, Tasks) and self.count == 3 else [send]


class DropsResults(_Changed):
    def change(self, send: Send) -> list[Send]:
        self.count += isinstance(send.message, Results)
        return [] if isinstance(send.message, Results) and self.count == 3 else [send]


class ForgetsDemand(_Changed):
    def change(self, send: Send) -> list[Send]:
        return [] if isinstance(send.message, Demand) else [send]


class AnswersNoCancel(_Changed):
    def change(self, send: Send) -> list[Send]:
        return [] if isinstance(send.message, (CancelAnswer, QueryAnswer)) else [send]


class SaysThatItCancelled(_Changed):
    def change(self, send: Send) -> list[Send]:
        message = send.message
        if isinstance(message, CancelAnswer):
            return [Send(send.to, CancelAnswer(message.owner, message.serial, message.number, True))]
        return [send]


class ForgetsConstants(_Changed):
    def change(self, send: Send) -> list[Send]:
        return [] if isinstance(send.message, Shared) else [send]


class ForgetsRequests(_Changed):
    def handle(self, message: Message, sender: ProcessName) -> list[Send]:
        self.count += isinstance(message, Request)
        return [] if isinstance(message, Request) and self.count > 3 else super().handle(message, sender)


class MixesUpOutcomes(_Changed):
    def change(self, send: Send) -> list[Send]:
        if isinstance(send.message, Results):
            for index, batch in enumerate(send.message.batches):
                serial, value, unpolled = bytes(batch.frames[0]).split()[0].split(b":")
                wrong = b"%d:%d:%s" % (int(serial), int(value) + 1, unpolled)
                send.message.batches[index] = Batch(batch.owner, batch.serial, [wrong])
        return [send]


class KeepsInbox(WorkerState):
    """A worker that never gives back what waits behind a long task."""

    def give_back_inbox(self) -> None:
        self.ask(0, idle=False)


def found(classes: Classes, sizes: Sizes = LASTING, first: int = 0) -> Failure:
    """Return what the first seed shows that fails; *first* is shortly before it, where it is far away."""
    for seed in range(first, first + 300):
        result = run(make_scenario(seed, sizes), classes)
        if isinstance(result, Failure):
            return result
    raise AssertionError("it was not found")


@pytest.mark.parametrize(
    ("broker", "words"),
    [
        (LosesBatches, "lost"),
        (DeliversTwice, "thought to be at"),
        (DropsResults, "work left"),
        (ForgetsDemand, "has waited for"),
        (AnswersNoCancel, "work left"),
        (SaysThatItCancelled, "cancelled, and"),
        (ForgetsConstants, "work left"),
        (ForgetsRequests, ""),
        (MixesUpOutcomes, "settled by the value"),
    ],
)
def test_a_bug_of_a_broker_is_found_and_shrunk(broker: type[BrokerState], words: str) -> None:
    classes = Classes(broker=broker)
    failure = found(classes)
    assert words in failure.reason

    def fails(scenario: Scenario) -> Failure | None:
        result = run(scenario, classes)
        return result if isinstance(result, Failure) else None

    smallest = shrink(failure, fails, most=30)
    assert len(smallest.scenario.program.calls) <= len(failure.scenario.program.calls)
    assert len(smallest.scenario.program.calls) <= 16
    assert fails(smallest.scenario) == smallest
    assert smallest.trace


def test_a_bug_of_a_worker_is_found() -> None:
    assert "has waited for" in found(Classes(worker=KeepsInbox)).reason


class HearsTheDead(BrokerState):
    """A broker that takes in outcomes of a worker that is known to be dead."""

    def handle(self, message: Message, sender: ProcessName) -> list[Send]:
        if sender in self._gone and isinstance(message, Results):
            return [Send(self._way_to(batch.owner), Results([batch])) for batch in message.batches]
        return super().handle(message, sender)


class KeepsTasksOfTheDead(WorkerState):
    def _forget(self, gone: Gone) -> None:
        pass


def remains_of_begun(self: BrokerLedger, died: WorkerDied) -> Remains:
    """Keep only what was begun, of what a dead worker leaves."""
    remains = remains_of(self, died)
    return Remains([batch for batch in remains.batches if batch.losses], remains.failed)


def remains_without_failed(self: BrokerLedger, died: WorkerDied) -> Remains:
    """Say nothing of tasks that have cost their last attempt."""
    return Remains(remains_of(self, died).batches, [])


def give_with_own(self: BrokerWorker, batches: Sequence[Batch], name: WorkerName) -> None:
    """Keep the worker's own tasks in the ledger, which it does without a word."""
    give(self, batches, WorkerName(ProcessName("")))


remains_of, give = BrokerLedger.remains, BrokerWorker.give


@pytest.mark.parametrize(
    ("where", "name", "bug", "words", "first"),
    [
        (BrokerLedger, "strike_batch", lambda *args: None, "thought to be at|has something left", 0),
        (BrokerLedger, "remains", remains_of_begun, "is lost", 0),
        (BrokerLedger, "remains", remains_without_failed, "work left", 0),
        (BrokerLedger, "drop_owned", lambda *args: None, "is kept at|has something left", 210),
        (Queue, "drop_owned", lambda *args: None, "is kept at", 25),
        (BrokerWorker, "questions", lambda self: [], "work left", 125),
        (BrokerWorker, "give", give_with_own, "has something left", 0),
        (agent_state, "_ids", lambda tasks: (), "has lost", 0),
    ],
)
def test_a_bug_about_deaths_is_found(
    where: object, name: str, bug: object, words: str, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, bug)
    assert re.search(words, found(Classes(), DEADLY, first).reason)


@pytest.mark.parametrize(
    ("classes", "words", "first"),
    [
        (Classes(broker=HearsTheDead), "has lost|settled", 0),
        (Classes(worker=KeepsTasksOfTheDead), "is kept at", 360),
    ],
)
def test_a_bug_of_who_survives_is_found(classes: Classes, words: str, first: int) -> None:
    assert re.search(words, found(classes, DEADLY, first).reason)


# its parts


def test_a_stalled_process_does_nothing_and_keeps_the_order() -> None:
    agenda, process, done = Agenda(0.0), Process("1"), list[tuple[float, str]]()
    for time, word in ((1.0, "first"), (2.0, "second"), (4.0, "third")):
        agenda.at(time, lambda word=word: done.append((agenda.now, word)), process)  # type: ignore[misc]
    process.stalled_until = 4.0
    while agenda.step():
        pass
    assert done == [(4.0, "first"), (4.0, "second"), (4.0, "third")]


def test_what_a_process_had_planned_does_not_happen_once_it_is_gone() -> None:
    agenda, process, done = Agenda(0.0), Process("1"), list[int]()
    agenda.at(1.0, lambda: done.append(1), process)
    process.is_gone = True
    assert not agenda.step()
    assert not done


def network(**changes: object) -> Network:
    return Network(NetworkPlan(latencies=(0.1,), local=(0.01,), **changes), random.Random(1))  # type: ignore[arg-type]


def test_messages_of_one_connection_arrive_in_order_and_those_of_another_do_not_wait() -> None:
    net = network()
    net.holds.append(Hold("0", "1", 1.0, 5.0))
    assert net.arrival("0", "1", 0, 1.0) == 5.0
    assert net.arrival("0", "1", 0, 4.0) == 5.0
    assert net.arrival("0", "2", 0, 1.0) == pytest.approx(1.1)
    assert net.arrival("0.1", "0", 0, 1.0) == pytest.approx(1.01)


def test_a_large_message_keeps_its_connection_busy() -> None:
    net = network(bandwidth=100.0)
    assert net.arrival("0", "1", 100, 0.0) == pytest.approx(1.1)
    assert net.arrival("0", "1", 100, 0.0) == pytest.approx(2.1)


def test_a_program_loses_a_task_with_all_that_it_submits() -> None:
    program = Program(
        {
            0: Call("main", (Submit(1), Submit(2), Cancel((1, 2)), Wait(1), Abandon(2))),
            1: Call("f", (Submit(3), Wait(3))),
            2: Call("f", (Compute(1.0),)),
            3: Call("f", ()),
        }
    )
    assert program.without(1) == Program({0: Call("main", (Submit(2), Cancel((2,)), Abandon(2))), 2: program.calls[2]})


@pytest.mark.parametrize(
    "fault",
    [
        Stall("0", 0.05, 2.0),
        Stall("0.0", 0.05, 2.0),
        Stall("1.0", 0.05, 2.0),
        Stall("agent 1", 0.0, 2.0),
        Stall("driver", 0.0, 2.0),
        HeldUp("0", "1", 0.0, 3.0),
        HeldUp("0.0", "0", 0.05, 3.0),
        SlowNode(1, 10.0),
        SlowLink(0, 1, 0.3),
    ],
)
def test_what_is_only_slow_loses_nothing(fault: Stall | HeldUp | SlowNode | SlowLink) -> None:
    assert kept(Scenario(1, (2, 2), thirty_tasks(), faults=(fault,))).executed == 30


def thirty_tasks(guilty: tuple[Step, ...] = ()) -> Program:
    """Return a program whose origin submits 30 tasks, the last of which takes the steps *guilty*."""
    numbers = range(1, 31)
    calls = {number: Call("f", (Compute(0.03),)) for number in numbers}
    calls[30] = Call("f", (Compute(0.01), *guilty))
    return Program({0: Call("main", (*map(Submit, numbers), *map(Wait, numbers))), **calls})


def kept(scenario: Scenario) -> Result:
    """Run *scenario*, which keeps every promise."""
    result = run(scenario)
    assert not isinstance(result, Failure), result.reason
    return result


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("seed", range(3))
def test_a_death_costs_what_the_worker_had_begun_and_no_more(moment: str, seed: int) -> None:
    death = Death(1, 0, 0.05, moment, seconds=0.001)
    result = kept(Scenario(seed, (2, 2), thirty_tasks(), faults=(death,)))
    assert result.deaths == (0 if moment in ("parked", "owner") else 2 if moment == "fresh" else 1)
    assert 30 <= result.executed <= 30 + 2 * result.deaths  # what runs, and an outcome that was not delivered


def test_a_task_that_always_kills_takes_three_workers_and_the_others_are_executed_once() -> None:
    result = kept(Scenario(1, (2, 2), thirty_tasks((Kill(1.0),))))
    assert (result.executed, result.deaths) == (29 + 3, 3)
    assert result.ending.status == 0


def test_a_task_that_waits_for_what_kills_its_own_worker_is_lost_at_last() -> None:
    calls = {0: Call("main", (Submit(1), Wait(1))), 1: Call("g", (Submit(2), Wait(2))), 2: Call("f", (Kill(1.0),))}
    result = kept(Scenario(1, (1, 1), Program(calls)))
    assert result.deaths == 12  # four times as many as of a task that runs


@pytest.mark.parametrize("seed", range(3))
def test_a_task_that_cost_a_worker_is_executed_though_none_is_left_but_who_waits_for_it(seed: int) -> None:
    calls = {
        0: Call("main", (Submit(1), Wait(1))),
        1: Call("f", (Compute(0.05), Submit(2), Submit(3), Wait(2), Wait(3))),
        2: Call("g", (Compute(0.3),)),
        3: Call("g", (Compute(0.3),)),
    }
    death = Death(1, 0, 0.05, "task", seconds=0.01, reaped=0.0)
    world = World(Scenario(seed, (1, 1), Program(calls), faults=(death,)))
    world.nodes[1].born_to_die += [Death(1, 0, 0.0)] * 3  # then it is left without workers
    result = world.run()
    assert result.ending.status == 0
    assert result.deaths in (0, 4)


def test_a_run_ends_by_name_when_no_worker_is_left() -> None:
    program = Program({0: Call("main", (Compute(1.0), Submit(1), Wait(1))), 1: Call("f", (Compute(0.1),))})
    deaths = tuple(Death(0, 0, 0.1 + 0.1 * number) for number in range(6))
    result = kept(Scenario(1, (2,), program, faults=deaths))
    assert result.ending.status == 1
    assert result.ending.reason.endswith("no worker is left")


def test_efficiency_is_close_to_one_on_a_few_nodes() -> None:
    for kind in ("flat", "nested"):
        table = list(rows(2, kind))
        assert [row.workers for row in table] == [4, 8]
        assert all(0.97 < row.efficiency <= 1.0 and 2.0 < row.messages < 20.0 for row in table)


@pytest.mark.parametrize("make", [flat, nested])
def test_nodes_do_not_tell_all_others_of_each_task(make: Callable[[int], Program]) -> None:
    nodes = 40
    result = World(Scenario(0, (2,) * nodes, make(2 * nodes * 12), NETWORK), checks=False).run()
    assert sum(result.computed.values()) > 0.9 * result.seconds * 2 * nodes
    assert result.task_messages < 30 * result.executed


@pytest.mark.parametrize(("nodes", "branches"), [(14, 3), (20, 3), (30, 5)])
def test_last_of_equal_tasks_do_not_wander_between_brokers_that_wait_for_them(nodes: int, branches: int) -> None:
    for_each = 5
    numbers = range(1, 2 * nodes * for_each + 1)
    calls = {number: Call("f", (Compute(0.5),)) for number in numbers}
    program = Program({ROOT: Call("main", (*map(Submit, numbers), *map(Wait, numbers))), **calls})
    scenario = Scenario(0, (2,) * nodes, program, NETWORK, all_direct=2, branches=branches)
    result = World(scenario, checks=False).run()
    assert result.seconds < 1.01 * 0.5 * for_each
    assert result.task_messages < 30 * result.executed


# the command


def test_one_seed_is_summed_up_and_traced(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "3", "--tasks", "5", "--nodes", "2", "--workers", "1"]) == 0
    summary = capsys.readouterr().out
    assert "2 nodes with 1+1 workers" in summary
    assert "digest" in summary
    assert command.main(["--seed", "3", "--tasks", "5", "--nodes", "2", "--workers", "1", "--trace"]) == 0
    traced = capsys.readouterr().out
    assert traced.splitlines()[-1] == summary.splitlines()[-1]
    assert "Hello(" in traced
    assert "Results(" in traced


def test_a_violation_prints_its_events_and_is_shrunk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "run", lambda scenario, tell=None: run(scenario, Classes(broker=DropsResults), tell))
    failure = found(Classes(broker=DropsResults))
    options = ["--seed", str(failure.scenario.seed), "--nodes", "2", "--workers", "2", "--tasks", "8", "--faults", "0"]
    assert command.main(options) == 1
    out = capsys.readouterr().out
    assert out.count("VIOLATION: ") == 2
    assert "shrunk to" in out


def test_many_seeds_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seeds", "3", "--first", "7", "--tasks", "3", "--processes", "1"]) == 0
    assert capsys.readouterr().out.startswith("3 seeds, ")
    assert [outcome.seed for outcome in try_seeds([4, 5], SMALL, 1)] == [4, 5]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--seed", "x"],
        ["--seed", "-1"],
        ["--seed", "1", "--nodes", "0"],
        ["--seed", "1", "--seeds", "2"],
        ["--seeds", "2", "--trace"],
        ["--seed", "1", "--first", "2"],
        ["--efficiency", "--tasks", "3"],
        ["--sed", "1"],
    ],
)
def test_bad_options_are_refused_in_one_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command.main(options)
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
