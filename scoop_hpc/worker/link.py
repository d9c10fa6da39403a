"""The worker's socket: its line to the node's broker."""

from __future__ import annotations

from typing import Optional, Protocol

import zmq

from scoop_hpc.protocol.messages import Message
from scoop_hpc.transport import sockets

_LONG = 3600.0  # seconds: a longer time-out is waited for in pieces


class Link(Protocol):
    """What a controller needs of a line to a broker."""

    def send(self, message: Message) -> None:
        """Send *message*, without waiting."""

    def receive(self, timeout: Optional[float]) -> list[Message]:
        """Return what has arrived; wait up to *timeout* seconds, or for ever, for the first message.

        It may return nothing before the time is over."""


class BrokerLink:
    """A DEALER connected to the broker's main socket."""

    def __init__(self, endpoint: str, name: str) -> None:
        self._context: sockets.Context = zmq.Context()
        self._socket = sockets.make(self._context, zmq.DEALER, name)
        self._socket.connect(endpoint)

    def send(self, message: Message) -> None:
        sockets.send(self._socket, message)

    def receive(self, timeout: Optional[float]) -> list[Message]:
        if timeout != 0 and not self._socket.poll(None if timeout is None else max(1, int(min(timeout, _LONG) * 1000))):
            return []
        messages = []
        message = sockets.receive(self._socket)
        while message is not None:
            messages.append(message)
            message = sockets.receive(self._socket)
        return messages

    def close(self) -> None:
        """Close the socket, having sent what was still to be sent."""
        self._context.destroy(linger=1000)
