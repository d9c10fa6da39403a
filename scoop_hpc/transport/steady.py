"""The two ends of a connection between agent and driver, on which nothing is lost when it breaks and is made again.

::

    SteadyDealer --Hello--> <--Welcome, 1-- SteadyRouter             from here on all messages are numbered
                 --Output, 1--> --Exited, 2--> (broken)
                 --Resume: 1 has arrived--> --1--> --2-->            as soon as the loss is seen; then whatever follows
                 <--2-- ...                                          what the other end still keeps

See `numbered`. In contrast to brokers, which send each other a lot, an agent sends again all that it keeps without
asking before what has arrived.
"""

from __future__ import annotations

from msgspec import Struct

from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Arrived, Hello, Message, Resume, Welcome
from scoop_hpc.transport import sockets
from scoop_hpc.transport.numbered import Incoming, Outgoing, is_numbered


class SteadyDealer:
    """An agent's end: a *socket* that is to be connected to the driver at *address*, and says *hello* there."""

    def __init__(self, socket: sockets.Socket, address: str, hello: Hello) -> None:
        self.socket = socket
        self.watch = sockets.Watch(socket)
        socket.connect(address)
        self._hello = hello
        self._incoming = Incoming()
        self._outgoing = Outgoing()
        sockets.send(socket, hello)

    def send(self, message: Message) -> None:
        """Send *message*."""
        sockets.send_frames(self.socket, self._outgoing.add(codec.encode(message)))

    def receive(self) -> Message | None:
        """Return the next message that has arrived, None if there is none; raise ProtocolError if it is invalid."""
        while self.socket.poll(0):
            frames = self._incoming.take(self.socket.recv_multipart())
            if frames is None:
                continue
            if self._incoming.is_due():
                sockets.send(self.socket, Arrived(self._incoming.tell()))
            message = codec.decode(frames)
            if not isinstance(message, Arrived):
                return message
            self._outgoing.have_arrived(message.count)
        return None

    def news(self) -> list[sockets.Change]:
        """Return the changes of the connection since the last call; what it may have lost is sent again."""
        changes = self.watch.news()
        if any(not change.is_made for change in changes):
            arrived = self._incoming.tell()
            sockets.send(self.socket, Resume(arrived) if arrived else self._hello)
            for frames in self._outgoing.kept():
                sockets.send_frames(self.socket, frames)
        return changes

    def tell(self) -> None:
        """Tell the driver what has arrived, unless it knows; to be called now and then."""
        if self._incoming.is_owed():
            sockets.send(self.socket, Arrived(self._incoming.tell()))

    def close(self) -> None:
        """Close the socket, without waiting for what is under way."""
        self.watch.close()
        self.socket.close(0)


class _End(Struct):
    """What is known of an agent's connection."""

    incoming: Incoming
    outgoing: Outgoing


class SteadyRouter:
    """The driver's end, for all agents."""

    def __init__(self, socket: sockets.Socket) -> None:
        self._socket = socket
        self._ends: dict[str, _End] = {}  # of agents that were welcomed

    def send(self, name: str, message: Message) -> None:
        """Send *message* to an agent."""
        if isinstance(message, Welcome):
            self._ends.setdefault(name, _End(Incoming(), Outgoing()))
        end = self._ends.get(name)
        if end is None:
            sockets.send_to(self._socket, name, message)
        else:
            sockets.send_frames(self._socket, [name.encode(), *end.outgoing.add(codec.encode(message))])

    def take(self, name: str, frames: list[bytes]) -> Message | None:
        """Return the message in *frames*, None if it says nothing new; raise ProtocolError if it is invalid.

        None as well where *name* is libzmq's, for a connection in whose place there is a newer one: see `Inbox`.
        """
        end = self._ends.get(name)
        if end is None:
            message = None if is_numbered(frames) else codec.decode(frames)
            return None if name.startswith("\0") else message
        taken = end.incoming.take(frames)
        if taken is None:
            return None
        if end.incoming.is_due():
            sockets.send_to(self._socket, name, Arrived(end.incoming.tell()))
        message = codec.decode(taken)
        match message:
            case Arrived(count):
                end.outgoing.have_arrived(count)
            case Hello():
                self._resume(name, end, 0)
            case Resume(arrived):
                self._resume(name, end, arrived)
            case _:
                return message
        return None

    def _resume(self, name: str, end: _End, arrived: int) -> None:
        """Send again what has not arrived."""
        end.outgoing.have_arrived(arrived)
        for frames in end.outgoing.kept():
            sockets.send_frames(self._socket, [name.encode(), *frames])

    def tell(self) -> None:
        """Tell each agent what has arrived from it, unless it knows; to be called now and then."""
        for name, end in self._ends.items():
            if end.incoming.is_owed():
                sockets.send_to(self._socket, name, Arrived(end.incoming.tell()))
