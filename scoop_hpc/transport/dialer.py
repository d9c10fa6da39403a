"""Reach a broker that has several addresses: try them in turn, until the broker itself answers at one.

::

    TRYING --Greet, to the next address--> TRYING --Greeted--> OPEN

An address may lead elsewhere (every Docker host is 172.17.0.1), so it counts only when the broker, known by its name
and by the key of the run, has answered there. Messages for it are held back until then.
"""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from scoop_hpc.protocol.messages import BrokerUp, Curve, Greet, Greeted, Message
from scoop_hpc.protocol.names import BrokerName, ProcessName, broker_name
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import sockets
from scoop_hpc.transport.maps import spelled_out


class Search:
    """Several addresses, each tried in turn for some *seconds*, again and again, until one answers. It has no clock."""

    def __init__(self, addresses: Sequence[str], seconds: float) -> None:
        self.attempt = -1  # the number of the last one
        self.is_over = False
        self._addresses = addresses
        self._seconds = seconds
        self._tried = float("-inf")

    def address(self) -> str:
        """Return the address of the last attempt."""
        return self._addresses[self.attempt % len(self._addresses)]

    def goes_on(self, now: float) -> bool:
        """Return whether an attempt begins now, at the next address."""
        if self.is_over or now < self._tried + self._seconds:
            return False
        self._tried = now
        self.attempt += 1
        return True

    def rounds(self) -> int:
        """Return how often all addresses were tried before this attempt."""
        return self.attempt // len(self._addresses)

    def is_ended_by(self, attempt: int) -> bool:
        """Take in an answer to an *attempt*; return whether it ends the search: old ones, and second ones, do not."""
        if self.is_over or attempt != self.attempt:
            return False
        self.is_over = True
        return True


class Dialer:
    """A DEALER of the process *name*, towards one broker; over TCP if there is a *curve*."""

    def __init__(
        self, context: sockets.Context, name: ProcessName, broker: BrokerUp, curve: Curve | None, seconds: float
    ) -> None:
        self.name: BrokerName = broker_name(broker.node)
        self.socket = sockets.make(context, zmq.DEALER, name, watch_silence=curve is not None)
        if curve is not None:
            keys.dial(self.socket, curve)
        self.is_connected = False  # as of the last look
        self._watch = sockets.Watch(self.socket)
        self._is_far = curve is not None  # on another machine
        self._broker = broker
        self._search = Search(broker.main, seconds)
        self._address: str | None = None  # that the socket is connected to, if it has ever been
        self._held: list[Message] = []

    @property
    def is_open(self) -> bool:
        """True once the broker has answered."""
        return self._search.is_over

    def rounds(self) -> int:
        """Return how often all addresses were tried in vain."""
        return self._search.rounds()

    def meta(self) -> str:
        """Return the address of the broker's meta socket, at the interface where it has answered."""
        return self._broker.meta[self._search.attempt % len(self._broker.meta)]

    def send(self, message: Message) -> None:
        """Send *message*, now or once the broker has answered."""
        if self.is_open:
            self._send(message)
        else:
            self._held.append(message)

    def _send(self, message: Message) -> None:
        """Send *message*; to another machine, large frames in full instead of references to memory here."""
        whole = spelled_out(message) if self._is_far else message
        sockets.send(self.socket, whole, copy=whole is message)

    def receive(self) -> list[Message]:
        """Return the messages that have arrived, without answers to the search; its end sends those held back."""
        messages = []
        message = sockets.receive(self.socket)
        while message is not None:
            if not isinstance(message, Greeted):
                messages.append(message)
            elif self._search.is_ended_by(message.attempt):
                held, self._held = self._held, []
                for each in held:
                    self._send(each)
            message = sockets.receive(self.socket)
        return messages

    def keep_trying(self, now: float) -> None:
        """Go on to the next address if the last one has not answered in time."""
        if not self._search.goes_on(now):
            return
        if self._address is not None:
            self.socket.disconnect(self._address)
        self._address = self._search.address()
        sockets.connect(self.socket, self._address)
        sockets.send(self.socket, Greet(self.name, self._search.attempt))

    def has_broken(self) -> bool:
        """Return whether the connection was lost since the last look, after the broker had answered.

        It may have been made again since: see `is_connected`. What was under way on it is lost all the same.
        """
        changes = self._watch.news()
        if changes:
            self.is_connected = changes[-1].is_made
        return self.is_open and any(not change.is_made for change in changes)
