"""ZeroMQ sockets with the options of this project, and the changes of their connections."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import zmq

from scoop_hpc.errors import LaunchError, ProtocolError
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Buffer, Curve, Message
from scoop_hpc.transport import curve as keys

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

SILENCE = 8.0  # seconds without an answer until a connection counts as lost
_LEAST_SILENCE = 3.0  # a busy machine may answer as late
_HEARTBEATS = 3  # ZMTP pings (RFC 37) in that time; each wakes both ends twice
_RECONNECT = 10  # ms between attempts: a start-up waits for this
_CONNECT = 3_000  # ms for an attempt: tcp(7) sends its SYN again after 1, 3, 7, ... 63 s, however soon others answer


def silence_within(grace: float) -> float:
    """Return after how much silence a connection counts as lost that may be missed for *grace* seconds after that."""
    return min(SILENCE, max(_LEAST_SILENCE, grace))


def make(context: Context, kind: int, name: str | None = None, silence: float | None = None) -> Socket:
    """Return a socket without high-water marks: ROUTER and PUB drop at theirs; flow is bounded by credit.

    Its connections count as lost after so many seconds of *silence*, if any.
    """
    socket: Socket = context.socket(kind)
    socket.linger = 0
    socket.sndhwm = socket.rcvhwm = 0
    socket.ipv6 = True
    socket.reconnect_ivl = _RECONNECT
    socket.reconnect_ivl_max = 1_000
    socket.connect_timeout = _CONNECT
    socket.handshake_ivl = int(SILENCE * 1000)
    if name is not None:
        socket.identity = name.encode()
    if kind == zmq.ROUTER:
        socket.router_handover = True
    if silence is not None:
        socket.heartbeat_ivl = int(silence * 1000 / _HEARTBEATS)
        socket.heartbeat_timeout = int(silence * 1000) - socket.heartbeat_ivl  # it counts from a ping on
    return socket


def bind_listening(socket: Socket, endpoint: str, descriptor: int) -> None:
    """Take the connections of a socket that listens already, at *endpoint* [zmq_setsockopt(3), ZMQ_USE_FD]."""
    socket.setsockopt(zmq.USE_FD, descriptor)
    socket.bind(endpoint)
    socket.setsockopt(zmq.USE_FD, -1)  # for what it is bound to after this


def bind_ipc(socket: Socket, endpoint: str) -> None:
    """Bind *socket* to a file in a private directory; raise LaunchError."""
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        directory = os.path.dirname(endpoint[len("ipc://") :])
        reason = os.strerror(error.errno or 0)
        raise LaunchError(f"cannot make a socket in {directory!r}: {reason}; set TMPDIR") from error


def bind_tcp(socket: Socket, curve: Curve) -> int:
    """Bind *socket* to a port of the kernel's choice on all addresses, for this run only; return the port."""
    keys.serve(socket, curve)
    socket.bind("tcp://*:0")
    return int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])


def connect(socket: Socket, address: str) -> None:
    """Connect *socket* to an *address* from a message; raise ProtocolError if it is invalid."""
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        raise ProtocolError(f"cannot connect to {address!r}: {error.strerror}") from error


# `zmq.Socket.send_multipart` takes 6 us more for three frames: its flags are enumerations
_send: Any = zmq.backend.Socket.send
_MORE, _NOBLOCK, _RCVMORE = int(zmq.SNDMORE), int(zmq.NOBLOCK), int(zmq.RCVMORE)


def send_frames(socket: Socket, frames: Sequence[Buffer], copy: bool = True) -> None:
    """Send a message of *frames*; without a *copy*, those that are large must stay as they are."""
    for frame in frames[:-1]:
        _send(socket, frame, _MORE, copy)
    _send(socket, frames[-1], 0, copy)


def receive_frames(socket: Socket) -> list[bytes]:
    """Return the frames of a message that has arrived."""
    frames = [socket.recv(_NOBLOCK)]
    while socket.get(_RCVMORE):
        frames.append(socket.recv())
    return frames


def receive_named(socket: Socket) -> list[bytes]:
    """Return the name of the sender and the frames of a message that has arrived at a ROUTER.

    There is one frame at least behind a name: to ask takes twice as long as to receive it, for pyzmq makes an
    enumeration of the option.
    """
    frames = [socket.recv(_NOBLOCK), socket.recv()]
    while socket.get(_RCVMORE):
        frames.append(socket.recv())
    return frames


def send(socket: Socket, message: Message, copy: bool = True) -> None:
    """Send *message* on a socket that has one peer; without a *copy*, its large frames must stay as they are."""
    send_frames(socket, codec.encode(message), copy)


def send_to(socket: Socket, name: str, message: Message) -> None:
    """Send *message* to the peer *name* of a ROUTER."""
    send_frames(socket, [name.encode(), *codec.encode(message)])


def has_arrived(socket: Socket) -> bool:
    """Return whether there is a message to receive."""
    return bool(zmq.zmq_poll([(socket, zmq.POLLIN)], 0))  # 1.5 us; to try, and to catch zmq.Again, takes 12


def receive(socket: Socket, likely: bool = False) -> Message | None:
    """Return the next message that has arrived, None if there is none; one that is *likely* is not asked for before."""
    if not likely and not has_arrived(socket):
        return None
    try:
        return codec.decode(receive_frames(socket))
    except zmq.Again:
        return None


def url(address: str, port: int) -> str:
    """Return the ZeroMQ endpoint of *port* at *address*.

    >>> url("2001:db8::1", 5555)
    'tcp://[2001:db8::1]:5555'
    """
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"


def host_of(endpoint: str) -> str:
    """Return the address in *endpoint*.

    >>> host_of("tcp://[2001:db8::1]:5555")
    '2001:db8::1'
    """
    return endpoint[len("tcp://") :].rpartition(":")[0].strip("[]")


# zmq.utils.monitor reads the same, but imports asyncio for it, which takes 20 ms
_EVENT = struct.Struct("=HI")  # number and value [zmq_socket_monitor(3)]


class Change(NamedTuple):
    """A connection was made or lost."""

    is_made: bool
    descriptor: int  # 0 of one that was made by a socket that dials


class Watch:
    """Watches the connections of a socket that dials, or of one that *listens*.

    Who dials has a connection once both sides agree on it, some steps after it was accepted. Who listens is told its
    descriptor only by the first step [zmq_socket_monitor(3): EVENT_HANDSHAKE_SUCCEEDED has no value].
    """

    def __init__(self, watched: Socket, *, listens: bool = False) -> None:
        self._watched = watched
        self._made = zmq.EVENT_ACCEPTED if listens else zmq.EVENT_HANDSHAKE_SUCCEEDED
        self.socket = watched.get_monitor_socket(self._made | zmq.EVENT_DISCONNECTED)

    def news(self) -> list[Change]:
        """Return the changes since the last call."""
        return [Change(event == self._made, value) for event, value, _ in self._events()]

    def lost(self) -> list[str]:
        """Return the endpoints to which connections were lost since the last call, for a socket that dials."""
        return [endpoint for event, _, endpoint in self._events() if event == zmq.EVENT_DISCONNECTED]

    def _events(self) -> Iterator[tuple[int, int, str]]:
        while self.socket.poll(0):
            head, endpoint = self.socket.recv_multipart()
            event, value = _EVENT.unpack(head)
            yield event, value, endpoint.decode(errors="replace")

    def close(self) -> None:
        """Stop watching."""
        self._watched.disable_monitor()
        self.socket.close(0)
