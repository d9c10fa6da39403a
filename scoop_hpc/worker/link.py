"""The worker's socket: its line to the node's broker."""

from __future__ import annotations

import contextlib
import os
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

    def wake(self) -> None:
        """Let `receive`, which another thread may be in, return."""


class BrokerLink:
    """A DEALER connected to the broker's main socket."""

    def __init__(self, endpoint: str, name: str) -> None:
        self._context: sockets.Context = zmq.Context()
        self._socket = sockets.make(self._context, zmq.DEALER, name)
        self._socket.connect(endpoint)
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._woken, zmq.POLLIN)

    def send(self, message: Message) -> None:
        sockets.send(self._socket, message)

    def receive(self, timeout: Optional[float]) -> list[Message]:
        message = sockets.receive(self._socket)
        if message is None:
            if timeout == 0:
                return []
            ready = self._poller.poll(None if timeout is None else max(1, int(min(timeout, _LONG) * 1000)))
            if (self._woken, zmq.POLLIN) in ready:
                os.read(self._woken, 1000)
            message = sockets.receive(self._socket)
        messages = []
        while message is not None:
            messages.append(message)
            message = sockets.receive(self._socket)
        return messages

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is full: who has not read it yet will
            os.write(self._waker, b"\0")

    def close(self) -> None:
        """Close the socket, having sent what was still to be sent."""
        self._context.destroy(linger=1000)
