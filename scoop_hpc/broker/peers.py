"""The connections of a broker to its peers: a DEALER for each that it has anything for, towards the peer's ROUTER."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol.messages import BrokerUp, Curve, Message
from scoop_hpc.protocol.names import BrokerName, broker_name
from scoop_hpc.transport import sockets
from scoop_hpc.transport.dialer import Dialer


class PeerLinks:
    """The connections from the broker *name* to its peers, each made when there is something to send, *most* at once.

    Beyond these, the one that was unused for longest rests. While all of them have messages under way, what is for
    others waits. *watch* is called with the socket of each, to be polled, and *forget* before it is closed. What is for
    a peer is held back until it is known where that is: a worker may be quicker than the driver. What is for one that
    is gone is dropped.
    """

    def __init__(
        self,
        context: sockets.Context,
        name: BrokerName,
        curve: Curve | None,
        seconds: float,
        silence: float,
        most: int,
        watch: Callable[[sockets.Socket], None],
        forget: Callable[[sockets.Socket], None],
    ) -> None:
        self._context = context
        self._watch = watch
        self._forget = forget
        self._name = name
        self._curve = curve
        self._seconds = seconds  # for an answer from one address
        self._silence = silence  # seconds, after which a connection counts as lost
        self._most = most
        self._known: dict[BrokerName, BrokerUp] = {}  # that there was no connection to so far
        self._links: OrderedDict[BrokerName, Dialer] = OrderedDict()  # the last used is the last
        self._resting: dict[BrokerName, Dialer] = {}
        self._by_socket: dict[sockets.Socket, Dialer] = {}
        self._early: dict[BrokerName, list[Message]] = {}  # for peers whose addresses are not known yet
        self._waiting: dict[BrokerName, list[Message]] = {}  # for those for which there is no room yet
        self._dialled: list[BrokerName] = []  # since the last look
        self._gone: set[BrokerName] = set()

    def meet(self, brokers: Iterable[BrokerUp], now: float) -> list[BrokerName]:
        """Note where those of *brokers* are that are new, but for the broker itself; return their names."""
        met = []
        for broker in brokers:
            name = broker_name(broker.node)
            if name == self._name or name in self._gone or self._is_known(name):
                continue
            self._known[name] = broker
            for message in self._early.pop(name, ()):
                self.send(name, message, now)
            met.append(name)
        return met

    def _is_known(self, name: BrokerName) -> bool:
        return name in self._known or name in self._links or name in self._resting

    def part(self, name: BrokerName) -> None:
        """Drop the connection to a broker that is gone, and what is for it."""
        self._gone.add(name)
        for by_name in (self._early, self._waiting, self._known, self._resting):
            by_name.pop(name, None)
        link = self._links.pop(name, None)
        if link is not None:
            self._unwatch(link)
            link.close()

    def _unwatch(self, link: Dialer) -> None:
        del self._by_socket[link.socket]
        self._forget(link.socket)

    def is_gone(self, name: BrokerName) -> bool:
        """Return whether there will be no connection to *name* any more."""
        return name in self._gone

    def have_all(self) -> bool:
        """Return whether all that was sent has arrived."""
        waits = self._waiting or self._early
        return not waits and all(link.has_delivered for link in self._links.values())

    def send(self, name: BrokerName, message: Message, now: float) -> None:
        """Send *message* to a peer, now or once there is a connection, which is made if there is none."""
        link = self._links.get(name)
        if link is None and self._is_known(name):
            if name in self._waiting or not self._has_room():
                self._waiting.setdefault(name, []).append(message)
                return
            link = self._dial(name, now)
        if link is not None:
            self._links.move_to_end(name)
            link.send(message)
        elif name not in self._gone:
            self._early.setdefault(name, []).append(message)

    def _has_room(self) -> bool:
        """Return whether there may be another connection, after one has been laid to rest for it if need be."""
        if len(self._links) < self._most:
            return True
        name = next((name for name, link in self._links.items() if link.may_rest), None)
        if name is None:
            return False
        link = self._resting[name] = self._links.pop(name)
        self._unwatch(link)
        link.rest()
        return True

    def _dial(self, name: BrokerName, now: float) -> Dialer:
        link = self._resting.pop(name, None)
        if link is not None:
            link.wake()
        else:
            link = Dialer(self._context, self._name, self._known.pop(name), self._curve, self._seconds, self._silence)
            link.keep_trying(now)
        self._links[name] = self._by_socket[link.socket] = link
        self._watch(link.socket)
        self._dialled.append(name)
        return link

    def name_at(self, socket: sockets.Socket) -> BrokerName | None:
        """Return whose *socket* that is, None if it is gone."""
        link = self._by_socket.get(socket)
        return None if link is None else link.name

    def serve(self, name: BrokerName) -> bool:
        """Take answers of a peer; return whether there is a connection now, and was none.

        Raises ProtocolError for any other message.
        """
        link = self._links[name]
        was_open = link.is_open
        unexpected = link.receive()
        if unexpected:
            raise ProtocolError(f"{unexpected[0]!r} is no answer to a broker")
        return link.is_open and not was_open

    def look(self, now: float) -> list[BrokerName]:
        """Keep trying peers that have not answered; return those without a connection that had one at the last look.

        Among them are those to which one was begun since then.
        """
        for name in list(self._waiting):
            if not self._has_room():
                break
            messages = self._waiting.pop(name)
            self._dial(name, now)
            for message in messages:
                self.send(name, message, now)
        broken = [name for name in self._dialled if name in self._links and not self._links[name].is_open]
        self._dialled.clear()
        for name, link in self._links.items():
            link.keep_trying(now)
            if link.has_broken():
                broken.append(name)
        return broken
