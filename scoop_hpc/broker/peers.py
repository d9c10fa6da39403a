"""The connections of a broker to its peers: a DEALER for each, towards the peer's ROUTER."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol.messages import BrokerUp, Curve, Message
from scoop_hpc.protocol.names import BrokerName, broker_name
from scoop_hpc.transport import sockets
from scoop_hpc.transport.dialer import Dialer


class PeerLinks:
    """The connections from the broker *name* to its peers.

    *watch* is called with the socket of each, to be polled, and *forget* before it is closed. What is for a peer is
    held back until it is known where that is: a worker may be quicker than the driver. What is for one that is gone is
    dropped.
    """

    def __init__(
        self,
        context: sockets.Context,
        name: BrokerName,
        curve: Curve | None,
        seconds: float,
        silence: float,
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
        self._links: dict[BrokerName, Dialer] = {}
        self._by_socket: dict[sockets.Socket, Dialer] = {}
        self._early: dict[BrokerName, list[Message]] = {}  # for peers whose addresses are not known yet
        self._gone: set[BrokerName] = set()

    def meet(self, brokers: Iterable[BrokerUp], now: float) -> list[BrokerName]:
        """Connect to those of *brokers* that are new, but for the broker itself; return their names."""
        met = []
        for broker in brokers:
            name = broker_name(broker.node)
            if name in self._gone or name in self._links or name == self._name:
                continue
            link = self._links[name] = Dialer(
                self._context, self._name, broker, self._curve, self._seconds, self._silence
            )
            self._by_socket[link.socket] = link
            self._watch(link.socket)
            link.keep_trying(now)
            for message in self._early.pop(name, ()):
                link.send(message)
            met.append(name)
        return met

    def part(self, name: BrokerName) -> str | None:
        """Drop the connection to a broker that is gone, and what is for it; return where its meta socket was found."""
        self._gone.add(name)
        self._early.pop(name, None)
        link = self._links.pop(name, None)
        if link is None:
            return None
        del self._by_socket[link.socket]
        self._forget(link.socket)
        link.close()
        return link.meta() if link.is_found else None

    def is_gone(self, name: BrokerName) -> bool:
        """Return whether there will be no connection to *name* any more."""
        return name in self._gone

    def send(self, name: BrokerName, message: Message) -> None:
        """Send *message* to a peer, now or once there is a connection."""
        if name in self._links:
            self._links[name].send(message)
        elif name not in self._gone:
            self._early.setdefault(name, []).append(message)

    def name_at(self, socket: sockets.Socket) -> BrokerName | None:
        """Return whose *socket* that is, None if it is gone."""
        link = self._by_socket.get(socket)
        return None if link is None else link.name

    def serve(self, name: BrokerName) -> str | None:
        """Take answers of a peer; return its meta socket's address if there is a connection now, and was none.

        Raises ProtocolError for any other message.
        """
        link = self._links[name]
        was_open = link.is_open
        unexpected = link.receive()
        if unexpected:
            raise ProtocolError(f"{unexpected[0]!r} is no answer to a broker")
        return link.meta() if link.is_open and not was_open else None

    def look(self, now: float) -> list[BrokerName]:
        """Keep trying peers that have not answered; return those whose connection broke since the last call."""
        for link in self._links.values():
            link.keep_trying(now)
        return [name for name, link in self._links.items() if link.has_broken()]
