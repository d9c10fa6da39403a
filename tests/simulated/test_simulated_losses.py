"""Whole runs under a virtual clock in which nodes and links are lost, and bugs about that which must be found."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection
from typing import cast

import pytest

from scoop_hpc.broker.actions import Send
from scoop_hpc.broker.home import Home
from scoop_hpc.broker.ledger import Remains
from scoop_hpc.broker.shared_values import SharedValues
from scoop_hpc.broker.state import _HANDLERS, BrokerState
from scoop_hpc.protocol.messages import Gone, Message, Tasks
from scoop_hpc.protocol.names import BrokerName, ProcessName, broker_name, worker_name
from scoop_hpc.sim.faults import NODE_MOMENTS, Cut, Drain, Late, Newcomer, NodeLoss, Silence, Stall
from scoop_hpc.sim.network import Hush, Network, NetworkPlan
from scoop_hpc.sim.plan import Classes, Result, Scenario
from scoop_hpc.sim.program import (
    ROOT,
    AskWhetherRunning,
    Call,
    Cancel,
    Compute,
    GetConstant,
    Program,
    SetConstant,
    Step,
    Submit,
    Wait,
)
from scoop_hpc.sim.scenario import Failure, Sizes, make_scenario, run
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.state import WorkerState

LOSSY = Sizes(nodes=4, most_workers=2, tasks=60, faults=0, deaths=0, losses=3)


def thirty_tasks(last: float = 0.03) -> Program:
    """Return a program whose origin submits 30 tasks, the *last* of which may be longer."""
    numbers = range(1, 31)
    calls = {number: Call("f", (Compute(0.03),)) for number in numbers}
    calls[30] = Call("f", (Compute(last),))
    return Program({ROOT: Call("main", (*map(Submit, numbers), *map(Wait, numbers))), **calls})


def kept(scenario: Scenario) -> Result:
    """Run *scenario*, which keeps every promise."""
    result = run(scenario)
    assert not isinstance(result, Failure), result.reason
    return result


@pytest.mark.parametrize("what", ["node", "agent", "broker", "hang"])
@pytest.mark.parametrize("moment", NODE_MOMENTS)
def test_a_lost_node_costs_what_it_had_and_no_more(what: str, moment: str) -> None:
    loss = NodeLoss(1, what, 0.05, moment, noticed=0.1)
    result = kept(Scenario(1, (2, 2, 2), thirty_tasks(), faults=(loss,)))
    assert result.losses == (0 if moment in ("stolen", "moved", "owner") else 1)
    assert 30 <= result.executed <= 30 + 6 * result.losses
    assert result.ending.status == 0


def test_two_nodes_are_lost_at_once() -> None:
    losses = (NodeLoss(1, "node", 0.1), NodeLoss(2, "broker", 0.1))
    assert kept(Scenario(1, (1, 2, 2, 1), thirty_tasks(), faults=losses)).losses == 2


@pytest.mark.parametrize("back", [0.1, 5.0])
def test_a_node_that_comes_back_takes_part_as_another(back: float) -> None:
    loss = NodeLoss(1, "node", 0.1, noticed=0.1, back=back)
    result = kept(Scenario(1, (1, 2), thirty_tasks(20.0), faults=(loss,)))
    assert result.losses == 1
    assert worker_name(2, 0) in result.computed


@pytest.mark.parametrize("is_stopped", [True, False])
@pytest.mark.parametrize(("seconds", "lost"), [(0.5, 0), (2.5, 0), (6.0, 1)])
def test_a_node_that_is_silent_for_long_counts_as_lost(seconds: float, lost: int, is_stopped: bool) -> None:
    silence = Silence(1, 0.05, seconds, 1.0, is_stopped)
    result = kept(Scenario(1, (2, 2), thirty_tasks(10.0), faults=(silence,)))
    assert result.losses == lost


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_node_that_was_only_silent_takes_part_again_as_another(is_stopped: bool) -> None:
    result = kept(Scenario(1, (2, 2), thirty_tasks(10.0), faults=(Silence(1, 0.05, 6.0, 1.0, is_stopped),)))
    assert worker_name(2, 0) in result.computed


@pytest.mark.parametrize(("seconds", "lost"), [(2.0, 0), (20.0, 1)])
def test_a_broken_link_costs_nothing_or_a_node_after_the_grace(seconds: float, lost: int) -> None:
    result = kept(Scenario(1, (1, 1, 2), thirty_tasks(10.0), faults=(Cut(1, 2, 0.05, seconds),)))
    assert result.losses == lost
    assert result.executed == 30 or lost


def test_a_late_node_takes_part_in_what_is_left() -> None:
    result = kept(Scenario(1, (1, 2), thirty_tasks(), faults=(Late(1, 0.3),)))
    assert result.computed[worker_name(1, 0)] > 0.1


def test_a_run_ends_by_name_when_too_few_nodes_are_left() -> None:
    losses = tuple(NodeLoss(node, "node", 0.1) for node in (1, 2, 3))
    result = kept(Scenario(1, (2, 1, 1, 1), thirty_tasks(20.0), faults=losses))
    assert result.ending.status == 1
    assert "1 of 4 nodes is left" in result.ending.reason


def test_a_silent_node_is_cut_off_from_others_and_not_from_itself() -> None:
    net = Network(NetworkPlan(latencies=(0.1,), local=(0.01,)), random.Random(1))
    net.hushes.append(Hush(frozenset({"1", "agent 1"}), 1.0, 5.0))
    ways = (("0", "1"), ("1", "0"), ("agent 1", "driver"), ("driver", "agent 1"))
    assert {net.arrival(sender, to, 0, 1.0) for sender, to in ways} == {5.0}
    assert net.arrival("1.0", "1", 0, 1.0) == pytest.approx(1.01)
    assert net.arrival("0", "2", 0, 1.0) == pytest.approx(1.1)


# bugs


class HearsTheLost(BrokerState):
    """A broker that takes in tasks of one that is given up, and lives."""

    def handle(self, message: Message, sender: ProcessName) -> list[Send]:
        if sender in self._gone and isinstance(message, Tasks):
            self.queue.extend(message.batches, sender)
        return super().handle(message, sender)


class SettlesTwice(WorkerState):
    """A worker that takes a second outcome for the first."""

    claimed: dict[int, Future] | None = None

    def claim(self, serial: int, unpolled: float) -> Future | None:
        future = super().claim(serial, unpolled)
        self.claimed = self.claimed or {}
        if future is not None:
            self.claimed[serial] = future
        return self.claimed.get(serial)


class KeepsWordFromWorkers(BrokerState):
    """A broker that does not tell its workers of lost nodes."""

    def handle(self, message: Message, sender: ProcessName) -> list[Send]:
        sends = super().handle(message, sender)
        return [send for send in sends if not (isinstance(send.message, Gone) and send.message.nodes)]


class IgnoresNodes(WorkerState):
    """A worker that keeps the tasks of lost nodes."""

    def _forget(self, gone: Gone) -> None:
        super()._forget(Gone(gone.workers))


def waits_for_the_lost(state: BrokerState, message: Gone, sender: ProcessName) -> list[Send]:
    """Wait for the answer of a node that is lost, which was asked for tasks."""
    stealing = state._stealing
    sends = on_gone(state, message, sender)
    if stealing in {*map(broker_name, message.nodes)}:
        state._stealing = stealing
    return sends


def forgets_searches(state: BrokerState, message: Gone, sender: ProcessName) -> list[Send]:
    """Forget the questions that were put to a node that is lost."""
    places = set(map(broker_name, message.nodes))
    for key in [key for key, search in state._searches.items() if search.place in places]:
        del state._searches[key]
    return on_gone(state, message, sender)


def asks_no_other(self: SharedValues, peers: Collection[BrokerName], lost: Collection[BrokerName] = ()) -> list[Send]:
    """Do not ask another parent what the lost one was asked."""
    meet(self, peers, lost)
    return []


HANDLERS = cast(dict[type, Callable[..., list[Send]]], _HANDLERS)
on_gone, meet = BrokerState._on_gone, SharedValues.meet


def found(classes: Classes = Classes(), first: int = 0) -> str:
    """Return what the first seed shows that fails; *first* is shortly before it, where it is far away."""
    for seed in range(first, first + 300):
        result = run(make_scenario(seed, LOSSY), classes)
        if isinstance(result, Failure):
            return result.reason
    raise AssertionError("it was not found")


@pytest.mark.parametrize(
    ("where", "name", "bug", "words", "first"),
    [
        (Home, "lost", lambda *args: Remains([], []), "work left", 5),
        (Home, "moved", lambda *args: None, "work left", 25),
        (Home, "strike", lambda *args: [], "thought to be at|has something left", 0),
    ],
)
def test_a_bug_of_a_home_is_found(
    where: type[object], name: str, bug: object, words: str, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, bug)
    assert re.search(words, found(first=first))


def test_a_broker_that_waits_for_a_lost_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HANDLERS, Gone, waits_for_the_lost)
    assert re.search("has waited for|the lost broker|work left", found(first=5))


@pytest.mark.parametrize(
    ("classes", "words", "first"),
    [
        (Classes(broker=HearsTheLost), "is kept at|is executed|thought to be at|is twice at", 755),
        (Classes(worker=SettlesTwice), "is settled, and was settled", 270),
    ],
)
def test_a_bug_of_who_survives_is_found(classes: Classes, words: str, first: int) -> None:
    assert re.search(words, found(classes, first))


def questions_about_a_lost_node(seed: int) -> Scenario:
    """Return a scenario whose origin asks for tasks that are at a node that is lost meanwhile."""
    chance, numbers = random.Random(seed), range(1, 41)
    asks: list[Step] = [Cancel((each,)) if chance.random() < 0.5 else AskWhetherRunning(each) for each in numbers]
    steps = (*map(Submit, numbers), Compute(chance.uniform(0.3, 1.0)), *asks, *map(Wait, numbers))
    program = Program({ROOT: Call("main", steps), **{each: Call("f", (Compute(0.3),)) for each in numbers}})
    loss = NodeLoss(1, "node", chance.uniform(0.2, 1.2), noticed=chance.choice((0.0, 1.0)))
    return Scenario(seed, (1, 1, 1), program, faults=(loss,))


def tasks_of_a_lost_owner(seed: int) -> Scenario:
    """Return a scenario in which tasks of a lost node wait at workers of others, which are stalled meanwhile."""
    chance, numbers = random.Random(seed), range(4, 304)
    calls = {
        ROOT: Call("main", (Submit(1), Submit(2), Submit(3), Wait(1), Wait(2), Wait(3))),
        1: Call("h", (Compute(0.06),)),
        2: Call("h", (Compute(0.06),)),
        3: Call("g", (Compute(0.05), *map(Submit, numbers), *map(Wait, numbers))),
    }
    program = Program({**calls, **{each: Call("f", (Compute(0.0003),)) for each in numbers}})
    time = chance.uniform(0.06, 0.15)
    stalls = [Stall(worker, time, 4.0) for worker in ("2.0", "2.1", "0.1")]
    return Scenario(seed, (2, 1, 2), program, faults=(NodeLoss(1, "node", time, noticed=0.0), *stalls))


def values_asked_of_a_lost_node(seed: int) -> Scenario:
    """Return a scenario in which a node asks for a value that is not set yet, by another node that is lost then."""
    numbers = range(1, 9)
    steps: tuple[Step, ...] = (*map(Submit, numbers), Compute(5.0), SetConstant("a"), *map(Wait, numbers))
    program = Program({ROOT: Call("main", steps), **{each: Call("f", (GetConstant("a", True),)) for each in numbers}})
    return Scenario(seed, (1, 1, 1, 1), program, faults=(NodeLoss(1, "node", 1.0),))


def first_failure(make: Callable[[int], Scenario], first: int, classes: Classes = Classes()) -> str:
    """Return what the first scenario shows that fails."""
    results = (run(make(seed), classes) for seed in range(first, first + 60))
    return next(result.reason for result in results if isinstance(result, Failure))


def test_a_question_about_a_task_that_hangs_with_a_lost_node_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    kept(questions_about_a_lost_node(0))
    monkeypatch.setitem(HANDLERS, Gone, forgets_searches)
    assert "work left" in first_failure(questions_about_a_lost_node, 0)


def test_a_question_for_a_value_that_hangs_with_a_lost_node_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    kept(values_asked_of_a_lost_node(0))
    monkeypatch.setattr(SharedValues, "meet", asks_no_other)
    assert "work left" in first_failure(values_asked_of_a_lost_node, 0)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (Classes(broker=KeepsWordFromWorkers), "knows that it is gone"),
        (Classes(worker=IgnoresNodes), "is kept at"),
    ],
)
def test_a_task_that_is_kept_for_a_lost_owner_is_found(classes: Classes, words: str) -> None:
    kept(tasks_of_a_lost_owner(159))
    assert words in first_failure(tasks_of_a_lost_owner, 159, classes)


# nodes that leave, and nodes that join


@pytest.mark.parametrize("time", [0.0, 0.01, 0.05, 0.1])
def test_a_node_that_is_drained_costs_nothing(time: float) -> None:
    result = kept(Scenario(1, (2, 2, 2), thirty_tasks(last=1.0), NetworkPlan(), (Drain(1, time),)))
    assert (result.left, result.losses, result.executed) == (1, 0, 30)


def test_a_node_that_has_to_leave_in_no_time_is_lost_with_what_it_executes() -> None:
    result = kept(Scenario(1, (2, 2, 2), thirty_tasks(last=1.0), NetworkPlan(), (Drain(1, 0.05, 0.01),)))
    assert (result.left, result.losses) == (0, 1)
    assert 30 < result.executed <= 32


def test_a_node_of_another_allocation_takes_its_part() -> None:
    alone = kept(Scenario(1, (2,), thirty_tasks(), NetworkPlan()))
    helped = kept(Scenario(1, (2,), thirty_tasks(), NetworkPlan(), (Newcomer(4, 0.02),)))
    assert (helped.joined, helped.executed) == (1, 30)
    assert helped.seconds < 0.8 * alone.seconds
    assert sum(seconds > 0 for seconds in helped.computed.values()) > 2


@pytest.mark.parametrize("seed", range(20))
def test_moves_among_other_faults_break_no_promise(seed: int) -> None:
    sizes = Sizes(nodes=1 + seed % 5, most_workers=2, tasks=40, faults=seed % 3, deaths=seed % 2, losses=0, moves=2)
    kept(make_scenario(1000 + seed, sizes))


def test_a_broker_that_says_too_early_that_it_has_nothing_to_do_is_found() -> None:
    class Hasty(BrokerState):
        @property
        def is_drained(self) -> bool:
            return self.leaves

    sizes = Sizes(nodes=3, most_workers=2, tasks=60, faults=0, deaths=0, losses=0, moves=2)
    results = (run(make_scenario(seed, sizes), Classes(broker=Hasty)) for seed in range(30))
    assert any(isinstance(result, Failure) for result in results)
