"""The connections of a broker to its peers: a DEALER for each, towards the peer's ROUTER."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol.messages import Curve, Message, Peers
from scoop_hpc.protocol.names import BrokerName, ProcessName, broker_name
from scoop_hpc.transport import sockets
from scoop_hpc.transport.dialer import Dialer


@dataclass(frozen=True, slots=True)
class _Early:
    """A message for a peer whose addresses are not known yet."""

    name: BrokerName
    message: Message


class PeerLinks:
    """The connections from the broker *name* to its peers.

    *poll* is called with the socket of each, to be polled, and *found* with the address of its meta socket once it has
    answered. What is for a peer is held back until it is known where the peers are: a worker may be quicker than the
    driver.
    """

    def __init__(
        self,
        context: sockets.Context,
        name: BrokerName,
        curve: Curve | None,
        seconds: float,
        poll: Callable[[sockets.Socket], None],
        found: Callable[[str], None],
    ) -> None:
        self._context = context
        self._poll = poll
        self._name = name
        self._curve = curve
        self._seconds = seconds  # for an answer from one address
        self._found = found
        self._links: dict[ProcessName, Dialer] = {}
        self._early: list[_Early] | None = []  # None: it is known where the peers are

    def meet(self, peers: Peers, now: float) -> None:
        """Connect to all *peers* except the broker itself."""
        for peer in peers.brokers:
            if broker_name(peer.node) == self._name or broker_name(peer.node) in self._links:
                continue
            link = Dialer(self._context, self._name, peer, self._curve, self._seconds)
            self._links[link.name] = link
            self._poll(link.socket)
            link.keep_trying(now)
        early, self._early = self._early or (), None
        for each in early:
            if each.name in self._links:  # else it is an answer to somebody who only calls himself a broker
                self.send(each.name, each.message)

    def send(self, name: BrokerName, message: Message) -> None:
        """Send *message* to a peer, now or once that has answered; raise ProtocolError if there is no such peer."""
        if self._early is not None:
            self._early.append(_Early(name, message))
        elif name in self._links:
            self._links[name].send(message)
        else:
            raise ProtocolError(f"there is no broker {name} to send {message!r} to")

    def serve(self, socket: sockets.Socket) -> None:
        """Take a peer's answer from *socket*; raise ProtocolError for any other message."""
        link = next(link for link in self._links.values() if link.socket is socket)
        was_open = link.is_open
        unexpected = link.receive()
        if unexpected:
            raise ProtocolError(f"broker {link.name} sent {unexpected[0]!r} for an answer")
        if link.is_open and not was_open:
            self._found(link.meta())

    def look(self, now: float) -> list[BrokerName]:
        """Keep trying peers that have not answered; return those whose connection broke since the last call."""
        for link in self._links.values():
            link.keep_trying(now)
        return [link.name for link in self._links.values() if link.has_broken()]
