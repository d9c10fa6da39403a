"""The two ends of a connection between agent and driver, on which nothing is lost when it breaks and is made again.

::

    SteadyDealer --Hello--> <--Welcome, 1-- SteadyRouter             from here on all messages are numbered
                 --Output, 1--> --Exited, 2--> (broken)
                 --Resume: 1 has arrived--> --1--> --2-->            as soon as the loss is seen; then whatever follows
                 <--2-- ...                                          what the other end still keeps

See `numbered`, and `line` for what is decided here. In contrast to brokers, which send each other a lot, an agent sends
again all that it keeps without asking before what has arrived. While the connection stays lost, it dials other
addresses of the driver as well, see `search`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import zmq

from scoop_hpc.protocol.messages import Hello, Message
from scoop_hpc.transport import sockets
from scoop_hpc.transport.line import Act, AgentEnd, Dial, DriverEnd, Envelope, HangUp, Heard, Hop, Write


class _Connection(NamedTuple):
    """A socket that dials, and what watches it."""

    socket: sockets.Socket
    watch: sockets.Watch


class SteadyDealer:
    """An agent's end, which *make* makes sockets for; it says *hello* to the driver at *address*.

    After a loss it gives that address some *seconds*, and then others as well, see `may_dial`.
    """

    def __init__(self, make: Callable[[], sockets.Socket], address: str, hello: Hello, seconds: float = 3.0) -> None:
        self._make = make
        self._end = AgentEnd(address, hello, seconds)
        self._connections: dict[Hop, _Connection] = {}
        self._poller: zmq.Poller | None = None
        self._do(self._end.begin())

    def poll_by(self, poller: zmq.Poller) -> None:
        """Have *poller* poll what there is to be heard here, from now on."""
        self._poller = poller
        for connection in self._connections.values():
            self._register(poller, connection)

    def _register(self, poller: zmq.Poller, connection: _Connection) -> None:
        poller.register(connection.socket, zmq.POLLIN)
        poller.register(connection.watch.socket, zmq.POLLIN)

    def __contains__(self, source: object) -> bool:
        """Return whether *source*, which was polled, belongs to this end."""
        return any(source is socket or source is watch.socket for socket, watch in self._connections.values())

    def send(self, message: Message) -> None:
        """Send *message*."""
        self._do(self._end.send(message))

    def receive(self) -> Message | None:
        """Return the next message that has arrived, None if there is none; raise ProtocolError if it is invalid."""
        for hop in Hop:
            while hop in self._connections and sockets.has_arrived(self._connections[hop].socket):
                message, acts = self._end.take(hop, sockets.receive_frames(self._connections[hop].socket))
                self._do(acts)
                if message is not None:
                    return message
        return None

    def news(self) -> list[bool]:
        """Return the changes since the last call: whether there is a way to the driver. What may be lost goes again."""
        before = self._end.is_connected
        changes = []
        for hop, connection in list(self._connections.items()):
            for change in connection.watch.news():
                if self._connections.get(hop) is not connection:  # it was closed since
                    break
                self._do(self._end.made(hop) if change.is_made else self._end.lost(hop))
                changes.append(self._end.is_connected)
        return [made for made, last in zip(changes, [before, *changes], strict=False) if made != last]

    def look(self) -> list[bool]:
        """Leave a relay that says nothing, and return what that changes; to be called about once a second."""
        before = self._end.is_connected
        self._do(self._end.look())
        return [] if self._end.is_connected == before else [self._end.is_connected]

    @property
    def all_has_arrived(self) -> bool:
        """True once the driver has said that it has all that was sent."""
        return self._end.all_has_arrived

    @property
    def address(self) -> str:
        """Where the driver was found last."""
        return self._end.address

    def may_dial(self, addresses: Sequence[str]) -> None:
        """Take the driver to be at any of these *addresses*, should the connection be lost."""
        self._end.may_dial(addresses)

    @property
    def rests(self) -> bool:
        """True while there is a connection to the driver itself: then a `look` changes nothing."""
        return self._end.rests

    def keep_trying(self, now: float) -> None:
        """Go on to the next address if the connection is lost, and was not made again in time."""
        self._do(self._end.keep_trying(now))

    def tell(self) -> None:
        """Tell the driver what has arrived, unless it knows; to be called now and then."""
        self._do(self._end.tell())

    def close(self) -> None:
        """Close all, without waiting for what is under way."""
        for hop in list(self._connections):
            self._hang_up(hop)

    def _do(self, acts: Iterable[Act]) -> None:
        for act in acts:
            match act:
                case Dial(hop, address):
                    self._dial(hop, address)
                case HangUp(hop):
                    self._hang_up(hop)
                case Write(hop, frames):
                    sockets.send_frames(self._connections[hop].socket, frames)

    def _dial(self, hop: Hop, address: str) -> None:
        socket = self._make()
        connection = self._connections[hop] = _Connection(socket, sockets.Watch(socket))
        if self._poller is not None:
            self._register(self._poller, connection)
        sockets.connect(socket, address)

    def _hang_up(self, hop: Hop) -> None:
        connection = self._connections.pop(hop)
        if self._poller is not None:
            self._poller.unregister(connection.socket)
            self._poller.unregister(connection.watch.socket)
        connection.watch.close()
        connection.socket.close(0)


class SteadyRouter:
    """The driver's end, for all agents."""

    def __init__(self, socket: sockets.Socket) -> None:
        self._socket = socket
        self._end = DriverEnd()

    def relay_of(self, name: str) -> str:
        """Return the relay that an agent was heard by last; empty if it has a connection of its own."""
        return self._end.relay_of(name)

    def behind(self, relay: str) -> list[str]:
        """Return the agents that were heard by *relay* last."""
        return self._end.behind(relay)

    def send(self, names: Sequence[str], message: Message) -> None:
        """Send *message* to agents."""
        self._write(self._end.send(names, message))

    def take(self, name: str, frames: list[bytes]) -> Heard:
        """Return what *frames* say that have come by the connection of *name*; raise ProtocolError if it is invalid."""
        heard, envelopes = self._end.take(name, frames)
        self._write(envelopes)
        return heard

    def tell(self) -> None:
        """Tell each agent what has arrived from it, unless it knows; to be called now and then."""
        self._write(self._end.tell())

    def _write(self, envelopes: Iterable[Envelope]) -> None:
        for envelope in envelopes:
            sockets.send_frames(self._socket, [envelope.to.encode(), *envelope.frames])
