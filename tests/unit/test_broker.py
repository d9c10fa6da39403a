"""The broker's decisions, every message passed through the codec."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from scoop_hpc.broker.actions import Send
from scoop_hpc.broker.policy import Policy
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.errors import ProtocolError
from scoop_hpc.events import Event, Observers
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    Batch,
    Beat,
    BrokerUp,
    Bye,
    Cancel,
    CancelAnswer,
    Demand,
    Fault,
    Gone,
    LinkBroken,
    Load,
    Loss,
    Message,
    Moved,
    OutcomeLost,
    Peers,
    Query,
    QueryAnswer,
    Ready,
    Reference,
    Request,
    Results,
    Standing,
    Steal,
    Stop,
    TaskId,
    TaskLost,
    Tasks,
    Terms,
    Withdraw,
    WorkerDied,
)
from scoop_hpc.protocol.names import AGENT, ORIGIN, NodeIndex, ProcessName, WorkerName, broker_name, worker_name

NAME, PEER, OTHER = broker_name(0), broker_name(1), broker_name(2)
FIRST_NODE = NodeIndex(0)
SECOND, THIRD = worker_name(0, 1), worker_name(0, 2)
FAR = worker_name(1, 0)
POLICY = Policy()


def batch(serial: int, owner: WorkerName = ORIGIN) -> Batch:
    return Batch(owner, serial, [b"call"])


def bundle(serial: int, count: int) -> Batch:
    return Batch(ORIGIN, serial, [b"call"], count)


class Broker(BrokerState):
    def say(self, message: Message, sender: ProcessName) -> list[Send]:
        return self.handle(codec.decode(codec.encode(message)), sender)


@pytest.fixture
def broker() -> Broker:
    """A broker with two workers of its own, and two peers."""
    broker = Broker(NAME, takers=2)
    broker.say(Peers(tuple(BrokerUp(NodeIndex(node), ("a",)) for node in range(3))), AGENT)
    broker.say(Ready(), ORIGIN)
    broker.say(Ready(), SECOND)
    return broker


def stolen_by(broker: Broker, peer: ProcessName, *serials: int) -> None:
    """Let *peer* steal tasks of the origin."""
    broker.say(Tasks([batch(serial) for serial in serials]), ORIGIN)
    while broker.queue:
        broker.say(Steal(len(serials)), peer)


def to(name: ProcessName, sends: list[Send]) -> list[Message]:
    return [send.message for send in sends if send.to == name]


def test_broker_is_at_rest_when_nothing_waits_and_its_neighbours_know(broker: Broker) -> None:
    assert broker.is_at_rest
    broker.say(Tasks([batch(1)]), ORIGIN)
    assert not broker.is_at_rest
    broker.say(Request(2), SECOND)  # its neighbours believe that a task is here
    broker.tick(1.0)
    assert broker.is_at_rest
    broker.connection_broke(PEER, 2.0)
    assert not broker.is_at_rest


def test_task_goes_to_the_worker_that_waits(broker: Broker) -> None:
    broker.say(Request(1), SECOND)
    assert to(SECOND, broker.say(Tasks([batch(1)]), ORIGIN)) == [Tasks([batch(1)], answer=1)]


def test_task_waits_for_the_first_request(broker: Broker) -> None:
    assert to(SECOND, broker.say(Tasks([batch(1)]), ORIGIN)) == []
    assert to(SECOND, broker.say(Request(1), SECOND)) == [Tasks([batch(1)], answer=1)]


def test_oldest_task_first(broker: Broker) -> None:
    broker.say(Tasks([batch(1), batch(2)]), ORIGIN)
    assert to(SECOND, broker.say(Request(1), SECOND)) == [Tasks([batch(1)], answer=1)]


@pytest.mark.parametrize("are_many", [False, True])
def test_workers_take_what_tasks_have_submitted_first_if_much_of_the_program_s_waits(
    broker: Broker, are_many: bool
) -> None:
    of_program = list(range(1, 1 + POLICY.many + are_many))  # for one worker, as the origin does not ask
    of_tasks = [101, 102]
    broker.say(Tasks([batch(serial) for serial in of_program]), ORIGIN)
    broker.say(Tasks([batch(101, FAR)]), PEER)
    broker.say(Tasks([batch(102, SECOND)]), SECOND)
    sends = [send for _ in of_program + of_tasks for send in broker.say(Request(1), SECOND)]
    given = [each.serial for message in to(SECOND, sends) if isinstance(message, Tasks) for each in message.batches]
    assert given == (of_tasks + of_program if are_many else of_program + of_tasks)


def test_peers_take_the_oldest_whoever_has_submitted_it(broker: Broker) -> None:
    broker.say(Tasks([batch(1), batch(5)]), ORIGIN)
    broker.say(Tasks([batch(2, FAR), batch(3, FAR), batch(4, FAR)]), OTHER)
    (taken,) = (message for message in to(PEER, broker.say(Steal(2), PEER)) if isinstance(message, Tasks))
    assert [each.serial for each in taken.batches] == [1, 5]


def test_waiting_workers_share_the_queue_evenly(broker: Broker) -> None:
    broker.say(Request(64), ORIGIN)
    broker.say(Request(64), SECOND)
    sends = broker.say(Tasks([batch(n, FAR) for n in range(4)]), PEER)
    assert [len(message.batches) for name in (ORIGIN, SECOND) for message in to(name, sends)] == [2, 2]  # type: ignore[attr-defined]


def test_worker_that_asks_for_all_leaves_the_others_their_share(broker: Broker) -> None:
    broker.say(Ready(), THIRD)
    broker.say(Tasks([batch(n) for n in range(10)]), ORIGIN)
    (tasks,) = to(SECOND, broker.say(Request(100, idle=False), SECOND))
    assert isinstance(tasks, Tasks)
    assert [one.serial for one in tasks.batches] == [0, 1, 2, 3, 4]


def test_withdrawn_request_gets_nothing(broker: Broker) -> None:
    broker.say(Request(1), SECOND)
    broker.say(Withdraw(), SECOND)
    assert to(SECOND, broker.say(Tasks([batch(1)]), ORIGIN)) == []
    assert list(broker.queue) == [batch(1)]


def test_withdrawal_is_confirmed_after_what_was_sent_before(broker: Broker) -> None:
    broker.say(Request(1), SECOND)
    assert to(SECOND, broker.say(Tasks([batch(1), batch(2)]), ORIGIN)) == [Tasks([batch(1)], answer=1)]
    assert to(SECOND, broker.say(Withdraw(1, number=2), SECOND)) == [Tasks([], answer=2)]
    assert list(broker.queue) == [batch(2)]


def test_no_task_is_lost_or_doubled_among_many_requests(broker: Broker) -> None:
    given: list[int] = []
    for turn in range(100):
        sends = broker.say(Tasks([batch(3 * turn + n) for n in range(3)]), ORIGIN)
        sends += broker.say(Request(turn % 4) if turn % 4 else Withdraw(), SECOND)
        sends += broker.say(Steal(turn % 3), PEER)
        for send in sends:
            if isinstance(send.message, Tasks):
                given += [each.serial for each in send.message.batches]
    assert sorted(given + [each.serial for each in broker.queue]) == list(range(300))


def test_result_goes_straight_to_its_owner_here(broker: Broker) -> None:
    assert broker.say(Results([batch(1, SECOND)]), OTHER) == [Send(SECOND, Results([batch(1, SECOND)]))]


def test_result_for_another_node_goes_to_its_broker(broker: Broker) -> None:
    sends = broker.say(Results([batch(1, worker_name(2, 1)), batch(2, ORIGIN), batch(3, worker_name(2, 0))]), SECOND)
    assert to(OTHER, sends) == [Results([batch(1, worker_name(2, 1)), batch(3, worker_name(2, 0))])]
    assert to(ORIGIN, sends) == [Results([batch(2, ORIGIN)])]


def test_hungry_broker_steals_from_the_longest_queue(broker: Broker) -> None:
    broker.say(Load(2, 0), PEER)
    broker.say(Load(9, 0), OTHER)
    assert to(OTHER, broker.say(Request(1), SECOND)) == [Steal(1)]


def test_one_theft_at_a_time(broker: Broker) -> None:
    broker.say(Load(2, 0), PEER)
    broker.say(Request(1), SECOND)
    assert broker.say(Request(1), ORIGIN) == []  # nor is anybody told that two are idle now: the theft may suffice


def test_empty_handed_thief_tries_the_next_peer(broker: Broker) -> None:
    broker.say(Load(5, 0), PEER)
    broker.say(Load(4, 0), OTHER)
    broker.say(Request(1), SECOND)
    assert to(OTHER, broker.say(Tasks([]), PEER)) == [Steal(1)]


def test_thief_gets_a_stock_of_a_long_queue(broker: Broker) -> None:
    broker.say(Tasks([batch(serial) for serial in range(60)]), ORIGIN)
    (stolen,) = to(PEER, broker.say(Steal(1), PEER))
    assert isinstance(stolen, Tasks)
    assert len(stolen.batches) == 10  # one of three brokers, which gets half of its part at once


def test_victim_keeps_half(broker: Broker) -> None:
    broker.say(Tasks([batch(n) for n in range(4)]), ORIGIN)
    assert to(PEER, broker.say(Steal(64), PEER)) == [Tasks([replace(batch(n), hops=1) for n in (0, 1)])]


def test_thief_always_gets_an_answer(broker: Broker) -> None:
    assert to(PEER, broker.say(Steal(1), PEER)) == [Tasks([])]


def test_busy_worker_hears_once_that_others_wait(broker: Broker) -> None:
    assert to(ORIGIN, broker.say(Request(3), SECOND)) == [Demand(1, idle=1)]
    assert to(ORIGIN, broker.tick(0.0)) == []


def test_busy_worker_hears_again_when_its_tasks_were_not_enough(broker: Broker) -> None:
    broker.say(Request(1), SECOND)
    broker.say(Tasks([batch(1)]), ORIGIN)
    assert to(ORIGIN, broker.say(Request(1), SECOND)) == [Demand(1, idle=1)]


def test_busy_worker_hears_of_those_that_will_soon_be_idle(broker: Broker) -> None:
    assert to(ORIGIN, broker.say(Request(3, idle=False), SECOND)) == [Demand(1, idle=0)]
    assert to(ORIGIN, broker.say(Request(3), SECOND)) == [Demand(0, idle=1)]


def test_idle_workers_of_peers_make_tasks_wanted(broker: Broker) -> None:
    assert to(ORIGIN, broker.say(Load(0, 5), PEER)) == [Demand(5, idle=5)]


def test_busy_worker_hears_of_more_idle_workers_when_they_have_doubled(broker: Broker) -> None:
    counts = [to(ORIGIN, broker.say(Load(0, idle), PEER)) for idle in range(1, 9)]
    assert counts == [
        [Demand(1, idle=1)],
        [Demand(1, idle=1)],
        [],
        [Demand(2, idle=2)],
        [],
        [],
        [],
        [Demand(4, idle=4)],
    ]


def test_idle_come_before_those_that_ask_ahead(broker: Broker) -> None:
    broker.say(Request(1, idle=False), ORIGIN)
    broker.say(Request(1), SECOND)
    sends = broker.say(Tasks([batch(1, FAR), batch(2, FAR)]), PEER)
    assert [send.to for send in sends if isinstance(send.message, Tasks)] == [SECOND, ORIGIN]


def test_request_is_met_by_tasks_not_by_batches(broker: Broker) -> None:
    broker.say(Tasks([bundle(1, 10), bundle(11, 10), bundle(21, 10)]), ORIGIN)
    assert to(SECOND, broker.say(Request(15), SECOND)) == [Tasks([bundle(1, 10), bundle(11, 10)], answer=1)]


def test_queued_task_is_found_and_cancelled(broker: Broker) -> None:
    broker.say(Tasks([batch(1), batch(2)]), ORIGIN)
    assert broker.say(Query(ORIGIN, 2, 1), ORIGIN) == [Send(ORIGIN, QueryAnswer(ORIGIN, 2, 1, True))]
    assert broker.say(Cancel(ORIGIN, 2, 2), ORIGIN) == [Send(ORIGIN, CancelAnswer(ORIGIN, 2, 2, True))]
    assert list(broker.queue) == [batch(1)]


def test_bundle_loses_only_what_is_cancelled(broker: Broker) -> None:
    broker.say(Tasks([bundle(1, 3)]), ORIGIN)
    assert to(ORIGIN, broker.say(Cancel(ORIGIN, 2, 1), ORIGIN)) == [CancelAnswer(ORIGIN, 2, 1, True)]
    assert to(SECOND, broker.say(Request(9), SECOND)) == [Tasks([Batch(ORIGIN, 1, [b"call"], 3, (2,))], answer=1)]


def test_bundle_that_is_cancelled_altogether_is_gone(broker: Broker) -> None:
    broker.say(Tasks([bundle(1, 3)]), ORIGIN)
    for serial in (3, 1, 2):
        broker.say(Cancel(ORIGIN, serial, serial), ORIGIN)
    assert len(broker.queue) == 0


def test_worker_is_asked_about_what_it_was_given(broker: Broker) -> None:
    broker.say(Request(2), SECOND)
    broker.say(Tasks([batch(serial) for serial in (1, 2, 3, 4)]), ORIGIN)
    find = Cancel(ORIGIN, 2, 1)
    assert broker.say(find, ORIGIN) == [Send(SECOND, find)]
    assert broker.say(CancelAnswer(ORIGIN, 2, 1, True), SECOND) == [Send(ORIGIN, CancelAnswer(ORIGIN, 2, 1, True))]


def test_task_that_its_worker_has_given_back_is_found_in_the_queue(broker: Broker) -> None:
    broker.say(Request(1), SECOND)
    broker.say(Tasks([batch(1)]), ORIGIN)
    broker.say(Cancel(ORIGIN, 1, 1), ORIGIN)
    broker.say(Tasks([batch(1)]), SECOND)
    assert broker.say(CancelAnswer(ORIGIN, 1, 1, False), SECOND) == [Send(ORIGIN, CancelAnswer(ORIGIN, 1, 1, True))]
    assert len(broker.queue) == 0


def test_what_a_worker_gives_back_is_first_again(broker: Broker) -> None:
    broker.say(Tasks([batch(3), batch(4)]), ORIGIN)
    broker.say(Tasks([batch(1), batch(2)]), SECOND)
    assert list(broker.queue) == [batch(serial) for serial in (1, 2, 3, 4)]


def test_worker_that_has_begun_all_answers_by_its_request(broker: Broker) -> None:
    broker.say(Request(1), SECOND)
    broker.say(Tasks([batch(1)]), ORIGIN)
    broker.say(Cancel(ORIGIN, 1, 1), ORIGIN)
    answer = CancelAnswer(ORIGIN, 1, 1, False)
    assert to(ORIGIN, broker.say(Request(1, idle=False, begun=1), SECOND))[:1] == [answer]
    broker = Broker(NAME)
    broker.say(Ready(), ORIGIN)
    assert broker.say(Cancel(ORIGIN, 1, 2), ORIGIN) == [Send(ORIGIN, CancelAnswer(ORIGIN, 1, 2, False))]


def test_peer_that_has_a_task_is_asked_for_it(broker: Broker) -> None:
    stolen_by(broker, PEER, 7)
    find = Cancel(ORIGIN, 7, 1)
    assert broker.say(find, ORIGIN) == [Send(PEER, find)]
    answer = CancelAnswer(ORIGIN, 7, 1, True)
    assert broker.say(answer, PEER) == [Send(ORIGIN, answer)]
    assert broker.say(Gone(nodes=(NodeIndex(1),)), AGENT) != []
    assert not broker.queue
    assert not broker.risky


def test_task_that_was_sent_on_is_followed(broker: Broker) -> None:
    stolen_by(broker, PEER, 7)
    broker.say(Query(ORIGIN, 7, 1), ORIGIN)
    broker.say(Moved(ORIGIN, (7,), OTHER, 2), PEER)
    assert broker.say(QueryAnswer(ORIGIN, 7, 1, False), PEER) == [Send(OTHER, Query(ORIGIN, 7, 1))]
    answer = QueryAnswer(ORIGIN, 7, 1, False)
    assert broker.say(answer, OTHER) == [Send(ORIGIN, answer)]


def test_task_that_is_nowhere_is_not_found(broker: Broker) -> None:
    assert broker.say(Cancel(ORIGIN, 7, 1), ORIGIN) == [Send(ORIGIN, CancelAnswer(ORIGIN, 7, 1, False))]


def test_peer_answers_a_peer(broker: Broker) -> None:
    assert broker.say(Cancel(FAR, 7, 1), PEER) == [Send(PEER, CancelAnswer(FAR, 7, 1, False))]


def test_nobody_is_told_what_nobody_waits_for(broker: Broker) -> None:
    broker.say(Tasks([batch(1)]), ORIGIN)
    assert broker.say(Cancel(ORIGIN, 1), ORIGIN) == []
    assert len(broker.queue) == 0


def test_broker_alone_tells_nobody() -> None:
    broker = Broker(NAME)
    broker.say(Ready(), ORIGIN)
    assert broker.say(Request(1), ORIGIN) == []


def test_fault_goes_to_the_agent(broker: Broker) -> None:
    assert broker.say(Fault("no", 2), SECOND) == [Send(AGENT, Fault("no", 2))]


def test_stop_goes_to_every_worker(broker: Broker) -> None:
    assert broker.say(Stop(), AGENT) == [Send(ORIGIN, Stop()), Send(SECOND, Stop())]


def test_foreign_message_is_an_error(broker: Broker) -> None:
    with pytest.raises(ProtocolError, match="Bye"):
        broker.say(Bye(), SECOND)


def test_two_brokers_hand_all_tasks_to_idle_workers() -> None:
    brokers: dict[ProcessName, Broker] = {name: Broker(name) for name in (NAME, PEER)}
    inbox: list[tuple[ProcessName, Message, ProcessName]] = []
    ran: list[int] = []

    def say(name: ProcessName, message: Message, sender: ProcessName) -> None:
        for send in brokers[name].say(message, sender):
            if send.to in brokers:
                inbox.append((send.to, send.message, name))
            elif isinstance(send.message, Tasks):
                ran.extend(each.serial for each in send.message.batches)
                inbox.append((name, Request(1), send.to))

    for name in brokers:
        say(name, Peers(tuple(BrokerUp(NodeIndex(node), ("a",)) for node in range(2))), AGENT)
    say(NAME, Ready(), ORIGIN)
    say(PEER, Ready(), FAR)
    say(PEER, Request(1), FAR)
    say(NAME, Tasks([batch(n) for n in range(20)]), ORIGIN)
    while inbox:
        say(*inbox.pop(0))
    assert sorted(ran) == list(range(20))


def test_agent_that_asks_whether_the_broker_lives_gets_an_answer(broker: Broker) -> None:
    assert broker.say(Beat(), AGENT) == [Send(AGENT, Standing(0, 0, 0, 0))]
    with pytest.raises(ProtocolError, match="Beat"):
        broker.say(Beat(), SECOND)


def test_peers_hear_at_once_and_once_of_work_and_of_idle_workers(broker: Broker) -> None:
    sends = broker.say(Tasks([batch(1)]), ORIGIN)
    assert to(PEER, sends) == to(OTHER, sends) == [Load(1, 0)]
    assert broker.say(Tasks([batch(2)]), ORIGIN) == []
    assert broker.tick(0.0) == [Send(peer, Load(2, 0)) for peer in (PEER, OTHER)]
    assert broker.tick(1.0) == []


def test_nobody_is_told_of_anything_between_ticks_that_is_not_urgent(broker: Broker) -> None:
    broker.say(Tasks([batch(1)]), ORIGIN)
    broker.tick(10.0)
    broker.say(Request(1), SECOND)
    assert broker.tick(10.0 + POLICY.tick / 2) == []
    assert to(PEER, broker.tick(10.0 + POLICY.tick)) == [Load(0, 0)]


def test_broken_connection_is_told_of_after_its_grace_and_again(broker: Broker) -> None:
    broker.connection_broke(PEER, 10.0)
    broker.connection_broke(PEER, 12.0)  # made again in vain
    assert broker.tick(10.0 + POLICY.broken) == []
    assert to(AGENT, broker.tick(10.5 + POLICY.broken)) == [LinkBroken(PEER)]
    assert broker.tick(11.0 + POLICY.broken) == []
    again = 10.5 + POLICY.broken + POLICY.broken_again
    assert to(AGENT, broker.tick(again + 0.5)) == [LinkBroken(PEER)]
    broker.connection_made(PEER)
    assert broker.tick(again + 100.0) == []


def test_two_cancels_that_want_no_answer_are_not_taken_for_one(broker: Broker) -> None:
    for serial in (1, 2):
        broker.say(Request(1), SECOND)
        broker.say(Tasks([batch(serial, FAR)]), PEER)
    for serial in (1, 2):
        broker.say(Cancel(FAR, serial), PEER)
    for serial in (1, 2):  # the worker has given them back before they were begun
        broker.say(Tasks([batch(serial, FAR)]), SECOND)
        broker.say(CancelAnswer(FAR, serial, None, False), SECOND)
    assert len(broker.queue) == 0


def test_observers_hear_of_workers_peers_and_thefts() -> None:
    told: list[Event] = []
    broker = Broker(NAME, observers=Observers([told.append]))
    broker.say(Peers(tuple(BrokerUp(NodeIndex(node), ("a",)) for node in range(3))), AGENT)
    broker.say(Ready(), ORIGIN)
    broker.say(Tasks([Batch(FAR, 1, [b"call"], 3)]), PEER)
    broker.say(Tasks([]), PEER)
    broker.say(Steal(9), OTHER)
    assert [str(event) for event in told] == [
        "broker 0 knows 2 peers",
        "worker 0.0 is ready",
        "broker 0 stole 3 tasks from broker 1",
        "broker 0 gave 3 tasks to broker 2",
    ]


def test_task_that_comes_back_is_queued_unless_it_was_queued_again_meanwhile(broker: Broker) -> None:
    broker.say(Tasks([bundle(1, 2)]), ORIGIN)
    (stolen,) = to(PEER, broker.say(Steal(1), PEER))
    assert isinstance(stolen, Tasks)
    broker.say(Moved(ORIGIN, (2,), OTHER, 2), PEER)
    broker.say(Gone(nodes=(NodeIndex(1),), cause="it burnt"), AGENT)  # what it had, and had sent on, is queued again
    assert sum(each.tasks() for each in broker.risky) == 2
    broker.say(Tasks([replace(each, hops=3) for each in stolen.batches]), OTHER)  # it had got there all the same
    assert not broker.queue


@pytest.mark.parametrize("newer_first", [True, False])
def test_of_two_copies_that_wait_the_one_that_knows_of_a_loss_is_kept(broker: Broker, newer_first: bool) -> None:
    broker.say(Gone(nodes=(NodeIndex(2),), cause="it burnt"), AGENT)
    older = Batch(FAR, 4, [b"call"], 3, hops=2)
    newer = Batch(FAR, 5, [b"call"], losses=(Loss("node b was lost", waited=True),), hops=1)
    for batch in (newer, older) if newer_first else (older, newer):
        broker.say(Tasks([batch]), PEER)
    assert queued(broker) == {4: 0, 5: 1, 6: 0}
    again = replace(newer, losses=(*newer.losses, Loss("node c was lost", waited=True)))
    broker.say(Tasks([again]), PEER)
    broker.say(Tasks([newer]), PEER)
    assert queued(broker) == {4: 0, 5: 2, 6: 0}
    broker.say(Tasks([replace(older, losses=newer.losses)]), PEER)
    assert queued(broker) == {4: 1, 5: 2, 6: 1}


# workers that die


def died(name: WorkerName, *begun: int, owner: WorkerName = ORIGIN, too_long: bool = False) -> WorkerDied:
    tasks = tuple(TaskId(owner, serial) for serial in begun)
    return WorkerDied(name, f"{name} died", tasks, tasks if too_long else (), is_replaced=True)


def give(broker: Broker, *batches: Batch, worker: WorkerName = SECOND) -> None:
    """Let *worker* have these batches, and nothing else."""
    broker.say(Request(1000), worker)
    assert to(worker, broker.say(Tasks(list(batches)), ORIGIN))
    while broker.queue:
        broker.say(Request(1000), worker)


def losses(sends: list[Send]) -> list[TaskLost]:
    return [send.message for send in sends if isinstance(send.message, TaskLost)]


def queued(broker: Broker) -> dict[int, int]:
    """Return the losses of each task that waits, by its serial."""
    return {
        serial: len(batch.losses)
        for queue in (broker.queue, broker.risky)
        for batch in queue
        for serial in range(batch.serial, batch.serial + batch.count)
        if serial not in batch.dropped
    }


@pytest.fixture
def node() -> Broker:
    """A broker with three workers, the origin among them, and no peers."""
    node = Broker(NAME, takers=2)
    node.say(Peers((BrokerUp(NodeIndex(0), ("a",)),)), AGENT)
    for name in (ORIGIN, SECOND, THIRD):
        node.say(Ready(), name)
    return node


def test_tasks_of_a_worker_that_dies_are_queued_again_and_what_it_had_begun_has_a_loss(node: Broker) -> None:
    give(node, bundle(1, 4))
    node.say(died(SECOND, 2), AGENT)
    assert queued(node) == {1: 0, 2: 1, 3: 0, 4: 0}


def test_what_is_done_given_back_or_cancelled_is_not_queued_again(node: Broker) -> None:
    give(node, bundle(1, 4))
    node.say(Results([Batch(ORIGIN, 0, [b"outcome"], done=(1,))]), SECOND)
    node.say(Tasks([batch(2)]), SECOND)
    node.say(Cancel(ORIGIN, 3, None), ORIGIN)
    node.say(CancelAnswer(ORIGIN, 3, None, True), SECOND)
    node.say(died(SECOND), AGENT)
    assert queued(node) == {2: 0, 4: 0}


def test_origin_gets_no_task_that_has_cost_a_worker(node: Broker) -> None:
    give(node, batch(1))
    node.say(Request(1), ORIGIN)
    assert not any(isinstance(message, Tasks) for message in to(ORIGIN, node.say(died(SECOND, 1), AGENT)))
    (tasks,) = [message for message in to(THIRD, node.say(Request(1), THIRD)) if isinstance(message, Tasks)]
    assert [(each.serial, len(each.losses)) for each in tasks.batches] == [(1, 1)]


def test_task_fails_after_its_last_attempt_and_its_owner_learns_why(node: Broker) -> None:
    give(node, msgspec.structs.replace(batch(1), terms=Terms(attempts=2)))
    node.say(Request(1), THIRD)
    node.say(died(SECOND, 1), AGENT)
    (lost,) = losses(node.say(died(THIRD, 1), AGENT))
    assert lost == TaskLost(ORIGIN, (1,), (Loss("0.1 died", node=FIRST_NODE), Loss("0.2 died", node=FIRST_NODE)))
    assert queued(node) == {}


def test_task_that_only_waits_may_lose_more_attempts(node: Broker) -> None:
    give(node, msgspec.structs.replace(batch(1), terms=Terms(attempts=1)))
    names = iter((SECOND, THIRD, *(worker_name(0, index) for index in range(3, 9))))
    for attempt in range(3):
        name = next(names)
        node.say(Ready(), worker_name(0, 3 + attempt))
        node.say(WorkerDied(name, "died", (), (), True, (TaskId(ORIGIN, 1),)), AGENT)
        assert queued(node) == {1: attempt + 1}
        node.say(Request(1), worker_name(0, 2 + attempt))
    (lost,) = losses(node.say(WorkerDied(next(names), "died", (), (), True, (TaskId(ORIGIN, 1),)), AGENT))
    assert len(lost.losses) == 4


def test_risky_task_is_not_for_the_worker_that_waits_for_it(node: Broker) -> None:
    risky = msgspec.structs.replace(batch(1, owner=SECOND), terms=Terms(time_limit=1.0))
    node.say(Request(1), SECOND)
    node.say(Tasks([risky]), SECOND)
    assert queued(node) == {1: 0}
    (tasks,) = [message for message in to(THIRD, node.say(Request(1), THIRD)) if isinstance(message, Tasks)]
    assert [each.serial for each in tasks.batches] == [1]


def test_risky_task_is_for_the_worker_that_waits_for_it_when_nobody_else_has_taken_one_for_a_while(
    broker: Broker,
) -> None:
    risky = msgspec.structs.replace(batch(1, owner=SECOND), terms=Terms(time_limit=1.0))
    broker.say(Request(1), SECOND)
    broker.say(Tasks([risky]), SECOND)
    sends = [to(SECOND, broker.tick(float(tick))) for tick in range(POLICY.risky_ticks + 1)]
    assert [bool(each) for each in sends] == [False] * POLICY.risky_ticks + [True]
    assert queued(broker) == {}


def test_limit_that_was_exceeded_counts_apart_from_deaths(node: Broker) -> None:
    give(node, msgspec.structs.replace(batch(1), terms=Terms(attempts=1, time_limit=2.0, in_time=2)))
    node.say(Request(1), THIRD)
    assert losses(node.say(died(SECOND, 1, too_long=True), AGENT)) == []
    (lost,) = losses(node.say(died(THIRD, 1, too_long=True), AGENT))
    assert lost.time_limit == 2.0


def test_what_the_dead_have_said_before_is_not_heeded_any_more(node: Broker) -> None:
    give(node, batch(1))
    node.say(died(SECOND, 1), AGENT)
    assert node.say(Results([Batch(ORIGIN, 0, [b"outcome"], done=(1,))]), SECOND) == []
    assert node.say(Request(1), SECOND) == []
    assert queued(node) == {1: 1}


def test_tasks_of_an_owner_that_is_gone_are_dropped_wherever_they_wait(node: Broker) -> None:
    give(node, batch(1, owner=THIRD))
    node.say(Tasks([batch(2, owner=THIRD), batch(3)]), ORIGIN)
    assert Gone((THIRD,)) in to(SECOND, node.say(died(THIRD), AGENT))
    node.say(Tasks([batch(4, owner=THIRD)]), SECOND)
    assert queued(node) == {3: 0}
    node.say(died(SECOND, 1, owner=THIRD), AGENT)
    assert queued(node) == {3: 0}


def test_question_to_a_worker_that_dies_is_answered_in_its_place(node: Broker) -> None:
    give(node, batch(1))
    assert to(SECOND, node.say(Cancel(ORIGIN, 1, 7), ORIGIN)) == [Cancel(ORIGIN, 1, 7)]
    assert to(ORIGIN, node.say(died(SECOND), AGENT)) == [Gone((SECOND,)), CancelAnswer(ORIGIN, 1, 7, True)]
    assert queued(node) == {}


def test_outcome_that_went_with_the_memory_of_a_dead_worker_is_made_again(node: Broker) -> None:
    give(node, batch(1), batch(2))
    node.say(Results([Batch(ORIGIN, 0, [Reference(b"there")], done=(1, 2))]), SECOND)
    node.say(died(SECOND), AGENT)
    assert queued(node) == {}
    node.say(OutcomeLost(ORIGIN, (1,)), ORIGIN)
    assert queued(node) == {1: 0}
    for tick in range(100):
        node.tick(float(tick))
    (lost,) = to(ORIGIN, node.say(OutcomeLost(ORIGIN, (2,)), ORIGIN))
    assert isinstance(lost, TaskLost)


def test_outcome_that_went_with_the_memory_of_a_peers_worker_is_made_again(broker: Broker) -> None:
    stolen_by(broker, PEER, 1, 2, 3)
    there = Reference(b"there")
    broker.say(Results([Batch(ORIGIN, 0, [there], done=(1, 2)), Batch(ORIGIN, 0, [there], done=(3,))]), PEER)
    broker.say(OutcomeLost(ORIGIN, (2, 3)), ORIGIN)
    assert sorted(each.serial for each in broker.queue) == [2, 3]
    for tick in range(100):
        broker.tick(float(tick))
    (unknown,) = to(ORIGIN, broker.say(OutcomeLost(ORIGIN, (1,)), ORIGIN))
    assert isinstance(unknown, TaskLost)


def test_what_a_worker_has_submitted_itself_is_not_in_its_ledger(node: Broker) -> None:
    give(node, batch(1, owner=SECOND), batch(2))
    node.say(Results([Batch(ORIGIN, 0, [b"outcome"], done=(2,))]), SECOND)  # of the other it says nothing
    assert not node.workers[SECOND].ledger


def risky(serial: int, node: int) -> Batch:
    """Return a task of another node in which a worker of a *node* has died."""
    return replace(batch(serial, owner=worker_name(2, 1)), losses=(Loss("died", node=NodeIndex(node)),))


def stolen(broker: Broker, steal: Steal, peer: ProcessName = PEER) -> list[int]:
    """Return the tasks that a *peer* gets."""
    (tasks,) = [message for message in to(peer, broker.say(steal, peer)) if isinstance(message, Tasks)]
    return [each.serial for each in tasks.batches]


def test_peer_whose_origin_alone_is_hungry_gets_no_task_that_has_cost_a_worker(broker: Broker) -> None:
    broker.say(Tasks([risky(1, 2)]), OTHER)
    assert stolen(broker, Steal(5, for_origin=True)) == []
    assert stolen(broker, Steal(5)) == [1]


def test_task_in_which_a_worker_has_died_is_tried_on_another_node_next(broker: Broker) -> None:
    broker.say(Load(0, 3), OTHER)
    give(broker, batch(1), batch(2), batch(3))
    sends = broker.say(died(SECOND, 2), AGENT)
    (sent,) = [message for message in to(OTHER, sends) if isinstance(message, Tasks)]
    assert [(each.serial, each.losses[0].node) for each in sent.batches] == [(2, 0)]
    assert queued(broker) == {1: 0, 3: 0}
    assert to(OTHER, broker.say(Cancel(ORIGIN, 2, 7), ORIGIN)) == [Cancel(ORIGIN, 2, 7)]  # it is known to be there


def test_task_of_another_node_that_is_sent_to_a_third_is_told_to_its_home(broker: Broker) -> None:
    broker.say(Load(0, 3), OTHER)
    give(broker, replace(batch(1, owner=FAR), hops=1))
    sends = broker.say(died(SECOND, 1, owner=FAR), AGENT)
    (moved,) = [message for message in to(PEER, sends) if isinstance(message, Moved)]
    assert (moved.owner, moved.serials, moved.to, moved.hops, len(moved.losses)) == (FAR, (1,), OTHER, 2, 1)


def test_task_that_was_too_long_or_only_waited_stays(broker: Broker) -> None:
    give(broker, replace(batch(1), terms=Terms(time_limit=1.0, in_time=2)), batch(2))
    waited = WorkerDied(SECOND, "died", (TaskId(ORIGIN, 1),), (TaskId(ORIGIN, 1),), True, (TaskId(ORIGIN, 2),))
    sends = broker.say(waited, AGENT)
    assert not [send for send in sends if send.to in (PEER, OTHER) and isinstance(send.message, Tasks)]
    assert queued(broker) == {1: 1, 2: 1}


def test_node_does_not_steal_back_what_its_worker_has_died_in_unless_nobody_else_takes_it(broker: Broker) -> None:
    broker.say(Tasks([risky(1, 1), risky(2, 2), risky(5, 1), risky(6, 1)]), PEER)
    broker.say(Tasks([batch(3), batch(4)]), ORIGIN)
    assert stolen(broker, Steal(5)) == [2, 3]
    assert stolen(broker, Steal(5)) == [4]
    assert stolen(broker, Steal(5)) == []
    for tick in range(POLICY.risky_ticks + 1):
        broker.tick(float(tick))
    assert stolen(broker, Steal(5)) + stolen(broker, Steal(5)) == [1, 5, 6]  # the rest at once


@pytest.fixture
def relay() -> Broker:
    """A broker without workers that are ready, whose neighbours in a tree are two others."""
    relay = Broker(NAME, Policy(all_direct=2, branches=2))
    relay.say(Peers(tuple(BrokerUp(NodeIndex(node), ("a",)) for node in range(3))), AGENT)
    return relay


def test_tasks_that_came_for_neighbours_go_on_at_once_and_not_back(relay: Broker) -> None:
    relay.say(Load(0, 2), PEER)
    relay.say(Load(0, 1), OTHER)
    assert to(OTHER, relay.say(Load(3, 1), OTHER)) == [Steal(2)]
    sends = relay.say(Tasks([batch(1, FAR), batch(2, FAR), batch(3, FAR)]), OTHER)
    assert to(PEER, sends)[0] == Tasks([replace(batch(n, FAR), hops=1) for n in (1, 2)])
    assert [each.serial for each in relay.queue] == [3]  # a stock, for whoever asks
    assert Tasks([]) not in to(OTHER, relay.say(Steal(1), OTHER))


def test_tasks_for_which_nobody_waits_stay_in_the_queue(relay: Broker) -> None:
    relay.say(Load(0, 1), OTHER)
    sends = relay.say(Tasks([batch(1, FAR)]), OTHER)
    assert [each for each in sends if isinstance(each.message, Tasks)] == []
    assert len(relay.queue) == 1


@pytest.mark.parametrize(("tasks", "few", "many", "above"), [(9, 1, 4, 4), (3, 0, 3, 0)], ids=["for all", "for some"])
def test_tasks_that_came_for_several_neighbours_are_for_those_below_first(
    tasks: int, few: int, many: int, above: int
) -> None:
    relay = Broker(PEER, Policy(all_direct=2, branches=3))  # below broker 0, with three others below itself
    relay.say(Peers(tuple(BrokerUp(NodeIndex(node), ("a",)) for node in range(7))), AGENT)
    smaller, larger, giver = map(broker_name, (4, 5, 6))
    for peer, idle in ((NAME, 1000), (smaller, 1), (larger, 4)):
        relay.say(Load(0, idle), peer)
    relay.say(Load(9, 0), giver)
    sends = relay.say(Tasks([batch(serial) for serial in range(tasks)]), giver)
    passed = [
        sum(len(message.batches) for message in to(peer, sends) if type(message) is Tasks)
        for peer in (smaller, larger, NAME)
    ]
    assert passed == [few, many, above]


def test_tasks_that_came_for_several_neighbours_are_shared_among_them() -> None:
    relay = Broker(PEER, Policy(all_direct=2, branches=3))
    relay.say(Peers(tuple(BrokerUp(NodeIndex(node), ("a",)) for node in range(7))), AGENT)
    giver, *others = map(broker_name, (6, 4, 5))
    for peer in others:
        relay.say(Load(0, 64), peer)
    relay.say(Load(99, 0), giver)
    sends = relay.say(Tasks([batch(serial) for serial in range(20)]), giver)
    passed = [[len(message.batches) for message in to(peer, sends) if type(message) is Tasks] for peer in others]
    assert passed == [[10], [10]]


@pytest.mark.parametrize(("all_direct", "given"), [(2, 10), (8, 5)], ids=["in a tree", "where all tell all"])
def test_thief_that_asks_for_many_workers_gets_the_part_of_these_in_a_tree(all_direct: int, given: int) -> None:
    broker = Broker(NAME, Policy(all_direct=all_direct), takers=1)
    broker.say(Peers(tuple(BrokerUp(NodeIndex(node), ("a",)) for node in range(3))), AGENT)
    broker.say(Ready(), ORIGIN)
    broker.say(Tasks([batch(serial) for serial in range(10)]), ORIGIN)
    sends = broker.say(Steal(19), PEER)
    assert [len(message.batches) for message in to(PEER, sends) if type(message) is Tasks] == [given]
