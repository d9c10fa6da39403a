"""The client's socket: its line to the first broker of a pool, over ipc or, from node to node, over tcp."""

from __future__ import annotations

import time
from typing import Any

import zmq

from scoop_hpc.errors import BrokenPoolError
from scoop_hpc.pool.policy import ClientPolicy
from scoop_hpc.protocol.messages import Message, Open
from scoop_hpc.protocol.names import CLIENT
from scoop_hpc.transport import sockets
from scoop_hpc.transport.dialer import Dialer
from scoop_hpc.transport.lines import OwnLine


class ClientLink:
    """A DEALER connected to the main socket of a broker; made, used and closed in one thread."""

    def __init__(self, way: Open, policy: ClientPolicy) -> None:
        self._context: sockets.Context = zmq.Context()
        self._policy = policy
        self._addresses = way.broker.main
        self._line = OwnLine(self._context, CLIENT, way.curve)
        self._dialer = Dialer(self._line, way.broker, policy.next_address, is_far=way.curve is not None)
        self._looked = time.monotonic()
        self._dialer.keep_trying(self._looked)
        self._broken_since: float | None = None
        self.socket = self._line.socket

    def send(self, message: Message) -> None:
        """Send *message*, without waiting."""
        self._dialer.send(message)

    def receive(self) -> list[Message]:
        """Return what has arrived."""
        messages = []
        while (frames := self._line.receive()) is not None:
            message = self._dialer.take(frames)
            if message is not None:
                messages.append(message)
        return messages

    def wait(self, timeout: float) -> None:
        """Wait up to *timeout* seconds until something has arrived."""
        self.socket.poll(max(0, int(timeout * 1000)))

    def look(self) -> None:
        """Keep trying to reach the broker; raise BrokenPoolError if that fails, or the connection is lost."""
        now = time.monotonic()
        if (
            now < self._looked + self._policy.look
        ):  # a look takes some microseconds, and this is called for each message
            return
        self._looked = now
        self._dialer.keep_trying(now)
        if not self._dialer.is_found and self._dialer.rounds() >= self._policy.rounds:
            raise BrokenPoolError(f"no answer from the first broker of the pool at {', '.join(self._addresses)}")
        self._dialer.tell()
        if self._line.was_lost() and self._dialer.has_lost() and self._broken_since is None:
            self._broken_since = now
        if self._dialer.is_open:
            self._broken_since = None
        if self._broken_since is not None and now > self._broken_since + self._policy.broken:
            raise BrokenPoolError("the connection to the pool's first broker broke: tasks may be lost")

    def close(self) -> None:
        """Close the socket."""
        self._context.destroy(linger=0)


class Ears:
    """What the pool's thread listens to: descriptors, and a link once there is one."""

    def __init__(self) -> None:
        self._poller = zmq.Poller()

    def add(self, source: int | ClientLink) -> None:
        """Listen to *source*, too."""
        self._poller.register(source.socket if isinstance(source, ClientLink) else source, zmq.POLLIN)

    def wait(self, timeout: float) -> list[Any]:
        """Wait up to *timeout* seconds; return the descriptors, and the sockets of links, that have something."""
        return [ready for ready, _ in self._poller.poll(int(timeout * 1000))]
