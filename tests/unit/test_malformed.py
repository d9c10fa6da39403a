"""What a peer may send that has no meaning: it is a ProtocolError, of one kind, and never another error."""

from __future__ import annotations

import contextlib
import random
import types
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_hpc.broker.state import BrokerState
from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import codec, lines, messages
from scoop_hpc.protocol.messages import (
    VERSION,
    Accounts,
    Awaited,
    Batch,
    BrokerUp,
    Cancel,
    Demand,
    Drained,
    Exited,
    FailedTask,
    Fault,
    FunctionAccount,
    Hello,
    Join,
    JoiningNode,
    Leave,
    Load,
    Message,
    Output,
    Peers,
    Program,
    Progress,
    Query,
    QueryAnswer,
    Ready,
    Reference,
    Request,
    Results,
    Seen,
    SetShared,
    Shutdown,
    Stop,
    Tasks,
    Withdraw,
    WorkerAccount,
    WorkerSeen,
)
from scoop_hpc.protocol.names import (
    AGENT,
    ORIGIN,
    AgentName,
    NodeIndex,
    ProcessName,
    broker_name,
    worker_name,
)
from scoop_hpc.run.driver_state import DriverState
from scoop_hpc.run.driving.actions import Warn
from scoop_hpc.run.driving.plan import RunPlan
from scoop_hpc.run.placement import NodePlan

NAMES = ["0", "1", "2", "0.0", "0.1", "1.0", "0.g1", "agent", "n1/0", "n2/0", "", "x", "0.", ".0", "\u0664", "-1"]
SAMPLES: list[Message] = [
    Hello(VERSION, "3.11", "n1", "h1", 7, 4),
    Peers((BrokerUp(NodeIndex(0), ("tcp://1.2.3.4:5",)),)),
    Join(VERSION, "43", "m1", 7, (JoiningNode("m1", 2), JoiningNode("m2", None))),
    Leave(5.0, "n3", "SIGTERM"),
    Drained(),
    Output(worker_name(0, 1), 1, b"text\n"),
    Accounts(
        (FunctionAccount("simulate", 7, 1, 0, 1.5, 0.5, ((40, 7),)),),
        (WorkerAccount(ORIGIN, 2.0, 2.5, 9.0, 0.5), WorkerAccount(worker_name(0, 1), 0.0, 0.0)),
        (FailedTask("simulate", 3, "7", "ValueError: 7", "Traceback", ORIGIN, 1, 1e9),),
        2,
    ),
    Progress(2, (Awaited(1, "simulate", 9, 7, 1),)),
    Exited(worker_name(0, 1), 7, -9, False, False),
    Seen((WorkerSeen(worker_name(0, 1), 7, "busy", "simulate", 1.5, 7, None, 4096),), 7),
    Fault("why", 2),
    Request(3, 1, False, 2),
    Withdraw(2),
    Tasks([Batch(ORIGIN, 1, [b"call", Reference(b"buffer")], 3, (2,)), Batch(worker_name(1, 0), 2, [b""])], 4),
    Tasks([Batch(ORIGIN, 1, [b"calls"], 2, positions=(1, 2))], 4),
    Results([Batch(ORIGIN, 1, [b"outcome"])], Request(1), Demand(2)),
    Query(ORIGIN, 1, 2),
    Cancel(ORIGIN, 1, None),
    SetShared(ORIGIN, 1, {"name": b"value"}),
]


