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

from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Arrived, BrokerUp, Buffer, Greet, Greeted, Message
from scoop_hpc.protocol.names import BrokerName, broker_name
from scoop_hpc.transport.lines import Line
from scoop_hpc.transport.maps import spelled_out
from scoop_hpc.transport.numbered import Incoming, Outgoing
from scoop_hpc.transport.search import Search, search_again

_LONGER = 3  # times as long for an address, once one has answered


class Dialer:
    """What is said on a *line* to one broker, which *is_far* if it may be on another machine.

    It tries each address for some *seconds*, longer after a loss.
    """

    def __init__(self, line: Line, broker: BrokerUp, seconds: float, is_far: bool) -> None:
        self.name: BrokerName = broker_name(broker.node)
        self.is_open = False  # the broker has answered, and the connection was not lost since, as of the last look
        self.is_found = False  # it has answered, once
        self._line = line
        self._is_far = is_far
        self._addresses = broker.main
        self._seconds = seconds
        self._search = Search(broker.main, seconds)
        self._address = ""  # that the line is connected to, if it has ever been
        self._greets = 0  # number of the last one
        self._outgoing = Outgoing()
        self._incoming = Incoming()

    @property
    def may_rest(self) -> bool:
        """True if there is a connection, and nothing that is still to arrive."""
        return self.is_open and not len(self._outgoing)

    @property
    def has_delivered(self) -> bool:
        """True if all that was sent has arrived."""
        return not len(self._outgoing)

    @property
    def arrived(self) -> int:
        """How many messages are known to have arrived."""
        return self._outgoing.arrived

    def rest(self) -> None:
        """Close the connection, which `wake` makes anew: whoever is asked to rest may, see `may_rest`."""
        self._line.hang_up()
        self.is_open = False

    def wake(self, now: float) -> None:
        """Make the connection again after a rest, or another one in its place."""
        self.is_open = False
        self._line.connect(self._address)
        self._greet()
        self._search_again(now)

    def _search_again(self, now: float) -> None:
        """Give the address that has answered some time, and then others as well."""
        self._search = search_again(self._addresses, self._address, _LONGER * self._seconds, now)

    def rounds(self) -> int:
        """Return how often all addresses were tried in vain."""
        return self._search.rounds()

    def send(self, message: Message) -> None:
        """Send *message*, now or once there is a connection; to another machine with its large frames in full."""
        whole = spelled_out(message) if self._is_far else message
        self.pass_on(codec.encode(whole), copy=whole is message)

    def pass_on(self, frames: Sequence[Buffer], copy: bool = True) -> None:
        """Send the *frames* of a message, as `send` does; without a *copy*, the large ones must stay as they are."""
        numbered = self._outgoing.add(frames)
        if self.is_open:
            self._line.send(numbered, copy)

    def take(self, arrived: list[bytes]) -> Message | None:
        """Return the message in the frames that have *arrived*, None for one that is about this connection.

        Raises ProtocolError if it is invalid.
        """
        frames = self._incoming.take(arrived)
        if frames is None:
            return None
        if self._incoming.is_due():
            self._tell()
        message = codec.decode(frames)
        if isinstance(message, Arrived):
            self._outgoing.have_arrived(message.count)
        elif not isinstance(message, Greeted):
            return message
        elif message.attempt == self._greets and not self.is_open:
            self._open(message)
        return None

    def _open(self, answer: Greeted) -> None:
        """Send what has not arrived; what is large is not copied once more for that."""
        self._search.is_ended_by(self._search.attempt)
        self.is_found = True
        self._outgoing.have_arrived(answer.arrived)
        self.is_open = True
        for frames in self._outgoing.kept():
            self._line.send(frames, copy=False)

    def keep_trying(self, now: float) -> None:
        """Go on to the next address if the last one has not answered in time."""
        if not self._search.goes_on(now):
            return
        if self.is_found and self._search.address() == self._address:
            return  # it has one address, which libzmq dials
        self._address = self._search.address()
        self._line.connect(self._address)
        self._greet()

    def _greet(self) -> None:
        self._greets += 1
        self._line.send(codec.encode(Greet(self.name, self._greets, self._incoming.tell())))

    def tell(self) -> None:
        """Tell the broker what has arrived, unless it knows; to be called now and then."""
        if self._incoming.is_owed():
            self._tell()

    def _tell(self) -> None:
        self._line.send(codec.encode(Arrived(self._incoming.tell())))

    def has_lost(self, now: float) -> bool:
        """Take it that the connection was lost; return whether the broker had answered before."""
        if not self.is_found:
            return False
        if self.is_open:
            self.is_open = False
            self._search_again(now)
        self._greet()
        return True

    def close(self) -> None:
        """Close the connection, without waiting for what is under way."""
        self._line.hang_up()
