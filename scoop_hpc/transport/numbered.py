"""Messages on a connection that may break: each has a number, and is kept until it is known to have arrived.

::

    Outgoing --1--> --2--> --3--> (broken)                      Incoming has taken 1
             --4-->                                             has 1, not 2: drops 4
             --Greet--> <--Greeted, 1 has arrived--             there is a connection again
             --2--> --3--> --4-->                               takes them, in order
             <--4 have arrived--                                after so many, and after some time

libzmq makes a broken connection again, and sends first what was not yet on its way. What was, it loses without a word.
So a receiver takes only the message that comes next, drops those that it has, and those that come too early: they
come again. Within one connection nothing is lost, and all stays in order.

The number stands before the first frame, and is known by its first byte: no message begins with that. A message without
a number, such as Greet, may be lost, or come twice.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol.messages import Buffer
from scoop_hpc.protocol.names import ProcessName

_NUMBER = struct.Struct("!Q")
_MARK = b"\0"  # the first byte of numbers below 2**56; messages are arrays of MessagePack: they begin with 0x90 or more
_MESSAGES = 64  # that have arrived, after which the sender is told
_BYTES = 2**20  # the same


def is_numbered(frames: Sequence[bytes]) -> bool:
    """Return whether a message has a number."""
    return frames[0].startswith(_MARK)


def with_number(number: int, frames: Sequence[Buffer]) -> list[Buffer]:
    """Return *frames* with the number of their message."""
    return [b"".join((_NUMBER.pack(number), frames[0])), *frames[1:]]


class Outgoing:
    """The messages to one receiver. The frames that are kept must not change."""

    def __init__(self) -> None:
        self._kept: deque[Sequence[Buffer]] = deque()  # without their numbers: one may be kept for many receivers
        self.arrived = 0  # messages, of which the receiver has told

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, frames: Sequence[Buffer]) -> list[Buffer]:
        """Keep a message; return its frames with the next number."""
        return with_number(self.keep(frames), frames)

    def keep(self, frames: Sequence[Buffer]) -> int:
        """Keep a message; return the next number, which it has."""
        self._kept.append(frames)
        return self.arrived + len(self._kept)

    def have_arrived(self, count: int) -> None:
        """Forget the messages up to number *count*; raise ProtocolError if there are not so many."""
        if count > self.arrived + len(self._kept):
            raise ProtocolError(f"{count} messages have arrived of {self.arrived + len(self._kept)} that were sent")
        while self.arrived < count:
            self._kept.popleft()
            self.arrived += 1

    def kept(self) -> list[list[Buffer]]:
        """Return the messages that are not known to have arrived, to be sent again."""
        return [with_number(number, frames) for number, frames in enumerate(self._kept, self.arrived + 1)]


class Incoming:
    """The messages of one sender, from its first Greet on."""

    def __init__(self) -> None:
        self.arrived = 0  # messages
        self._told = 0  # of these the sender knows
        self._bytes = 0  # of the others

    def take(self, frames: list[bytes]) -> list[bytes] | None:
        """Return *frames* without their number, None if this message is not the next; raise ProtocolError."""
        if not is_numbered(frames):
            return frames
        if len(frames[0]) < _NUMBER.size:
            raise ProtocolError(f"a message of {len(frames)} frames has no number")
        (number,) = _NUMBER.unpack_from(frames[0])
        if number != self.arrived + 1:
            return None
        self.arrived = number
        self._bytes += sum(map(len, frames))
        return [frames[0][_NUMBER.size :], *frames[1:]]

    def is_due(self) -> bool:
        """Return whether the sender should be told now what has arrived."""
        return self.arrived >= self._told + _MESSAGES or self._bytes >= _BYTES

    def is_owed(self) -> bool:
        """Return whether there is anything that the sender does not know of."""
        return self.arrived > self._told

    def tell(self) -> int:
        """Return how many messages have arrived: the sender is told."""
        self._told, self._bytes = self.arrived, 0
        return self.arrived


class Told(NamedTuple):
    """What a sender is told."""

    name: ProcessName
    arrived: int


class Inbox:
    """The messages of all senders that have numbers, at one socket.

    Whoever has not been greeted is not heard: its messages are for the one who had this address before. Nor is
    a name that libzmq has made up, for a connection whose own name was taken by a newer one, with messages to be read
    [router.cpp, router_t::identify_peer]: they come again by that.
    """

    def __init__(self) -> None:
        self._senders: dict[ProcessName, Incoming] = {}

    def greet(self, name: ProcessName) -> int:
        """Hear *name* from now on; return how many of its messages have arrived."""
        return self._senders.setdefault(name, Incoming()).tell()

    def drop(self, name: ProcessName) -> None:
        """Do not hear *name* any more."""
        self._senders.pop(name, None)

    def take(self, name: ProcessName, frames: list[bytes]) -> list[bytes] | None:
        """Return *frames* of *name* without their number, None for those to be dropped; raise ProtocolError."""
        if name in self._senders:
            return self._senders[name].take(frames)
        return None if is_numbered(frames) else frames

    def is_due(self, name: ProcessName) -> bool:
        """Return whether *name* should be told now what has arrived."""
        return name in self._senders and self._senders[name].is_due()

    def tell(self, name: ProcessName) -> int:
        """Return how many messages of *name* have arrived: it is told."""
        return self._senders[name].tell()

    def tell_all(self) -> list[Told]:
        """Return what all are to be told who do not know yet what has arrived."""
        return [Told(name, each.tell()) for name, each in self._senders.items() if each.is_owed()]
