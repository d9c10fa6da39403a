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
`numbered`. Where that takes long, other addresses have their turn again, too, see `search`.
"""

from __future__ import annotations

import zmq

from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Arrived, BrokerUp, Curve, Greet, Greeted, Message
from scoop_hpc.protocol.names import BrokerName, ProcessName, broker_name
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import sockets
from scoop_hpc.transport.maps import spelled_out
from scoop_hpc.transport.numbered import Incoming, Outgoing
from scoop_hpc.transport.search import Search, search_again

_LONGER = 3  # times as long for an address, once one has answered


class Dialer:
    """A DEALER of the process *name*, towards one broker; over TCP if there is a *curve*.

    It tries each address for some *seconds*, longer after a loss, and takes a connection for lost after some seconds of
    *silence*.
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
        self._seconds = seconds
        self._search = Search(broker.main, seconds)
        self.is_found = False  # the broker has answered, once
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

    def wake(self, now: float) -> None:
        """Make the connection again after a rest."""
        self._make_socket()
        self.is_resting = False
        assert self._address is not None
        sockets.connect(self.socket, self._address)
        self._greet()
        self._search_again(now)

    def _search_again(self, now: float) -> None:
        """Give the address that has answered some time, and then others as well."""
        assert self._address is not None
        self._search = search_again(self._broker.main, self._address, _LONGER * self._seconds, now)

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
        self.is_found = True
        self._outgoing.have_arrived(answer.arrived)
        self.is_open = True
        for frames in self._outgoing.kept():
            sockets.send_frames(self.socket, frames, copy=False)

    def keep_trying(self, now: float) -> None:
        """Go on to the next address if the last one has not answered in time."""
        if not self._search.goes_on(now):
            return
        if self.is_found and self._search.address() == self._address:
            return  # it has one address, which libzmq dials
        if self._address is not None:
            self.socket.disconnect(self._address)
        self._address = self._search.address()
        sockets.connect(self.socket, self._address)
        self._greet()

    def _greet(self) -> None:
        self._greets += 1
        sockets.send(self.socket, Greet(self.name, self._greets, self._incoming.tell()))

    def has_broken(self, now: float) -> bool:
        """Return whether the connection was lost since the last look, after the broker had answered.

        Tell the broker what has arrived, unless it knows.
        """
        if self._incoming.is_owed():
            sockets.send(self.socket, Arrived(self._incoming.tell()))
        is_lost = any(not change.is_made for change in self._watch.news())
        if not (is_lost and self.is_found):
            return False
        if self.is_open:
            self.is_open = False
            self._search_again(now)
        self._greet()
        return True

    def close(self) -> None:
        """Close the socket, without waiting for what is under way."""
        self._watch.close()
        self.socket.close(0)
