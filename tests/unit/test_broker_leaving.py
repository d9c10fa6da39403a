"""The broker's decisions when nodes leave: its own, or another."""

from __future__ import annotations

import pytest
from test_broker import Broker, batch

from scoop_hpc.broker.actions import Send
from scoop_hpc.protocol.messages import (
    Batch,
    BrokerUp,
    Demand,
    Gone,
    Load,
    Message,
    Moved,
    Peers,
    Ready,
    Request,
    Results,
    RunSize,
    Steal,
    Tasks,
)
from scoop_hpc.protocol.names import AGENT, ORIGIN, NodeIndex, ProcessName, WorkerName, broker_name, worker_name

HOME, OWN, OTHER = broker_name(0), broker_name(1), broker_name(2)
WORKER, SECOND = worker_name(1, 0), worker_name(1, 1)
LEAVES = Peers((), leaving=(NodeIndex(1),))
ALL = Demand(2**30, 2**30)


def up(node: int) -> BrokerUp:
    return BrokerUp(NodeIndex(node), ("a",), 2)


@pytest.fixture
def broker() -> Broker:
    """A broker beside the first one, with two workers, and two peers."""
    broker = Broker(OWN, takers=2)
    broker.say(Peers(tuple(map(up, range(3)))), AGENT)
    broker.say(Ready(), WORKER)
    broker.say(Ready(), SECOND)
    return broker


def done(serial: int, owner: WorkerName = ORIGIN) -> Batch:
    return Batch(owner, serial, [b"outcome"], done=(serial,))


def to(sends: list[Send], name: ProcessName) -> list[Message]:
    return [send.message for send in sends if send.to == name]


def test_node_that_leaves_hands_back_what_waits_and_asks_its_workers_for_what_has_not_begun(broker: Broker) -> None:
    broker.say(Load(3, 0), OTHER)
    broker.say(Request(1), WORKER)  # it steals
    broker.say(Tasks([batch(1, worker_name(2, 0)), batch(2), batch(3, worker_name(2, 0))]), OTHER)
    sends = broker.say(LEAVES, AGENT)
    assert to(sends, WORKER) == [ALL, RunSize(4)] or to(sends, WORKER) == [RunSize(4), ALL]
    (tasks,) = (message for message in to(sends, HOME) if isinstance(message, Tasks))
    assert [(each.owner, each.serial, each.hops) for each in tasks.batches] == [
        (ORIGIN, 2, 1),
        (worker_name(2, 0), 3, 1),
    ]
    assert to(sends, OTHER) == [Moved(worker_name(2, 0), (3,), HOME, 1)]
    back = broker.say(Tasks([batch(1)]), WORKER)
    assert [each.serial for each in to(back, HOME)[0].batches] == [1]  # type: ignore[attr-defined]


def test_node_that_leaves_is_drained_when_its_workers_are_idle_and_nothing_of_theirs_is_elsewhere(
    broker: Broker,
) -> None:
    broker.say(Load(3, 0), HOME)
    broker.say(Request(1), WORKER)
    broker.say(Tasks([batch(1)]), HOME)
    broker.say(Request(1), SECOND)
    broker.say(Tasks([]), HOME)
    broker.say(LEAVES, AGENT)
    assert not broker.is_drained  # worker 0 has a task
    sends = broker.say(Tasks([batch(1, WORKER)]), WORKER)  # and submits one
    assert [type(message) for message in to(sends, HOME)] == [Tasks]
    broker.say(Results([done(1)], Request(1, 2)), WORKER)
    assert not broker.is_drained  # what it has submitted is away
    broker.say(Results([done(1, WORKER)]), HOME)
    assert broker.is_drained


def test_node_that_leaves_waits_for_what_it_has_asked_for(broker: Broker) -> None:
    broker.say(Load(3, 0), OTHER)
    broker.say(Request(1), WORKER)
    broker.say(Request(1), SECOND)
    broker.say(LEAVES, AGENT)
    assert not broker.is_drained
    sends = broker.say(Tasks([batch(1)]), OTHER)
    assert [each.serial for each in to(sends, HOME)[0].batches] == [1]  # type: ignore[attr-defined]
    assert broker.is_drained


def test_node_that_leaves_neither_steals_nor_tells_of_idle_workers(broker: Broker) -> None:
    broker.say(LEAVES, AGENT)
    broker.say(Load(9, 0), OTHER)
    assert broker.say(Request(1), WORKER) == []
    assert broker.tick(1.0) == []
    assert broker.say(Steal(3), OTHER) == [Send(OTHER, Tasks([]))]


def test_others_do_not_count_on_a_node_that_leaves() -> None:
    broker = Broker(HOME, takers=2)
    broker.say(Peers(tuple(map(up, range(3)))), AGENT)
    broker.say(Ready(), worker_name(0, 1))
    broker.say(Load(5, 2), OWN)
    assert list(broker.neighbours) == [OWN, OTHER]
    broker.say(LEAVES, AGENT)
    assert list(broker.neighbours) == [OTHER]
    assert broker.neighbours.idle == 0
    assert broker.say(Request(1), worker_name(0, 1)) == [
        Send(OTHER, Load(0, 1))
    ]  # no Steal: node 1 has some, and leaves
    broker.say(Tasks([batch(1)]), OWN)  # it hands them back
    assert broker.knows(OWN)


def test_what_a_node_has_sent_on_that_has_left_is_not_queued_again() -> None:
    home = Broker(HOME, takers=1)
    home.say(Peers(tuple(map(up, range(3)))), AGENT)
    home.say(Ready(), ORIGIN)
    home.say(Tasks([batch(1), batch(2)]), ORIGIN)
    home.say(Steal(2), OWN)
    home.say(Moved(ORIGIN, (1,), OTHER, 2), OWN)
    sends = home.say(Gone(cause="node n2 has left", left=(NodeIndex(1),)), AGENT)
    assert not any(isinstance(send.message, Tasks) for send in sends)
    assert len(home.queue) == 1  # what did not leave in the first place
    assert not home.knows(OWN)
    late = home.say(Moved(ORIGIN, (1,), OWN, 1), OTHER)  # of before
    assert late == []
    assert len(home.queue) == 1


def test_workers_are_told_how_many_they_are_when_that_changes() -> None:
    broker = Broker(HOME, takers=2)
    broker.say(Peers(tuple(map(up, range(2)))), AGENT)  # so many as they were told at their start
    worker = worker_name(0, 1)
    assert broker.say(Ready(), worker) == [Send(worker, RunSize(4))]
    assert Send(worker, RunSize(6)) in broker.say(Peers((up(2),)), AGENT)
    assert Send(worker, RunSize(4)) in broker.say(Peers((), leaving=(NodeIndex(2),)), AGENT)
    assert not any(type(send.message) is RunSize for send in broker.say(Gone(left=(NodeIndex(2),)), AGENT))
    assert Send(worker, RunSize(2)) in broker.say(Gone(nodes=(NodeIndex(1),)), AGENT)
