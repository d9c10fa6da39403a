"""Reach a broker that has several addresses: try them in turn, until the broker itself answers at one.

::

    TRYING --Greet, to the next address--> TRYING --Greeted--> OPEN --the connection broke: Greet--> LOST
                                                               OPEN <-----------Greeted------------- LOST
                                                               OPEN --rest, when all has arrived--> RESTING
                                                               LOST <--------------wake------------ RESTING

An address may lead elsewhere (every Docker host is 172.17.0.1), so it counts only when the broker, known by its name
and by the key of the run, has answered there. Messages for it are held back until then, and while a connection is lost.

libzmq makes a connection again without being asked. A Greet follows each loss: it goes out on the next connection,
behind what was written before the loss was seen. The answer says what has arrived; the rest is sent again, see
`numbered`.
"""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Arrived, BrokerUp, Curve, Greet, Greeted, Message
from scoop_hpc.protocol.names import BrokerName, ProcessName, broker_name
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import sockets
from scoop_hpc.transport.maps import spelled_out
from scoop_hpc.transport.numbered import Incoming, Outgoing


class Search:
    """Several addresses, each tried in turn for some *seconds*, again and again, until one answers. It has no clock."""

    def __init__(self, addresses: Sequence[str], seconds: float) -> None:
        self.attempt = -1  # the number of the last one
        self.is_over = False
        self._addresses = addresses
        self._seconds = seconds
        self._tried = float("-inf")

    def address(self) -> str:
        """Return the address of the last attempt."""
        return self._addresses[self.attempt % len(self._addresses)]

    def goes_on(self, now: float) -> bool:
        """Return whether an attempt begins now, at the next address."""
        if self.is_over or now < self._tried + self._seconds:
            return False
        self._tried = now
        self.attempt += 1
        return True

    def rounds(self) -> int:
        """Return how often all addresses were tried before this attempt."""
        return self.attempt // len(self._addresses)

    def is_ended_by(self, attempt: int) -> bool:
        """Take in an answer to an *attempt*; return whether it ends the search: old ones, and second ones, do not."""
        if self.is_over or attempt != self.attempt:
            return False
        self.is_over = True
        return True


class Dialer:
    """A DEALER of the process *name*, towards one broker; over TCP if there is a *curve*.

    It tries each address for some *seconds*, and takes a connection for lost after some seconds of *silence*.
    """

    def __init__(
        self,
        context: sockets.Context,
        name: ProcessName,
        broker: BrokerUp,
        curve: Curve | None,
        seconds: float,
        silence: float = sockets.SILENCE,
    ) -> None:
        self.name: BrokerName = broker_name(broker.node)
        self._context, self._own_name, self._curve = context, name, curve
        self._silence = None if curve is None else silence
        self.is_open = False  # the broker has answered, and the connection was not lost since, as of the last look
        self.is_resting = False  # there is no socket
        self._make_socket()
        self._is_far = curve is not None  # on another machine
        self._broker = broker
        self._search = Search(broker.main, seconds)
        self._address: str | None = None  # that the socket is connected to, if it has ever been
        self._greets = 0  # number of the last one
        self._outgoing = Outgoing()
        self._incoming = Incoming()

    def _make_socket(self) -> None:
        self.socket = sockets.make(self._context, zmq.DEALER, self._own_name, silence=self._silence)
        if self._curve is not None:
            keys.dial(self.socket, self._curve)
        self._watch = sockets.Watch(self.socket)

    @property
    def may_rest(self) -> bool:
        """True if there is a connection, and nothing that is still to arrive."""
        return self.is_open and not len(self._outgoing)

    def rest(self) -> None:
        """Close the connection, which `wake` makes anew: whoever is asked to rest may, see `may_rest`."""
        self.close()
        self.is_open, self.is_resting = False, True

    def wake(self) -> None:
        """Make the connection again after a rest."""
        self._make_socket()
        self.is_resting = False
        assert self._address is not None
        sockets.connect(self.socket, self._address)
        self._greet()

    @property
    def is_found(self) -> bool:
        """True once the broker has answered."""
        return self._search.is_over

    def rounds(self) -> int:
        """Return how often all addresses were tried in vain."""
        return self._search.rounds()

    def send(self, message: Message) -> None:
        """Send *message*, now or once there is a connection; to another machine with its large frames in full."""
        whole = spelled_out(message) if self._is_far else message
        frames = self._outgoing.add(codec.encode(whole))
        if self.is_open:
            sockets.send_frames(self.socket, frames, whole is message)

    def receive(self) -> list[Message]:
        """Return the messages that have arrived, but for those that are about this connection."""
        messages = []
        while sockets.has_arrived(self.socket):
            frames = self._incoming.take(self.socket.recv_multipart())
            if frames is None:
                continue
            if self._incoming.is_due():
                sockets.send(self.socket, Arrived(self._incoming.tell()))
            message = codec.decode(frames)
            if isinstance(message, Arrived):
                self._outgoing.have_arrived(message.count)
            elif not isinstance(message, Greeted):
                messages.append(message)
            elif message.attempt == self._greets and not self.is_open:
                self._open(message)
        return messages

    def _open(self, answer: Greeted) -> None:
        """Send what has not arrived; what is large is not copied once more for that."""
        self._search.is_ended_by(self._search.attempt)
        self._outgoing.have_arrived(answer.arrived)
        self.is_open = True
        for frames in self._outgoing.kept():
            sockets.send_frames(self.socket, frames, copy=False)

    def keep_trying(self, now: float) -> None:
        """Go on to the next address if the last one has not answered in time."""
        if not self._search.goes_on(now):
            return
        if self._address is not None:
            self.socket.disconnect(self._address)
        self._address = self._search.address()
        sockets.connect(self.socket, self._address)
        self._greet()

    def _greet(self) -> None:
        self._greets += 1
        sockets.send(self.socket, Greet(self.name, self._greets, self._incoming.tell()))

    def has_broken(self) -> bool:
        """Return whether the connection was lost since the last look, after the broker had answered.

        Tell the broker what has arrived, unless it knows.
        """
        if self._incoming.is_owed():
            sockets.send(self.socket, Arrived(self._incoming.tell()))
        is_lost = any(not change.is_made for change in self._watch.news())
        if not (is_lost and self.is_found):
            return False
        self.is_open = False
        self._greet()
        return True

    def close(self) -> None:
        """Close the socket, without waiting for what is under way."""
        self._watch.close()
        self.socket.close(0)