def strategy(kind: Any) -> st.SearchStrategy[Any]:
    """Return values of the type *kind*, senseless ones above all, that the codec lets through or refuses."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if hasattr(kind, "__metadata__"):
        return strategy(kind.__origin__)
    if hasattr(kind, "__supertype__"):
        return strategy(kind.__supertype__)
    if origin in (typing.Union, types.UnionType) and kind is not messages.Buffer:
        return st.one_of([strategy(each) for each in arguments])
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(strategy(arguments[0]), max_size=3).map(tuple)
    if origin is list:
        return st.lists(strategy(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(strategy(arguments[0]), strategy(arguments[1]), max_size=2)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind, include_extras=True)
        return st.builds(kind, **{name: strategy(hint) for name, hint in hints.items()})
    plain: dict[Any, st.SearchStrategy[Any]] = {
        int: st.sampled_from([0, 1, 2, 5, -1, -70, 300, 2**62]),
        str: st.sampled_from(NAMES),
        bool: st.booleans(),
        bytes: st.binary(max_size=3),
        messages.Buffer: st.binary(max_size=3),
        type(None): st.none(),
    }
    return st.binary(max_size=3) if kind not in plain else plain[kind]


SENSELESS = st.one_of([strategy(kind) for kind in messages.MESSAGES])
CONVERSATION = st.lists(st.tuples(SENSELESS, st.sampled_from(NAMES)), max_size=12)


def arrived(message: Message) -> Message:
    return codec.decode(codec.encode(message))


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_any_bytes_are_a_message_or_a_protocol_error(frames: list[bytes]) -> None:
    with contextlib.suppress(ProtocolError):
        codec.decode(frames)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_damaged_message_is_a_message_or_a_protocol_error(sample: Message) -> None:
    chance = random.Random(1)
    whole = [bytes(frame) for frame in codec.encode(sample)]
    for _ in range(400):
        frames = [bytearray(frame) for frame in whole]
        for _ in range(chance.randrange(1, 4)):
            frame = chance.choice(frames)
            place = chance.randrange(len(frame) + 1)
            frame[place : place + chance.randrange(3)] = bytes([chance.randrange(256)] * chance.randrange(3))
        if chance.random() < 0.1:
            chance.shuffle(frames)
        with contextlib.suppress(ProtocolError):
            codec.decode(frames)


@given(st.binary(max_size=40))
def test_any_line_is_a_message_or_a_protocol_error(line: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        lines.decode(line)


@pytest.mark.parametrize(
    "frames",
    [
        [b"\x92\xa5Fault\xa2\xff\xfe"],  # not UTF-8
        [],
        [b""],
        [b"\x93\xa5Tasks\x91\x96\xa30.0\x01\xff\x90\x01\x90\x00"],  # -1 frames
        [b"\x93\xa5Tasks\x91\x96\xa30.0\x01\x01\x91\x05\x01\x90\x00", b"x"],  # the fifth frame of one
        [b"\x91" * 5000],
    ],
)
def test_malformed_frames_are_refused(frames: list[bytes]) -> None:
    with pytest.raises(ProtocolError) as caught:
        codec.decode(frames)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "message",
    [
        Request(0),
        Request(1, 0),
        Query(ORIGIN, 1, 0),
        Shutdown(0),
        Load(-5, 0),
        BrokerUp(NodeIndex(0), ()),
        Output(worker_name(0, 1), 4, b""),
        Exited(ORIGIN, 7, 2**40, False, True),
        Fault("why", 256),
        Hello(VERSION, "3.11", "n1", "h", 7, -4),
        Tasks([Batch(ORIGIN, 1, [b""], 0)]),
        Tasks([Batch(ORIGIN, 1, [b""], 1, (1,))]),
        Tasks([Batch(ORIGIN, 1, [b""], 2, positions=(1,))]),
        Tasks([Batch(ORIGIN, 1, [b""], positions=(-1,))]),
    ],
    ids=repr,
)
def test_numbers_out_of_range_are_refused(message: Message) -> None:
    with pytest.raises(ProtocolError):
        arrived(message)


def broker() -> BrokerState:
    state = BrokerState(broker_name(0))
    state.handle(Peers(tuple(BrokerUp(NodeIndex(node), ("a",)) for node in range(2))), AGENT)
    for worker in ("0.0", "0.1"):
        state.handle(Ready(), ProcessName(worker))
    return state


@given(CONVERSATION)
def test_a_broker_takes_senseless_messages_as_protocol_errors_only(conversation: list[tuple[Message, str]]) -> None:
    state = broker()
    for message, sender in conversation:
        with contextlib.suppress(ProtocolError):
            state.handle(arrived(message), ProcessName(sender))


def driver() -> DriverState:
    nodes = NodePlan("n1", 1), NodePlan("n2", None)
    run = DriverState(RunPlan(nodes, Program(b"p.py", (), b"/", {}), None, None, (), "", 7, "3.11", "the driver"))
    run.handle(Hello(VERSION, "3.11", "n1", "h", 7, 4), AgentName("n1/0"), 0.0)
    return run


@given(CONVERSATION)
def test_a_driver_takes_senseless_messages_as_protocol_errors_only(conversation: list[tuple[Message, str]]) -> None:
    run = driver()
    for message, sender in conversation:
        with contextlib.suppress(ProtocolError):
            run.handle(arrived(message), AgentName(sender), 0.0)


@pytest.mark.parametrize(
    ("message", "sender"),
    [
        (Stop(), "0.0"),
        (Stop(), "x"),
        (Peers(()), "1"),
        (Fault("why"), "x"),
        (Request(1), "0.7"),
        (Withdraw(), "0.7"),
        (Ready(), "1.0"),
        (Ready(), "0.x"),
        (Load(1000, 0), "x"),
        (Load(1000, 0), "0.0"),
        (Hello(VERSION, "3.11", "n1", "h", 7, 4), "0.0"),
    ],
    ids=repr,
)
def test_who_may_not_send_it_to_a_broker_changes_nothing(message: Message, sender: str) -> None:
    state = broker()
    with pytest.raises(ProtocolError):
        state.handle(message, ProcessName(sender))
    assert (set(state.workers), state.peers, state.tick(0.0)) == ({"0.0", "0.1"}, {"1"}, [])


@pytest.mark.parametrize(
    "message",
    [
        BrokerUp(NodeIndex(0), ("a",)),
        Exited(ORIGIN, 7, 0, False, True),
        Fault("why", 0),
        messages.Bye(),
        Ready(),
    ],
    ids=repr,
)
def test_a_stranger_does_not_end_the_run(message: Message) -> None:
    run = driver()
    with pytest.raises(ProtocolError) as caught:
        run.handle(message, AgentName("x"), 0.0)
    assert run.refuse(AgentName("x"), caught.value, 0.0) == [Warn(f"dropped a message of 'x': {caught.value}")]
    assert run.ending is None


def test_an_agents_invalid_message_ends_the_run_with_a_reason() -> None:
    run = driver()
    assert run.refuse(AgentName("n1/0"), ProtocolError("cannot read it"), 0.0)
    assert run.ending is not None
    assert (run.ending.status, run.ending.reason) == (1, "invalid message of the agent on n1: cannot read it")


def test_an_agent_speaks_for_the_broker_of_its_own_node_only() -> None:
    with pytest.raises(ProtocolError):
        driver().handle(BrokerUp(NodeIndex(1), ("a",)), AgentName("n1/0"), 0.0)


def test_a_fault_is_never_a_success() -> None:
    run = driver()
    run.handle(Fault("why", 0), AgentName("n1/0"), 0.0)
    assert run.ending is not None
    assert run.ending.status == 1


def test_an_answer_that_nobody_asked_for_is_passed_over() -> None:
    state = broker()
    assert state.handle(QueryAnswer(ORIGIN, 1, 1, True), broker_name(1)) == []
