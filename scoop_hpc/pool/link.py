"""The client's socket: its line to the first broker of a pool, over ipc or, from node to node, over tcp.

One thread at a time uses the socket. To wait for messages is no use of it, for that is done at a descriptor, which is
edge-triggered [zmq_getsockopt(3), ZMQ_FD]: after every use, whoever used it must see that nothing `has_arrived`, or
see to it that it is received.
"""

from __future__ import annotations

import select
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
    """A DEALER connected to the main socket of a broker."""

    def __init__(self, way: Open, policy: ClientPolicy) -> None:
        self._context: sockets.Context = zmq.Context()
        self._policy = policy
        self._addresses = way.broker.main
        self._line = OwnLine(self._context, CLIENT, way.curve)
        self._dialer = Dialer(self._line, way.broker, policy.next_address, is_far=way.curve is not None)
        self._looked = time.monotonic()
        self._dialer.keep_trying(self._looked)
        self._broken_since: float | None = None
        self._poll = select.poll()
        self.descriptor = int(self._line.socket.getsockopt(zmq.FD))
        self._poll.register(self.descriptor, select.POLLIN)

    def send(self, message: Message) -> None:
        """Send *message*, without waiting."""
        self._dialer.send(message)

    def receive(self, likely: bool = False) -> list[Message]:
        """Return what has arrived; a first message that is *likely* is not asked for before."""
        messages = []
        frames = self._line.receive(likely)
        while frames is not None:
            message = self._dialer.take(frames)
            if message is not None:
                messages.append(message)
            frames = self._line.receive()
        return messages

    def has_arrived(self) -> bool:
        """Return whether there is something to receive."""
        return sockets.has_arrived(self._line.socket)

    def wait(self, timeout: float) -> None:
        """Wait up to *timeout* seconds until something may have arrived."""
        self._poll.poll(max(0, int(timeout * 1000)))

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
        if self._line.was_lost() and self._dialer.has_lost(now) and self._broken_since is None:
            self._broken_since = now
        if self._dialer.is_open:
            self._broken_since = None
        if self._broken_since is not None and now > self._broken_since + self._policy.broken:
            raise BrokenPoolError("the connection to the pool's first broker broke: tasks may be lost")

    def close(self) -> None:
        """Close the socket."""
        self._context.destroy(linger=0)


class Ears:
    """What the pool's thread listens to: descriptors, of which one can be muted while it waits, by any thread."""

    CAN_MUTE = hasattr(select, "epoll")

    def __init__(self) -> None:
        self._poll: Any = select.epoll() if self.CAN_MUTE else select.poll()

    def add(self, descriptor: int) -> None:
        """Listen to *descriptor*, too."""
        self._poll.register(descriptor, select.POLLIN)

    def mute(self, descriptor: int) -> None:
        """Leave what comes at *descriptor* to another thread."""
        self._poll.modify(descriptor, 0)

    def unmute(self, descriptor: int) -> None:
        """Listen to *descriptor* again, also to what has come since."""
        self._poll.modify(descriptor, select.POLLIN)

    def wait(self, timeout: float) -> list[int]:
        """Wait up to *timeout* seconds; return the descriptors that have something."""
        return [ready for ready, _ in self._poll.poll(timeout if self.CAN_MUTE else int(timeout * 1000))]

    def close(self) -> None:
        """Stop listening."""
        if self.CAN_MUTE:
            self._poll.close()
