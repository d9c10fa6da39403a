"""The broker's decisions, every message passed through the codec."""

from __future__ import annotations

import pytest

from scoop_hpc.broker.state import META, BrokerState, Send
from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    Batch,
    BrokerUp,
    Bye,
    Demand,
    Fault,
    Find,
    Found,
    Load,
    Message,
    Peers,
    Ready,
    Request,
    Results,
    Steal,
    Stop,
    Tasks,
)
from scoop_hpc.protocol.names import AGENT


def batch(serial: int, owner: str = "0.0") -> Batch:
    return Batch(owner, serial, [b"call"])


def bundle(serial: int, count: int) -> Batch:
    return Batch("0.0", serial, [b"call"], count)


class Broker(BrokerState):
    def say(self, message: Message, sender: str) -> list[Send]:
        return self.handle(codec.decode(codec.encode(message)), sender)


@pytest.fixture
def broker() -> Broker:
    """A broker with two workers of its own, and two peers."""
    broker = Broker("0")
    broker.say(Peers(tuple(BrokerUp(node, ("a",), ("b",)) for node in range(3))), AGENT)
    broker.say(Ready(), "0.0")
    broker.say(Ready(), "0.1")
    return broker


def to(name: str, sends: list[Send]) -> list[Message]:
    return [send.message for send in sends if send.to == name]


def test_task_goes_to_the_worker_that_waits(broker: Broker) -> None:
    broker.say(Request(1), "0.1")
    assert to("0.1", broker.say(Tasks([batch(1)]), "0.0")) == [Tasks([batch(1)])]


def test_task_waits_for_the_first_request(broker: Broker) -> None:
    assert to("0.1", broker.say(Tasks([batch(1)]), "0.0")) == []
    assert to("0.1", broker.say(Request(1), "0.1")) == [Tasks([batch(1)])]


def test_oldest_task_first(broker: Broker) -> None:
    broker.say(Tasks([batch(1), batch(2)]), "0.0")
    assert to("0.1", broker.say(Request(1), "0.1")) == [Tasks([batch(1)])]


def test_waiting_workers_share_the_queue_evenly(broker: Broker) -> None:
    broker.say(Request(64), "0.0")
    broker.say(Request(64), "0.1")
    sends = broker.say(Tasks([batch(n) for n in range(4)]), "1")
    assert [len(message.batches) for name in ("0.0", "0.1") for message in to(name, sends)] == [2, 2]  # type: ignore[attr-defined]


def test_worker_that_asks_for_all_leaves_the_others_their_share(broker: Broker) -> None:
    broker.say(Tasks([batch(n) for n in range(10)]), "0.0")
    (tasks,) = to("0.1", broker.say(Request(100, idle=False), "0.1"))
    assert isinstance(tasks, Tasks)
    assert [one.serial for one in tasks.batches] == [0, 1, 2, 3, 4]


def test_withdrawn_request_gets_nothing(broker: Broker) -> None:
    broker.say(Request(1), "0.1")
    broker.say(Request(0), "0.1")
    assert to("0.1", broker.say(Tasks([batch(1)]), "0.0")) == []
    assert list(broker.queue) == [batch(1)]


def test_no_task_is_lost_or_doubled_among_many_requests(broker: Broker) -> None:
    given: list[int] = []
    for turn in range(100):
        sends = broker.say(Tasks([batch(3 * turn + n) for n in range(3)]), "0.0")
        sends += broker.say(Request(turn % 4), "0.1")
        sends += broker.say(Steal(turn % 3), "1")
        for send in sends:
            if isinstance(send.message, Tasks):
                given += [each.serial for each in send.message.batches]
    assert sorted(given + [each.serial for each in broker.queue]) == list(range(300))


def test_result_goes_straight_to_its_owner_here(broker: Broker) -> None:
    assert broker.say(Results([batch(1, "0.1")]), "2") == [Send("0.1", Results([batch(1, "0.1")]))]


def test_result_for_another_node_goes_to_its_broker(broker: Broker) -> None:
    sends = broker.say(Results([batch(1, "2.1"), batch(2, "0.0"), batch(3, "2.0")]), "0.1")
    assert to("2", sends) == [Results([batch(1, "2.1"), batch(3, "2.0")])]
    assert to("0.0", sends) == [Results([batch(2, "0.0")])]


def test_hungry_broker_steals_from_the_longest_queue(broker: Broker) -> None:
    broker.say(Load("1", 2, 0), "1")
    broker.say(Load("2", 9, 0), "2")
    assert to("2", broker.say(Request(1), "0.1")) == [Steal(1)]


def test_one_theft_at_a_time(broker: Broker) -> None:
    broker.say(Load("1", 2, 0), "1")
    broker.say(Request(1), "0.1")
    assert to("1", broker.say(Request(1), "0.0")) == []


