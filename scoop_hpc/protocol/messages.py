"""Every message of a run, declared once.

========== ==================== ====== ==========================================================
message    from -> to           socket meaning
========== ==================== ====== ==========================================================
Hello      agent -> driver      meet   I run on this node; also the knock on each of the driver's addresses
Welcome    driver -> agent      meet   this address works; what you shall run
BrokerUp   broker -> agent      main   my main and meta sockets are bound to these addresses
           agent -> driver      meet   the same, passed on
Peers      driver -> agent      meet   where all brokers are reached
           agent -> broker      main   the same, passed on
Output     agent -> driver      meet   whole lines that a worker printed
OutputSeen driver -> agent      meet   so many Outputs were written; bounds what is under way
Exited     agent -> driver      meet   a broker or worker ended, and how
Fault      worker -> broker     main   I cannot go on, because
           broker -> agent      main   the same, passed on, or my own
           agent -> driver      meet   the same, passed on, or the agent's own
Interrupt  driver -> agent      meet   the user pressed Ctrl-C: tell the origin
Shutdown   driver -> agent      meet   end everything on your node
Bye        agent -> driver      meet   everything on my node has ended
Ready      worker -> broker     main   I am here
           agent -> broker      main   the same; answered by BrokerUp
Request    worker -> broker     main   I have nothing to do; send me up to so many tasks (0: no more)
Wanted     broker -> worker     main   others have nothing to do: so many more of your tasks are welcome
Tasks      worker <-> broker    main   tasks to be executed, by whoever holds them now
           broker -> broker     main   the answer to Steal, perhaps without any
Results    worker <-> broker    main   outcomes, each on the way to the owner of its future
           broker -> broker     main   the same
Steal      broker -> broker     main   my workers are idle: send me up to so many tasks
Greet      broker -> broker     main   is this you? answered by Greeted if it is
Greeted    broker -> broker     main   this address works
Load       broker -> brokers    meta   so many tasks wait here, so many workers are idle
Stop       agent -> broker      main   end; passed on to the workers
========== ==================== ====== ==========================================================

Names: a broker is the index of its node, ``"3"``; a worker is its node's index and its own, ``"3.0"``; the origin is
``"0.0"``. A name is the ZeroMQ identity of its process on every socket that routes to it.
"""

from __future__ import annotations

from typing import Optional, Union

import msgspec

VERSION = 1  # raised whenever a field changes; Hello carries it

AGENT = "agent"  # the name of the node's agent towards its broker
ORIGIN = "0.0"

Buffer = Union[bytes, bytearray, memoryview]


def node_of(name: str) -> str:
    """Return the broker in charge of worker *name*.

    >>> node_of("3.0")
    '3'
    """
    return name.partition(".")[0]


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The root of all messages."""


class Parcel(msgspec.Struct, frozen=True):
    """A task on its way to a worker, or its outcome on the way back: opaque to all but workers.

    ``owner`` is the worker that holds the future, ``serial`` its number there; ``frames`` is the pickled call or
    outcome and its out-of-band buffers (PEP 574).
    """

    owner: str
    serial: int
    frames: list[Buffer]


class Hello(Message, frozen=True):
    version: int
    python: str  # "3.11": pickles and code objects must agree
    node: str
    host: str
    pid: int
    cpus: int  # what the process may use: len(os.sched_getaffinity(0))


class Curve(msgspec.Struct, frozen=True):
    """The keys of a run, Z85: one pair of the listening side, one of the dialling side (RFC 26/CurveZMQ)."""

    server_public: str
    server_secret: str
    client_public: str
    client_secret: str


class Program(msgspec.Struct, frozen=True):
    """What the origin runs, and every worker imports, in the bytes of the operating system [os.fsencode]."""

    path: bytes
    arguments: tuple[bytes, ...]
    directory: bytes
    environ: dict[bytes, bytes]


class Welcome(Message, frozen=True):
    node: int  # index
    workers: int
    size: int  # workers of the whole run
    program: Program
    nodes: tuple[str, ...]  # names, by index
    curve: Optional[Curve]  # of the federation; None if all brokers are on this machine
    directory: str  # for the sockets of all nodes, if all are on the driver's machine; else empty
    inherit: tuple[int, ...]  # the standard streams that the origin shares with the driver
    driver: str  # who it is, in words: for when it is dead
    record: str  # the run's record file, empty if there is none
    complaints: str  # the file behind the driver's stderr, empty if it is none


class BrokerUp(Message, frozen=True):
    node: int
    main: tuple[str, ...]  # addresses, the most promising first
    meta: tuple[str, ...]


class Peers(Message, frozen=True):
    brokers: tuple[BrokerUp, ...]


class Output(Message, frozen=True):
    worker: str
    stream: int  # 1 or 2
    text: bytes


class OutputSeen(Message, frozen=True):
    count: int


class Exited(Message, frozen=True):
    name: str  # of a broker or worker
    pid: int
    status: int  # as os.waitstatus_to_exitcode: negative for a signal


class Fault(Message, frozen=True):
    reason: str
    status: int = 1  # what the run should exit with


class Interrupt(Message, frozen=True):
    pass


class Shutdown(Message, frozen=True):
    signal: int  # that the origin gets first; 0 where it has ended


class Bye(Message, frozen=True):
    pass


class Ready(Message, frozen=True):
    pass


class Request(Message, frozen=True):
    count: int
    number: int = 0  # of this worker's requests: the answer carries it, so that an old answer is known as such


class Wanted(Message, frozen=True):
    count: int


class Tasks(Message, frozen=True):
    parcels: list[Parcel]
    answer: int = 0  # the number of the Request; 0 for none


class Results(Message, frozen=True):
    parcels: list[Parcel]


class Steal(Message, frozen=True):
    count: int


class Greet(Message, frozen=True):
    to: str  # the broker that is meant: an address may lead to another one
    attempt: int  # the number of the address tried


class Greeted(Message, frozen=True):
    attempt: int  # the same


class Load(Message, frozen=True):
    broker: str
    queued: int
    idle: int


class Stop(Message, frozen=True):
    pass


MESSAGES = (
    Hello, Welcome, BrokerUp, Peers, Output, OutputSeen, Exited, Fault, Interrupt, Shutdown, Bye, Ready, Request,
    Wanted, Tasks, Results, Steal, Greet, Greeted, Load, Stop,
)  # fmt: skip
