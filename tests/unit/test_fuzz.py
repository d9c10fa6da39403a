"""What comes from a process that has the keys of a run is a message, or refused; state machines take what is one."""

from __future__ import annotations

import contextlib
import random

import pytest

from scoop_hpc.broker.state import BrokerState
from scoop_hpc.errors import ProtocolError, SegmentError
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    Batch,
    BrokerUp,
    Cancel,
    Message,
    Peers,
    Program,
    Query,
    Ready,
    Reference,
    Request,
    Results,
    SharedSet,
    Steal,
    Tasks,
    Terms,
    Welcome,
)
from scoop_hpc.protocol.names import AGENT, ORIGIN, NodeIndex, ProcessName, WorkerName, broker_name, worker_name
from scoop_hpc.run.agent_state import AgentState
from scoop_hpc.transport.maps import opened
from scoop_hpc.worker.state import WorkerState
from tests.fuzz.damage import make_message
from tests.fuzz.reading import fault_of


def arrived(message: Message) -> Message:
    return codec.decode([bytes(frame) for frame in codec.encode(message)])


def owned_by(name: str) -> Tasks:
    return Tasks([Batch(WorkerName(ProcessName(name)), 1, [b""])])


def test_any_frames_are_a_message_or_a_protocol_error() -> None:
    assert [fault for fault in map(fault_of, range(2000)) if fault] == []


@pytest.mark.parametrize(
    "message",
    [
        owned_by("agent"),
        owned_by("0"),
        owned_by("9999999999.0"),
        owned_by("0.1\n"),
        owned_by("\u0664.0"),
        Results([Batch(WorkerName(AGENT), 1, [b""])]),
        Tasks([Batch(ORIGIN, 1, [])]),
        Tasks([Batch(ORIGIN, 1, [b""], 10**12)]),
        Tasks([Batch(ORIGIN, 1, [b""], 3, (2, 2))]),
        Tasks([Batch(ORIGIN, 1, [b""], 3, (4,))]),
        Tasks([Batch(ORIGIN, 2**63, [b""])]),
        Tasks([Batch(ORIGIN, 1, [b""], terms=Terms(time_limit=float("nan")))]),
        Tasks([Batch(ORIGIN, 1, [b""], terms=Terms(time_limit=float("inf")))]),
        Query(ORIGIN, -1, 1),
        Cancel(WorkerName(ProcessName("x")), 1, 1),
    ],
    ids=repr,
)
def test_what_would_harm_a_state_machine_is_refused(message: Message) -> None:
    with pytest.raises(ProtocolError):
        arrived(message)


def test_a_frame_is_marked_as_a_reference_once() -> None:
    header = b"\x94\xa7Results\x91\x95\xa30.0\x01\x01\x92\x00\x00\x90\xc0\xc0"
    with pytest.raises(ProtocolError):
        codec.decode([header, b"large"])


def broker() -> BrokerState:
    state = BrokerState(broker_name(0))
    state.handle(Peers(tuple(BrokerUp(NodeIndex(node), ("a",)) for node in range(2))), AGENT)
    for worker in ("0.0", "0.1"):
        state.handle(Ready(), ProcessName(worker))
    return state


@pytest.mark.parametrize("seed", range(60))
def test_a_broker_takes_messages_without_sense_from_those_it_knows(seed: int) -> None:
    chance = random.Random(seed)
    state = broker()
    for turn in range(60):
        with contextlib.suppress(ProtocolError):
            state.handle(arrived(make_message(chance, True)), ProcessName(chance.choice(("0.0", "0.1", "1", "agent"))))
        state.tick(float(turn))


@pytest.mark.parametrize("seed", range(60))
def test_a_worker_takes_messages_without_sense_from_its_broker(seed: int) -> None:
    chance = random.Random(seed)
    state = WorkerState(worker_name(0, 1), 3)
    for turn in range(60):
        if chance.random() < 0.3:
            state.question(lambda number: Query(state.name, 1, number), lambda answer: answer.is_queued)
        with contextlib.suppress(ProtocolError):
            state.receive(arrived(make_message(chance, True)))
        state.want()
        state.before_poll(float(turn), True)
        if chance.random() < 0.3:
            state.give_back()


@pytest.mark.parametrize("seed", range(30))
def test_an_agent_takes_messages_without_sense_from_its_driver_and_its_broker(seed: int) -> None:
    chance = random.Random(seed)
    program = Program(b"p.py", (), b"/", {})
    welcome = Welcome(NodeIndex(0), 2, 2, program, ("n1",), None, "/d", (), "driver", None, "", "b 7", 7, None)
    state = AgentState("n1", welcome)
    state.start(0.0)
    state.started(broker_name(0), 100)
    for turn in range(40):
        hear = chance.choice((state.hear_driver, state.hear_broker))
        with contextlib.suppress(ProtocolError):
            hear(arrived(make_message(chance, True)), float(turn))
        state.pass_time(float(turn))


@pytest.mark.parametrize(
    "message",
    [owned_by("0.0"), Results([Batch(ORIGIN, 1, [b""])]), Steal(10**12), Query(ORIGIN, 1, 1), SharedSet(ORIGIN, 1, ())],
    ids=repr,
)
def test_a_broker_does_not_hear_who_is_no_part_of_the_run(message: Message) -> None:
    for stranger in ("x", "7", "3.1", "1.g1"):
        with pytest.raises(ProtocolError):
            broker().handle(message, ProcessName(stranger))


def test_a_worker_is_not_ready_twice() -> None:
    with pytest.raises(ProtocolError):
        broker().handle(Ready(), ProcessName("0.1"))


def test_a_task_that_is_sent_twice_is_found_once() -> None:
    state = broker()
    state.handle(Tasks([Batch(ORIGIN, 1, [b""], 3)]), ProcessName("1"))
    state.handle(Tasks([Batch(ORIGIN, 1, [b""])]), ProcessName("1"))
    state.handle(Request(1), ProcessName("0.1"))
    state.handle(Query(ORIGIN, 2, 1), ORIGIN)


def test_an_answer_of_another_kind_than_the_question_is_passed_over() -> None:
    state = WorkerState(worker_name(0, 1), 3)
    state.question(lambda number: Query(state.name, 1, number), print)
    state.outbox.clear()
    state.receive(SharedSet(state.name, 1, ()))
    assert not state.outbox


def test_a_reference_of_another_length_stands_for_nothing() -> None:

    with pytest.raises(SegmentError):
        opened(Reference(b"x"))
