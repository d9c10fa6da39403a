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
    """A relay, which polls by *poller*; connections to it count as lost after some seconds of *silence*.

    Those from other machines are let in by *authenticator*, of which a context has one only, that stays.
    """

    def __init__(
        self,
        context: sockets.Context,
        silence: float,
        poller: zmq.Poller,
        authenticator: keys.Authenticator | None,
    ) -> None:
        self._poller = poller
        self._socket = sockets.make(context, zmq.ROUTER, silence=silence)
        self._watch = sockets.Watch(self._socket, listens=True)
        self.address = ""  # once it is bound
        self._authenticator = authenticator
        self._open: set[int] = set()  # connections, by file descriptor
        self._names: dict[int, str] = {}  # of the agents at their other ends, as far as known
        for source in self._sources():
            poller.register(source, zmq.POLLIN)

    def _sources(self) -> list[sockets.Socket]:
        asking = [] if self._authenticator is None else [self._authenticator.socket]
        return [self._socket, self._watch.socket, *asking]

    def bind_ipc(self, endpoint: str) -> None:
        """Be there for agents on this machine."""
        sockets.bind_ipc(self._socket, endpoint)
        self.address = endpoint

    def bind_tcp(self, curve: Curve, host: str) -> None:
        """Be there for agents of this run on other machines, which reach this one as *host*."""
        self.address = sockets.url(host, sockets.bind_tcp(self._socket, curve))

    def __contains__(self, source: object) -> bool:
        """Return whether *source*, which was polled, belongs to this relay."""
        return any(source is each for each in self._sources())

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
        for made, descriptor in self._watch.news():
            name = self._names.pop(descriptor, None)
            (self._open.add if made else self._open.discard)(descriptor)
            if name is not None and name not in self._names.values():  # else it has come by another one since
                parted.append(Parted(name))
        return parted

    def forward(self, message: Forward) -> None:
        """Send what the driver has for agents; to those that have no connection, they get it in another way."""
        for agent, number in ((to.agent, to.number) for to in message.to):
            frames = with_number(number, [message.frame]) if number else [message.frame]
            sockets.send_frames(self._socket, [agent.encode(), *frames])

    def beat(self) -> None:
        """Tell all agents that they are relayed for; to be called about once a second."""
        for name in set(self._names.values()):
            sockets.send_to(self._socket, name, Beat())

    def close(self) -> None:
        """Close all, without waiting for what is under way: the agents see that, and find the driver by themselves."""
        for source in self._sources():
            self._poller.unregister(source)
        self._watch.close()
        self._socket.close(0)
