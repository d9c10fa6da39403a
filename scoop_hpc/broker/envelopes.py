"""What goes between two brokers by way of others, in an envelope that says for whom it is, and from whom.

::

    broker 45                 broker 2                  broker 0
    trunk --[0 from 45]-----> main, trunk --[0 from 45]--> main      what 45 sends
    trunk <--[45 from 0]----- main, trunk <--[45 from 0]-- main      what 0 answers, on the same connections

In a run of thousands of brokers all have something for broker 0, whose node the program is on: each has outcomes
for it, several in a second, so connections that are closed when unused would not be fewer. They go along the tree of
`Neighbours`, in which broker 0 has a connection to each child, and one from it. It takes in as many messages as
before, which is what bounds it; a child passes on a sixteenth of them. Others meet each other seldom, and without a
hub among them: they are connected where they have something to send.

What is in the envelope has the numbers of the two ends, not of those between, which may die with it: the ends repeat
what has not arrived [Saltzer, Reed and Clark, End-to-end arguments in system design, ACM Trans. Computer Systems 2
(1984) 277]. An envelope is one frame before those of a message, known by its first byte, as a number is: see
`transport.numbered`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol.messages import Buffer
from scoop_hpc.protocol.names import BrokerName, NodeIndex, broker_name

_MARK = b"\1"  # numbers begin with 0, messages with 0x90 or more
_FORM = re.compile(rb"\x01(0|[1-9][0-9]{0,8}) (0|[1-9][0-9]{0,8}) ([0-9]{1,2})\Z")
_HOPS = 16  # passes, after which it is dropped: brokers may differ for a moment about the way


class Envelope(NamedTuple):
    """The *frames* of a message of the broker *source* for the broker *to*, which may be passed on *hops* times."""

    to: BrokerName
    source: BrokerName
    frames: Sequence[Buffer]
    hops: int = _HOPS

    def sealed(self) -> list[Buffer]:
        """Return the frames to be sent."""
        return [_MARK + f"{self.to} {self.source} {self.hops}".encode(), *self.frames]

    def passed_on(self) -> Envelope | None:
        """Return what the next broker gets; None if it has gone too far."""
        return self._replace(hops=self.hops - 1) if self.hops else None


def is_sealed(frames: Sequence[bytes]) -> bool:
    """Return whether there is an envelope around a message."""
    return frames[0].startswith(_MARK)


def opened(frames: Sequence[bytes]) -> Envelope:
    """Return the envelope around a message; raise ProtocolError for an invalid one.

    >>> opened(Envelope(broker_name(0), broker_name(45), [b"message"]).sealed())
    Envelope(to='0', source='45', frames=[b'message'], hops=16)
    """
    found = _FORM.match(bytes(frames[0]))
    if found is None:
        raise ProtocolError(f"{bytes(frames[0][:40])!r} is no envelope")
    to, source, hops = map(int, found.groups())
    inside = frames[1:]
    if not inside or is_sealed(inside):
        raise ProtocolError(f"the envelope {bytes(frames[0])!r} has no message in it")
    return Envelope(broker_name(NodeIndex(to)), broker_name(NodeIndex(source)), inside, hops)
