"""A broker's policy: every number that decides how work is shared among nodes, and when a peer is given up."""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec import Struct

from scoop_hpc.protocol.names import BrokerName


class Policy(Struct, frozen=True):
    """The numbers of one broker. Times are in seconds."""

    tick: float = 0.25  # between repeats of messages that a peer may have missed
    memory_ticks: int = 40  # for which a task is kept whose outcome its owner has yet to take from shared memory
    risky_ticks: int = 1  # for which nobody has taken a risky task, and after which who waits for it may
    stolen_share: float = 0.5  # of a queue, for one thief
    next_address: float = 1.0  # for an answer from one address of a peer
    broken: float = 60.0  # from a broken connection to the word that one of the two nodes has to be given up
    broken_again: float = 5.0  # from that word to the next, as long as neither is
    messages_at_once: int = 100  # of the main socket, before other sockets have their turn
    linger: float = 0.2  # for messages that are still to be sent at the end

    def share(self, queued: int, asked: int) -> int:
        """Return how many of *queued* batches to give to a peer that *asked* for some: both keep work.

        >>> policy = Policy()
        >>> policy.share(5, 100), policy.share(1, 100), policy.share(0, 100)
        (3, 1, 0)
        """
        return min(asked, math.ceil(queued * self.stolen_share))


def victim(queued: Mapping[BrokerName, int]) -> BrokerName | None:
    """Return the peer to steal from: the one with the longest queue, None if all are empty.

    >>> from scoop_hpc.protocol.names import broker_name
    >>> victim({broker_name(1): 0, broker_name(2): 7})
    '2'
    """
    if not queued:
        return None
    best = max(queued, key=queued.__getitem__)
    return best if queued[best] else None
