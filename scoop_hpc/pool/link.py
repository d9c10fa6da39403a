"""The client's socket: its line to the first broker of a pool, over ipc or, from node to node, over tcp.

Of several addresses, one counts only when the broker, known by its key, has answered there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import zmq

from scoop_hpc.errors import BrokenPoolError
from scoop_hpc.protocol.messages import Greet, Greeted, Message, Open
from scoop_hpc.protocol.names import CLIENT, broker_of
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import sockets

_NEXT_ADDRESS = 1.0  # seconds to wait for an answer from one
_ROUNDS = 10  # tries of all addresses
_BROKEN = (
    5.0  # seconds that a connection may be lost: what was under way on it is lost, but its end may have a better name
)


class ClientLink:
    """A DEALER connected to the main socket of a broker; made, used and closed in one thread."""

    def __init__(self, way: Open) -> None:
        self._context: sockets.Context = zmq.Context()
        self.poller = zmq.Poller()
        self._lost_at: float | None = None
        self._watch: sockets.Watch | None = None
        if way.curve is None:
            self._socket = sockets.make(self._context, zmq.DEALER, CLIENT)
            self._socket.connect(way.broker.main[0])
        else:
            self._socket = self._find(way)
        self.poller.register(self._socket, zmq.POLLIN)

    def _find(self, way: Open) -> sockets.Socket:
        """Return a socket that the broker has answered on."""
        assert way.curve is not None
        for attempt in range(_ROUNDS * len(way.broker.main)):
            socket = sockets.make(self._context, zmq.DEALER, CLIENT, watch_silence=True)
            keys.dial(socket, way.curve)
            watch = sockets.Watch(socket)
            socket.connect(way.broker.main[attempt % len(way.broker.main)])
            sockets.send(socket, Greet(broker_of(CLIENT), attempt))
            if socket.poll(int(_NEXT_ADDRESS * 1000)) and isinstance(sockets.receive(socket), Greeted):
                self._watch = watch
                return socket
            watch.close()
            socket.close()
        self._context.destroy(linger=0)
        raise BrokenPoolError(f"no answer from the first broker of the pool at {', '.join(way.broker.main)}")

    def send(self, message: Message) -> None:
        """Send *message*, without waiting."""
        sockets.send(self._socket, message)

    def receive(self) -> list[Message]:
        """Return what has arrived."""
        messages = []
        message = sockets.receive(self._socket)
        while message is not None:
            messages.append(message)
            message = sockets.receive(self._socket)
        return messages

    def wait(self, timeout: float) -> None:
        """Wait up to *timeout* seconds until something has arrived."""
        self._socket.poll(max(0, int(timeout * 1000)))

    def broken(self) -> bool:
        """Whether the connection is lost."""
        for made, _ in self._watch.news() if self._watch is not None else ():
            self._lost_at = None if made else self._lost_at or time.monotonic()
        return self._lost_at is not None and time.monotonic() > self._lost_at + _BROKEN

    def close(self) -> None:
        """Close the socket."""
        self._context.destroy(linger=0)


def wait(link: ClientLink | None, descriptors: Iterable[int], timeout: float) -> set[int]:
    """Wait up to *timeout* seconds for a message, or until one of *descriptors* is readable; return those that are."""
    poller = zmq.Poller() if link is None else link.poller
    for descriptor in descriptors:
        poller.register(descriptor, zmq.POLLIN)
    return {ready for ready, _ in poller.poll(int(timeout * 1000)) if isinstance(ready, int)}
