"""Nodes that are lost: brokers run again what was there, and drop what was wanted there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from scoop_hpc.broker.actions import Send
from scoop_hpc.broker.home import Home
from scoop_hpc.broker.policy import Policy
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    Batch,
    BrokerUp,
    Cancel,
    CancelAnswer,
    Gone,
    Load,
    Loss,
    Message,
    Moved,
    Peers,
    Query,
    Ready,
    Request,
    Results,
    Steal,
    TaskLost,
    Tasks,
    WorkerDied,
)
from scoop_hpc.protocol.names import AGENT, ORIGIN, NodeIndex, ProcessName, WorkerName, broker_name, worker_name

FIRST, SECOND, THIRD = map(broker_name, range(3))
OWNER, OTHER = worker_name(0, 1), worker_name(0, 2)
FAR = worker_name(1, 1)
LOST = Loss("node n1 is lost", waited=True)


def up(*nodes: int) -> Peers:
    return Peers(tuple(BrokerUp(NodeIndex(node), ("a",)) for node in nodes))


def gone(*nodes: int) -> Gone:
    return Gone(nodes=tuple(map(NodeIndex, nodes)), cause="node n1 is lost")


class Broker(BrokerState):
    """A broker that gets its messages through the codec."""

    def say(self, message: Message, sender: ProcessName) -> list[Send]:
        return self.handle(codec.decode(codec.encode(message)), sender)

    def queued(self) -> list[Batch]:
        return [*self.risky, *self.queue]


def batch(serial: int, owner: WorkerName = OWNER, count: int = 1) -> Batch:
    return Batch(owner, serial, [b"call"], count)


def outcomes(*serials: int, owner: WorkerName = OWNER) -> Results:
    return Results([Batch(owner, 0, [b"outcome"], done=serials)])


def to(name: ProcessName, sends: Sequence[Send]) -> list[Message]:
    return [send.message for send in sends if send.to == name]


@pytest.fixture
def home() -> Broker:
    """The broker of the owner, which has two peers."""
    broker = Broker(FIRST, takers=2)
    broker.say(up(0, 1, 2), AGENT)
    broker.say(Ready(), OWNER)
    broker.say(Ready(), OTHER)
    return broker


def stolen(home: Broker, *batches: Batch, peer: ProcessName = SECOND) -> list[Batch]:
    home.say(Tasks(list(batches)), OWNER)
    taken: list[Batch] = []
    while home.queue:
        (message,) = to(peer, home.say(Steal(len(batches)), peer))
        assert isinstance(message, Tasks)
        taken += message.batches
    return taken


def test_tasks_of_a_lost_node_run_again_with_one_loss_more(home: Broker) -> None:
    stolen(home, batch(1), batch(2))
    home.say(outcomes(1), SECOND)
    home.say(gone(1), AGENT)
    assert home.queued() == [replace(batch(2), losses=(LOST,), hops=1)]
    (given,) = to(OTHER, home.say(Request(1), OTHER))
    assert isinstance(given, Tasks)
    assert given.batches == [replace(batch(2), losses=(LOST,), hops=1)]


def test_of_a_batch_only_what_is_not_done_runs_again(home: Broker) -> None:
    stolen(home, batch(1, count=4))
    home.say(outcomes(1, 3), SECOND)
    home.say(gone(1), AGENT)
    (again,) = home.queued()
    assert (again.count, again.dropped, again.losses) == (4, (1, 3), (LOST,))


def test_task_whose_peer_has_sent_it_on_is_lost_with_the_other(home: Broker) -> None:
    stolen(home, batch(1), batch(2))
    home.say(Moved(OWNER, (1,), THIRD, 2), SECOND)
    home.say(gone(2), AGENT)
    assert [each.serial for each in home.queued()] == [1]
    home.say(gone(1), AGENT)
    assert [each.serial for each in home.queued()] == [2, 1]


def test_word_that_comes_late_says_that_a_task_was_sent_to_a_lost_node(home: Broker) -> None:
    stolen(home, batch(1))
    home.say(gone(2), AGENT)
    assert home.queued() == []
    home.say(Moved(OWNER, (1,), THIRD, 2), SECOND)
    assert [each.serial for each in home.queued()] == [1]


def test_word_that_was_overtaken_does_not_count(home: Broker) -> None:
    home.say(up(3), AGENT)
    stolen(home, batch(1))
    home.say(Moved(OWNER, (1,), SECOND, 4), broker_name(3))
    home.say(Moved(OWNER, (1,), THIRD, 2), SECOND)
    home.say(gone(2), AGENT)
    assert home.queued() == []


def test_losses_of_an_attempt_elsewhere_are_known_at_home(home: Broker) -> None:
    stolen(home, batch(1))
    died = Loss("worker 1.1 died")
    home.say(Moved(OWNER, (1,), THIRD, 2, (died,)), SECOND)
    home.say(gone(2), AGENT)
    (again,) = home.queued()
    assert again.losses == (died, LOST)


def test_home_is_told_where_its_task_goes_before_the_thief_has_it() -> None:
    between = Broker(SECOND)
    between.say(up(0, 1, 2, 3), AGENT)
    between.say(Ready(), FAR)
    between.say(Tasks([replace(batch(1), hops=1), replace(batch(2), hops=1)]), FIRST)
    sends = between.say(Steal(1), THIRD)
    moved = Send(FIRST, Moved(OWNER, (1,), THIRD, 2))
    assert sends[:2] == [moved, Send(THIRD, Tasks([replace(batch(1), hops=2)]))]
    sends = between.say(Steal(1), FIRST)  # home again: it will see
    assert to(FIRST, sends) == [Tasks([replace(batch(2), hops=2)])]


def test_task_that_a_lost_node_said_to_have_sent_on_may_not_have_left_it(home: Broker) -> None:
    stolen(home, batch(1))
    home.say(Moved(OWNER, (1,), THIRD, 2), SECOND)
    home.say(gone(1), AGENT)
    assert [each.losses for each in home.queued()] == [(LOST,)]


def test_task_that_comes_home_is_not_away_any_more(home: Broker) -> None:
    (task,) = stolen(home, batch(1))
    home.say(Tasks([replace(task, hops=2)]), SECOND)
    home.say(gone(1), AGENT)
    assert [each.losses for each in home.queued()] == [()]


def test_second_outcome_takes_a_task_out_of_the_queue_that_lived_on_elsewhere(home: Broker) -> None:
    stolen(home, batch(1))
    home.say(gone(1), AGENT)
    assert len(home.queued()) == 1
    assert to(OWNER, home.say(outcomes(1), THIRD)) == [outcomes(1)]
    assert home.queued() == []


def test_what_a_lost_node_has_submitted_is_dropped_everywhere(home: Broker) -> None:
    home.say(Tasks([batch(1, FAR), batch(2, worker_name(2, 1))]), SECOND)
    (told,) = to(OTHER, home.say(gone(1), AGENT))
    assert told == Gone(nodes=(NodeIndex(1),))
    assert [each.owner for each in home.queued()] == ["2.1"]
    home.say(Tasks([batch(3, FAR)]), THIRD)  # was under way
    assert [each.owner for each in home.queued()] == ["2.1"]
    assert home.say(Results([Batch(FAR, 0, [b"outcome"], done=(1,))]), OTHER) == []


def test_late_messages_of_a_lost_broker_are_not_heard(home: Broker) -> None:
    home.say(gone(1), AGENT)
    assert home.say(Steal(5), SECOND) == []
    assert home.say(Tasks([batch(1)]), SECOND) == []
    assert home.say(Load(5, 0), SECOND) == []
    assert home.queued() == []


def test_theft_from_a_node_that_is_lost_is_over(home: Broker) -> None:
    home.say(Load(5, 0), SECOND)
    assert to(SECOND, home.say(Request(1), OTHER)) == [Steal(1)]
    home.say(gone(1), AGENT)
    assert to(THIRD, home.say(Load(5, 0), THIRD)) == [Steal(1)]


def test_question_that_a_lost_node_would_have_answered_is_answered(home: Broker) -> None:
    stolen(home, batch(1))
    find = Query(OWNER, 1, 7)
    assert home.say(find, OWNER) == [Send(SECOND, find)]
    (answer,) = [each for each in to(OWNER, home.say(gone(1), AGENT)) if not isinstance(each, Gone)]
    assert answer.is_queued  # type: ignore[attr-defined]


def test_task_that_was_cancelled_at_a_lost_node_does_not_come_back(home: Broker) -> None:
    stolen(home, batch(1), batch(2), batch(3))
    home.say(Cancel(OWNER, 1, 5), OWNER)
    home.say(CancelAnswer(OWNER, 1, 5, True), SECOND)
    home.say(Cancel(OWNER, 2), OWNER)  # nobody waits for it
    home.say(TaskLost(OWNER, (3,), (Loss("a"), Loss("b"), Loss("c"))), SECOND)
    home.say(gone(1), AGENT)
    assert home.queued() == []


def test_tasks_of_a_dead_worker_do_not_come_back(home: Broker) -> None:
    stolen(home, batch(1))
    home.say(WorkerDied(OWNER, "killed", ()), AGENT)
    home.say(gone(1), AGENT)
    assert home.queued() == []


def test_task_that_was_on_many_lost_nodes_fails_at_last(home: Broker) -> None:
    home.say(Tasks([batch(1)]), OWNER)
    failed: list[Message] = []
    for node in range(3, 20):
        home.say(up(node), AGENT)
        home.say(Steal(1), broker_name(node))
        failed = [each for each in to(OWNER, home.say(gone(node), AGENT)) if isinstance(each, TaskLost)]
        if failed:
            break
    (lost,) = failed
    assert isinstance(lost, TaskLost)
    assert len(lost.losses) == 12
    assert home.queued() == []


def test_late_comer_is_a_peer_and_knows_who_is_gone(home: Broker) -> None:
    home.say(up(7), AGENT)
    assert to(broker_name(7), home.say(Load(1, 0), broker_name(7))) == []
    assert to(broker_name(7), home.say(Request(1), OTHER)) == [Steal(1)]
    newcomer = Broker(broker_name(7))
    newcomer.say(replace(up(0, 2, 7), gone=(NodeIndex(1),)), AGENT)
    newcomer.say(Tasks([batch(1, FAR)]), FIRST)
    assert newcomer.queued() == []


def test_home_is_empty_when_all_is_done() -> None:
    home = Home()
    home.add(batch(1, count=3), SECOND)
    home.add(batch(1, ORIGIN), SECOND)
    assert home.strike(OWNER, (1, 2, 9)) == [9]
    assert home.place_of(OWNER, 3) == SECOND
    assert home.place_of(OWNER, 1) is None
    home.moved(Moved(OWNER, (1, 2, 3), THIRD, 5), SECOND)
    home.drop_owned(ORIGIN.__eq__)
    (again,) = home.lost([THIRD], "lost").batches
    assert (again.dropped, again.hops) == ((1, 2), 5)
    assert len(home) == 0
    assert Policy().broken == 60.0
