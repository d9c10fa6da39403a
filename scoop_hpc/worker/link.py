"""The worker's socket: its line to the node's broker.

One thread at a time uses the socket, under the worker's lock. To wait for messages takes no lock, so that other threads
can send meanwhile: `wait` looks at descriptors only, zmq's and a pipe. The former is edge-triggered: it may tell of a
message once, and that to whichever thread uses the socket next [zmq_getsockopt(3), ZMQ_FD]. So every use of the socket
by another thread than the main one has to be followed by `wake`, which `send` sees to.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from threading import get_ident
from typing import Protocol

import zmq

from scoop_hpc.protocol.messages import Message
from scoop_hpc.transport import sockets

_LONG = 3600.0  # seconds: a longer time-out is waited for in pieces


class Link(Protocol):
    """A line to a broker, as an exchange uses it."""

    def send(self, message: Message) -> None:
        """Send *message*, without waiting."""

    def receive(self) -> list[Message]:
        """Return what has arrived, without waiting."""

    def wait(self, timeout: float | None) -> None:
        """Wait up to *timeout* seconds, or for ever, until something may have arrived, or until `wake`.

        It may return before: then `receive` finds nothing. Only after a `receive` that found nothing is it sure to
        notice what arrives.
        """

    def wake(self) -> None:
        """Let `wait`, which the main thread may be in, return."""

    def descriptor(self) -> int | None:
        """Return what another thread than the main one may wait for in its stead."""


class Unlinked:
    """A line to no broker, any more."""

    def send(self, message: Message) -> None:
        """There is nobody to send it to."""

    def receive(self) -> list[Message]:
        """Nothing arrives."""
        return []

    def wait(self, timeout: float | None) -> None:
        """Nothing will arrive."""

    def wake(self) -> None:
        """It does not sleep."""

    def descriptor(self) -> int | None:
        """There is none."""
        return None


class BrokerLink:
    """A DEALER connected to the broker's main socket; the thread that makes it is the one to wait."""

    def __init__(self, endpoint: str, name: str) -> None:
        self._context: sockets.Context = zmq.Context()
        self._socket = sockets.make(self._context, zmq.DEALER, name)
        self._socket.connect(endpoint)
        self._thread = get_ident()
        self._expects = False  # a message, since the socket has told of one
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)
        self._descriptor = int(self._socket.getsockopt(zmq.FD))
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)

    def send(self, message: Message) -> None:
        sockets.send(self._socket, message)
        if get_ident() != self._thread:
            self.wake()

    def receive(self) -> list[Message]:
        messages = []
        likely, self._expects = self._expects, False
        message = sockets.receive(self._socket, likely)
        while message is not None:
            messages.append(message)
            message = sockets.receive(self._socket)
        return messages

    def wait(self, timeout: float | None) -> None:
        # a signal just before the wait would be heeded only after it: the handlers of Python run between bytecodes
        before = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        try:
            for descriptor, _ in self._poll.poll(None if timeout is None else max(1, int(min(timeout, _LONG) * 1000))):
                if descriptor == self._woken:
                    os.read(self._woken, 1000)
                else:
                    self._expects = True
        finally:
            if before != self._waker:
                signal.set_wakeup_fd(before)  # of an event loop of asyncio, or none

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is full: who has not read it yet will
            os.write(self._waker, b"\0")

    def descriptor(self) -> int | None:
        return self._descriptor

    def close(self) -> None:
        """Close the socket, having sent what was still to be sent."""
        self._context.destroy(linger=1000)