def test_empty_handed_thief_tries_the_next_peer(broker: Broker) -> None:
    broker.say(Load("1", 5, 0), "1")
    broker.say(Load("2", 4, 0), "2")
    broker.say(Request(1), "0.1")
    assert to("2", broker.say(Tasks([]), "1")) == [Steal(1)]


def test_victim_keeps_half(broker: Broker) -> None:
    broker.say(Tasks([batch(n) for n in range(4)]), "0.0")
    assert to("1", broker.say(Steal(64), "1")) == [Tasks([batch(0), batch(1)])]


def test_thief_always_gets_an_answer(broker: Broker) -> None:
    assert to("1", broker.say(Steal(1), "1")) == [Tasks([])]


def test_busy_worker_hears_once_that_others_wait(broker: Broker) -> None:
    assert to("0.0", broker.say(Request(3), "0.1")) == [Demand(1, idle=1)]
    assert to("0.0", broker.tick()) == []


def test_busy_worker_hears_again_when_its_tasks_were_not_enough(broker: Broker) -> None:
    broker.say(Request(1), "0.1")
    broker.say(Tasks([batch(1)]), "0.0")
    assert to("0.0", broker.say(Request(1), "0.1")) == [Demand(1, idle=1)]


def test_busy_worker_hears_of_those_that_will_soon_be_idle(broker: Broker) -> None:
    assert to("0.0", broker.say(Request(3, idle=False), "0.1")) == [Demand(1, idle=0)]
    assert to("0.0", broker.say(Request(3), "0.1")) == [Demand(0, idle=1)]


def test_idle_workers_of_peers_make_tasks_wanted(broker: Broker) -> None:
    assert to("0.0", broker.say(Load("1", 0, 5), "1")) == [Demand(5, idle=5)]


def test_idle_come_before_those_that_ask_ahead(broker: Broker) -> None:
    broker.say(Request(1, idle=False), "0.0")
    broker.say(Request(1), "0.1")
    sends = broker.say(Tasks([batch(1), batch(2)]), "1")
    assert [send.to for send in sends if isinstance(send.message, Tasks)] == ["0.1", "0.0"]


def test_request_is_met_by_tasks_not_by_batches(broker: Broker) -> None:
    broker.say(Tasks([bundle(1, 10), bundle(11, 10), bundle(21, 10)]), "0.0")
    assert to("0.1", broker.say(Request(15), "0.1")) == [Tasks([bundle(1, 10), bundle(11, 10)])]


def test_queued_task_is_found_and_cancelled(broker: Broker) -> None:
    broker.say(Tasks([batch(1), batch(2)]), "0.0")
    assert broker.say(Find("0.0", 2, cancel=False, number=1), "0.0") == [Send("0.0", Found("0.0", 2, 1, True))]
    assert broker.say(Find("0.0", 2, cancel=True, number=2), "0.0") == [Send("0.0", Found("0.0", 2, 2, True, True))]
    assert list(broker.queue) == [batch(1)]


def test_bundle_loses_only_what_is_cancelled(broker: Broker) -> None:
    broker.say(Tasks([bundle(1, 3)]), "0.0")
    assert to("0.0", broker.say(Find("0.0", 2, cancel=True, number=1), "0.0")) == [Found("0.0", 2, 1, True, True)]
    assert to("0.1", broker.say(Request(9), "0.1")) == [Tasks([Batch("0.0", 1, [b"call"], 3, (2,))])]


def test_bundle_that_is_cancelled_altogether_is_gone(broker: Broker) -> None:
    broker.say(Tasks([bundle(1, 3)]), "0.0")
    for serial in (3, 1, 2):
        broker.say(Find("0.0", serial, cancel=True, number=serial), "0.0")
    assert len(broker.queue) == 0


def test_worker_is_asked_about_what_it_was_given(broker: Broker) -> None:
    broker.say(Request(2), "0.1")
    broker.say(Tasks([batch(serial) for serial in (1, 2, 3, 4)]), "0.0")
    find = Find("0.0", 2, cancel=True, number=1)
    assert broker.say(find, "0.0") == [Send("0.1", find)]
    assert broker.say(Found("0.0", 2, 1, True), "0.1") == [Send("0.0", Found("0.0", 2, 1, True))]


def test_task_that_its_worker_has_given_back_is_found_in_the_queue(broker: Broker) -> None:
    broker.say(Request(1), "0.1")
    broker.say(Tasks([batch(1)]), "0.0")
    broker.say(Find("0.0", 1, cancel=True, number=1), "0.0")
    broker.say(Tasks([batch(1)]), "0.1")
    assert broker.say(Found("0.0", 1, 1, False), "0.1") == [Send("0.0", Found("0.0", 1, 1, True, True))]
    assert len(broker.queue) == 0


