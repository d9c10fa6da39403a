"""A relay: the socket by which an agent passes on what others and the driver have for each other.

::

    agents' DEALERs --tcp, CURVE; or ipc--> ROUTER of the relay --Relayed--> its own connection --> driver
                                                   ^---------------Forward--'

It reads nothing of what it passes on, and keeps nothing: see `line`. It tells the driver of each connection that ends,
and the agents now and then that it lives. Their connections alone do not show that: libzmq's thread answers for a
process that hangs.
"""

from __future__ import annotations

import zmq

from scoop_hpc.protocol.messages import Beat, Curve, Forward, Parted, Relayed
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import sockets
from scoop_hpc.transport.numbered import with_number


class Relay:
    """A relay, which polls by *poller*; connections to it count as lost after some seconds of *silence*."""

    def __init__(self, context: sockets.Context, silence: float, poller: zmq.Poller) -> None:
        self._context = context
        self._poller = poller
        self._socket = sockets.make(context, zmq.ROUTER, silence=silence)
        self._watch = sockets.Watch(self._socket, listens=True)
        self._authenticator: keys.Authenticator | None = None
        self._open: set[int] = set()  # connections, by file descriptor
        self._names: dict[int, str] = {}  # of the agents at their other ends, as far as known
        for source in (self._socket, self._watch.socket):
            poller.register(source, zmq.POLLIN)

    def bind_ipc(self, endpoint: str) -> str:
        """Be there for agents on this machine; return the address."""
        sockets.bind_ipc(self._socket, endpoint)
        return endpoint

    def bind_tcp(self, curve: Curve, host: str) -> str:
        """Be there for agents of this run on other machines, which reach this one as *host*; return the address."""
        self._authenticator = keys.Authenticator(self._context, curve)
        self._poller.register(self._authenticator.socket, zmq.POLLIN)
        return sockets.url(host, sockets.bind_tcp(self._socket, curve))

    def __contains__(self, source: object) -> bool:
        """Return whether *source*, which was polled, belongs to this relay."""
        return source is self._socket or source is self._watch.socket or self._is_asked(source)

    def _is_asked(self, source: object) -> bool:
        return self._authenticator is not None and source is self._authenticator.socket

    @property
    def is_used(self) -> bool:
        """True while agents have connections to it."""
        return bool(self._names)

    def receive(self) -> list[Relayed | Parted]:
        """Return what the driver is to be told."""
        while self._authenticator is not None and sockets.has_arrived(self._authenticator.socket):
            self._authenticator.step()
        found: list[Relayed | Parted] = []
        while sockets.has_arrived(self._socket):
            sender, *frames = self._socket.recv_multipart(copy=False)
            name, descriptor = sender.bytes.decode(errors="backslashreplace"), int(sender.get(zmq.SRCFD))
            if self._names.get(descriptor) != name:
                found += self._parted()  # who had this descriptor before
                if descriptor in self._open and not name.startswith("\0"):  # else it is libzmq's, or too late
                    self._names[descriptor] = name
            if len(frames) == 1 and not name.startswith("\0"):
                found.append(Relayed(name, frames[0].bytes))
        return [*found, *self._parted()]

    def _parted(self) -> list[Relayed | Parted]:
        parted: list[Relayed | Parted] = []
        for made, descriptor, _ in self._watch.news():
            name = self._names.pop(descriptor, None)
            (self._open.add if made else self._open.discard)(descriptor)
            if name is not None and name not in self._names.values():  # else it has come by another one since
                parted.append(Parted(name))
        return parted

    def forward(self, message: Forward) -> None:
        """Send what the driver has for agents; to those that have no connection, they get it in another way."""
        for agent, number in ((to.agent, to.number) for to in message.to):
            frames = with_number(number, [message.frame]) if number else [message.frame]
            self._socket.send_multipart([agent.encode(), *frames])

    def beat(self) -> None:
        """Tell all agents that they are relayed for; to be called about once a second."""
        for name in set(self._names.values()):
            sockets.send_to(self._socket, name, Beat())

    def close(self) -> None:
        """Close all, without waiting for what is under way: the agents see that, and find the driver by themselves."""
        sources = [self._socket, self._watch.socket]
        if self._authenticator is not None:
            sources.append(self._authenticator.socket)
        for source in sources:
            self._poller.unregister(source)
        self._watch.close()
        for source in sources:
            if source is not self._watch.socket:
                source.close(0)
