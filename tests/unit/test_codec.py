"""Messages survive the trip; what is no message is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import codec, messages
from scoop_hpc.protocol.messages import (
    VERSION,
    Accounts,
    Addressee,
    Arrived,
    Awaited,
    Batch,
    BrokerUp,
    Curve,
    Drained,
    FailedTask,
    Fault,
    FileLost,
    Forward,
    FunctionAccount,
    GivenUp,
    Gone,
    Gpu,
    Hello,
    Join,
    JoinerLost,
    JoiningNode,
    Leave,
    LinkBroken,
    Loss,
    Message,
    Moved,
    Parted,
    Peers,
    Program,
    Progress,
    Reference,
    Relay,
    Relayed,
    RelayUp,
    Request,
    Results,
    Resume,
    Seen,
    Standing,
    Stop,
    Tasks,
    UseRelay,
    Watch,
    Welcome,
    WorkerAccount,
    WorkerSeen,
)
from scoop_hpc.protocol.names import ORIGIN, NodeIndex, agent_name, broker_name, worker_name

NODE = NodeIndex(0)
PROGRAM = Program(b"p.py", (b"a", b"\n'\xff"), b"/d", {b"A": b"\xe9"})
MODULE = Program(b"pkg.job", (), b"/d", {}, is_module=True)
SAMPLES = [
    Hello(1, "3.11", "n1", "h1", 7, 4),
    Welcome(
        NodeIndex(0),
        2,
        4,
        PROGRAM,
        ("n1",),
        Curve("a", "b", "c", "d"),
        None,
        (0, 1),
        "the driver",
        None,
        "",
        "b 7",
        7,
        None,
    ),
    Welcome(NODE, 2, 4, PROGRAM, ("n1",), None, "/tmp", (), "the driver", "/r", "1", "b 7", 7, "/e"),
    Welcome(NODE, 2, 4, MODULE, ("n1",), None, "/tmp", (), "the driver", "/r", "1", "b 7", 7, "/e"),
    Peers((BrokerUp(NodeIndex(0), ("tcp://1.2.3.4:5",)),)),
    Join(VERSION, "43", "m1", 7, (JoiningNode("m1", 2), JoiningNode("m2", None))),
    Leave(5.0, "n3", "SIGTERM"),
    Drained(),
    Fault("worker 0.1 on n1 cannot import 'p.py'", 1, traceback="Traceback\n"),
    Gone((worker_name(1, 0),), (NodeIndex(2),), "its agent died"),
    GivenUp(),
    JoinerLost(),
    FileLost("cannot write the log '/full/log': No space left on device"),
    LinkBroken(broker_name(3)),
    Moved(ORIGIN, (1, 2), broker_name(3), 2, (Loss("a worker died"),)),
    Arrived(7),
    Resume(7, 2),
    Relay(),
    RelayUp("tcp://1.2.3.4:5"),
    UseRelay("tcp://1.2.3.4:5"),
    Relayed(agent_name("n1", "5f0c", 0), b"frame"),
    Forward((Addressee(agent_name("n1", "5f0c", 0), 7),), b"frame"),
    Parted(agent_name("n1", "5f0c", 0)),
    Accounts(
        (FunctionAccount("simulate", 7, 1, 0, 1.5, 0.5, ((40, 7),)),),
        (WorkerAccount(ORIGIN, 2.0, 2.5, 9.0, 0.5), WorkerAccount(worker_name(0, 1), 0.0, 0.0)),
        (FailedTask("simulate", 3, "7", "ValueError: 7", "Traceback", ORIGIN, 1, 1e9),),
        2,
    ),
    Progress(2, (Awaited(1, "simulate", None, 7, 1), Awaited(2, "", 9, 0, 0))),
    Watch(1.0),
    Watch(None),
    Standing(3, 2, 1, 0),
    Seen(
        (WorkerSeen(worker_name(0, 1), 7, "busy", "simulate", 1.5, 7, 99.5, 4096),),
        7,
        Standing(3, 2, 1, 0),
        4096,
        2**40,
        (Gpu("H200", 50.0, 1, 2),),
    ),
    Request(3),
    Stop(),
    Tasks([]),
    Tasks([Batch(ORIGIN, 1, [b"call", b"buffer"]), Batch(worker_name(1, 0), 2, [b""])]),
    Tasks([Batch(ORIGIN, 1, [b"call"], 3, (2,), losses=(Loss("a node was lost", waited=True),), hops=2)]),
    Tasks([Batch(ORIGIN, 1, [b"calls"], 3, (2,), positions=(4, 0, 1)), Batch(ORIGIN, 4, [b"call"])], 7),
    Results([Batch(ORIGIN, 1, [b"outcome"])]),
]


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_message_survives_the_trip(message: Message) -> None:
    assert codec.decode(codec.encode(message)) == message


def test_bodies_travel_as_frames_of_their_own() -> None:
    body = bytearray(1000)
    assert codec.encode(Tasks([Batch(ORIGIN, 1, [body])]))[1] is body


def test_tasks_that_are_in_no_map_have_no_byte_for_positions() -> None:
    plain, placed = (
        codec.encode(Tasks([Batch(ORIGIN, 1, [b"calls"], 2, positions=positions)])) for positions in ((), (1, 2))
    )
    assert len(placed[0]) - len(plain[0]) == len(b"\x91\x92\x01\x02")


@pytest.mark.parametrize("kind", [Tasks, Results])
def test_reference_is_known_as_one_where_it_arrives(kind: Any) -> None:
    batches = [Batch(ORIGIN, 1, [b"a", Reference(b"b"), b"c"]), Batch(ORIGIN, 2, [Reference(b"d")])]
    frames = [bytes(frame) for frame in codec.encode(kind(batches))]
    arrived: Any = codec.decode(frames)
    assert [[type(frame) is Reference for frame in batch.frames] for batch in arrived.batches] == [
        [False, True, False],
        [True],
    ]
    assert arrived == kind(batches)


def test_every_message_has_its_row_in_the_table() -> None:
    table = messages.__doc__ or ""
    assert [kind.__name__ for kind in messages.MESSAGES if f"\n{kind.__name__:10} " not in table] == []
    declared = {kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, Message)}
    assert declared - {Message} == set(messages.MESSAGES)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"\xff\xff"],
        [msgspec.msgpack.encode(["NoSuchMessage", 1])],
        [msgspec.msgpack.encode(["Request", "three"])],
        [*codec.encode(Stop()), b"too much"],
        codec.encode(Tasks([Batch(ORIGIN, 1, [b"call"])]))[:1],
        [msgspec.msgpack.encode(["Results", [["0.0", 0, 1, [1]]]]), b"outcome"],
        [msgspec.msgpack.encode(["Results", [["0.0", 0, 1, [-1]]]]), b"outcome"],
    ],
)
def test_what_is_no_message_is_refused(frames: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        codec.decode(frames)