def test_what_a_worker_gives_back_is_first_again(broker: Broker) -> None:
    broker.say(Tasks([batch(3), batch(4)]), "0.0")
    broker.say(Tasks([batch(1), batch(2)]), "0.1")
    assert list(broker.queue) == [batch(serial) for serial in (1, 2, 3, 4)]


def test_worker_that_has_begun_all_answers_by_its_request(broker: Broker) -> None:
    broker.say(Request(1), "0.1")
    broker.say(Tasks([batch(1)]), "0.0")
    broker.say(Find("0.0", 1, cancel=True, number=1), "0.0")
    find = Find("0.0", 1, cancel=True, number=1)  # may have come back, and have been stolen
    assert to("2", broker.say(Request(1, idle=False, begun=1), "0.1")) == [find]
    broker = Broker("0")
    broker.say(Ready(), "0.0")
    assert broker.say(Find("0.0", 1, cancel=True, number=2), "0.0") == [Send("0.0", Found("0.0", 1, 2, False))]


def test_all_peers_are_asked_for_what_is_not_here(broker: Broker) -> None:
    find = Find("0.0", 7, cancel=True, number=1)
    assert broker.say(find, "0.0") == [Send("1", find), Send("2", find)]
    assert broker.say(Found("0.0", 7, 1, False), "1") == []
    assert broker.say(Found("0.0", 7, 1, True), "2") == [Send("0.0", Found("0.0", 7, 1, True))]


def test_task_that_no_peer_has_queued_is_not_found(broker: Broker) -> None:
    broker.say(Find("0.0", 7, cancel=True, number=1), "0.0")
    broker.say(Found("0.0", 7, 1, False), "1")
    assert broker.say(Found("0.0", 7, 1, False), "2") == [Send("0.0", Found("0.0", 7, 1, False))]


def test_peer_answers_a_peer(broker: Broker) -> None:
    assert broker.say(Find("1.0", 7, cancel=True, number=1), "1") == [Send("1", Found("1.0", 7, 1, False))]


def test_nobody_is_told_what_nobody_waits_for(broker: Broker) -> None:
    broker.say(Tasks([batch(1)]), "0.0")
    assert broker.say(Find("0.0", 1, cancel=True), "0.0") == []
    assert len(broker.queue) == 0


def test_load_is_published_when_it_appears_and_when_it_is_gone(broker: Broker) -> None:
    assert to(META, broker.say(Tasks([batch(1)]), "0.0")) == [Load("0", 1, 0)]
    assert to(META, broker.say(Tasks([batch(2)]), "0.0")) == []
    assert to(META, broker.say(Steal(9), "1")) == []
    assert to(META, broker.say(Steal(9), "1")) == [Load("0", 0, 0)]


def test_load_is_repeated_while_it_lasts(broker: Broker) -> None:
    broker.say(Tasks([batch(1)]), "0.0")
    assert to(META, broker.tick()) == [Load("0", 1, 0)]
    broker.say(Request(1), "0.1")
    broker.say(Request(0), "0.1")
    assert to(META, broker.tick()) == []


def test_broker_alone_publishes_nothing() -> None:
    broker = Broker("0")
    broker.say(Ready(), "0.0")
    assert to(META, broker.say(Request(1), "0.0")) == []


def test_fault_goes_to_the_agent(broker: Broker) -> None:
    assert broker.say(Fault("no", 2), "0.1") == [Send(AGENT, Fault("no", 2))]


def test_stop_goes_to_every_worker(broker: Broker) -> None:
    assert broker.say(Stop(), AGENT) == [Send("0.0", Stop()), Send("0.1", Stop())]


def test_foreign_message_is_an_error(broker: Broker) -> None:
    with pytest.raises(ProtocolError, match="Bye"):
        broker.say(Bye(), "0.1")


def test_two_brokers_hand_all_tasks_to_idle_workers() -> None:
    brokers = {name: Broker(name) for name in ("0", "1")}
    inbox: list[tuple[str, Message, str]] = []
    ran: list[int] = []

    def say(name: str, message: Message, sender: str) -> None:
        for send in brokers[name].say(message, sender):
            if send.to == META:
                inbox.extend((other, send.message, name) for other in brokers if other != name)
            elif send.to in brokers:
                inbox.append((send.to, send.message, name))
            elif isinstance(send.message, Tasks):
                ran.extend(each.serial for each in send.message.batches)
                inbox.append((name, Request(1), send.to))

    for name in brokers:
        say(name, Peers(tuple(BrokerUp(node, ("a",), ("b",)) for node in range(2))), AGENT)
    say("0", Ready(), "0.0")
    say("1", Ready(), "1.0")
    say("1", Request(1), "1.0")
    say("0", Tasks([batch(n) for n in range(20)]), "0.0")
    while inbox:
        say(*inbox.pop(0))
    assert sorted(ran) == list(range(20))
