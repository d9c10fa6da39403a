"""The way from a `Dialer` to the process that it dials: a socket of its own, or one that the lines to many share.

::

    OwnLine      DEALER ----------> ROUTER          four open files: the connection, and the mailboxes of the socket and
                                                    of the two sockets that watch it
    SharedLine   \\
    SharedLine    Trunk: ROUTER --> ROUTERs          one for each line, and three for the trunk
    SharedLine   /

A ROUTER that connects may name the other end itself, before it does [zmq_setsockopt(3): ZMQ_CONNECT_ROUTING_ID]. So
each connection of a trunk has a number, which libzmq keeps when it makes the connection again. No number is used twice:
libzmq aborts a process that names a connection like one that is still being taken down. What breaks is told for the
whole socket, by the address: see `place_of`.

A ROUTER that is asked whether a message has arrived reads its first frame. Were the connection closed then, the others
would never come, and whoever receives the message would wait for them, or libzmq would abort the process [router.cpp,
router_t::xhas_in; fq.cpp, fq_t::recvpipe]. So such a message is received, and kept, before a connection is closed.
"""

from __future__ import annotations

import errno
import itertools
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import zmq

from scoop_hpc.protocol.messages import Buffer, Curve
from scoop_hpc.protocol.names import BrokerName, ProcessName
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import sockets


class Line(Protocol):
    """What a dialer asks of it: a connection to one address at a time."""

    def connect(self, address: str) -> None:
        """Make a connection to *address*, in the place of any other; raise ProtocolError if that is no address."""

    def hang_up(self) -> None:
        """Close the connection, without waiting for what is under way."""

    def send(self, frames: Sequence[Buffer], copy: bool = True) -> None:
        """Send a message; without a *copy*, its large frames must stay as they are."""


def _make_socket(
    context: sockets.Context, kind: int, name: ProcessName, curve: Curve | None, silence: float
) -> sockets.Socket:
    socket = sockets.make(context, kind, name, silence=None if curve is None else silence)
    if curve is not None:
        keys.dial(socket, curve)
    return socket


class OwnLine:
    """A line of the process *name* with a socket of its own, over TCP if there is a *curve*."""

    def __init__(
        self, context: sockets.Context, name: ProcessName, curve: Curve | None, silence: float = sockets.SILENCE
    ) -> None:
        self.socket = _make_socket(context, zmq.DEALER, name, curve, silence)
        self._watch = sockets.Watch(self.socket)
        self._address: str | None = None

    def connect(self, address: str) -> None:
        """See `Line`."""
        self.hang_up()
        sockets.connect(self.socket, address)
        self._address = address

    def hang_up(self) -> None:
        """See `Line`."""
        if self._address is not None:
            self.socket.disconnect(self._address)
            self._address = None

    def send(self, frames: Sequence[Buffer], copy: bool = True) -> None:
        """See `Line`."""
        sockets.send_frames(self.socket, frames, copy)

    def receive(self, likely: bool = False) -> list[bytes] | None:
        """Return the frames of the next message that has arrived, None if there is none.

        One that is *likely* is not asked for before.
        """
        if not likely and not sockets.has_arrived(self.socket):
            return None
        try:
            return sockets.receive_frames(self.socket)
        except zmq.Again:
            return None

    def was_lost(self) -> bool:
        """Return whether the connection was lost since the last call."""
        return bool(self._watch.lost())


class Heard(NamedTuple):
    """A message that came by a trunk."""

    name: BrokerName  # at the other end of the line
    frames: list[bytes]


class Trunk:
    """The socket of all lines of the process *name*, over TCP if there is a *curve*.

    A connection counts as lost after some seconds of *silence*.
    """

    def __init__(self, context: sockets.Context, name: ProcessName, curve: Curve | None, silence: float) -> None:
        self.socket = _make_socket(context, zmq.ROUTER, name, curve, silence)
        self.socket.router_mandatory = True  # else it drops in silence what is for a connection that is no more
        self._watch = sockets.Watch(self.socket)
        self._numbers = itertools.count(1)
        self._lines: dict[bytes, SharedLine] = {}  # those that are connected, by the name of the connection
        self._given_up: set[BrokerName] = set()  # since the last look
        self._kept: deque[list[bytes]] = deque()  # messages that were received before they were asked for

    def connect(self, line: SharedLine, address: str) -> bytes:
        """Connect a line to *address*; return the name of the connection."""
        name = b"%d" % next(self._numbers)
        self.socket.setsockopt(zmq.CONNECT_ROUTING_ID, name)
        sockets.connect(self.socket, address)
        self._lines[name] = line
        return name

    def disconnect(self, name: bytes, address: str) -> None:
        """Close a connection. Its file is closed when the socket is polled next."""
        del self._lines[name]
        if sockets.has_arrived(self.socket):
            self._kept.append(sockets.receive_named(self.socket))
        try:
            self.socket.disconnect(address)
        except zmq.ZMQError as error:
            # two nodes may give the same address, such as Docker's, and libzmq closes all connections to one at once
            if error.errno != errno.ENOENT:
                raise

    def give_up(self, name: BrokerName) -> None:
        """Note that libzmq has given up a connection: what was sent on it may be lost."""
        self._given_up.add(name)

    @property
    def keeps(self) -> bool:
        """True if there is a message to `receive`, whether or not the socket has one."""
        return bool(self._kept)

    def receive(self) -> Heard | None:
        """Return the next message that has arrived on a line, None if there is none."""
        while self._kept or sockets.has_arrived(self.socket):
            name, *frames = self._kept.popleft() if self._kept else sockets.receive_named(self.socket)
            line = self._lines.get(name)
            if line is not None:  # else it was left before
                return Heard(line.name, frames)
        return None

    def lost(self) -> set[BrokerName]:
        """Return whose connections may have been lost since the last call: one at their address was."""
        lost, self._given_up = self._given_up, set()
        places = set(map(place_of, self._watch.lost()))
        if places:
            lost |= {line.name for line in self._lines.values() if line.place in places}
        return lost


class SharedLine:
    """A line of a *trunk* to the broker *name*."""

    def __init__(self, trunk: Trunk, name: BrokerName) -> None:
        self.name = name
        self.place = ""  # where it is connected to
        self._trunk = trunk
        self._address = ""
        self._connection: bytes | None = None

    def connect(self, address: str) -> None:
        """See `Line`."""
        self.hang_up()
        self._connection = self._trunk.connect(self, address)
        self._address, self.place = address, place_of(address)

    def hang_up(self) -> None:
        """See `Line`."""
        if self._connection is not None:
            self._trunk.disconnect(self._connection, self._address)
            self._connection = None

    def send(self, frames: Sequence[Buffer], copy: bool = True) -> None:
        """See `Line`. A connection that libzmq has given up is made anew, without the message, and counts as lost."""
        assert self._connection is not None
        try:
            sockets.send_frames(self._trunk.socket, [self._connection, *frames], copy)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self.connect(self._address)
            self._trunk.give_up(self.name)


_MAPPED = "tcp://[::ffff:"


def place_of(endpoint: str) -> str:
    """Return an *endpoint* as it was written at first: libzmq tells it otherwise once it has looked it up.

    >>> place_of("tcp://[::ffff:10.0.0.7]:5555"), place_of("tcp://[2001:db8::1]:5555"), place_of("ipc:///tmp/a")
    ('tcp://10.0.0.7:5555', 'tcp://[2001:db8::1]:5555', 'ipc:///tmp/a')
    """
    if not endpoint.startswith(_MAPPED):
        return endpoint
    return "tcp://" + endpoint[len(_MAPPED) :].replace("]", "", 1)
