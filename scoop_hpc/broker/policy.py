"""How much work one broker asks of others, or gives away."""

from __future__ import annotations

from collections.abc import Mapping

from scoop_hpc.protocol.messages import Batch
from scoop_hpc.protocol.names import BrokerName


def victim(queued: Mapping[BrokerName, int]) -> BrokerName | None:
    """Return the peer to steal from: the one with the longest queue, None if all are empty.

    >>> victim({"1": 0, "2": 7})
    '2'
    """
    if not queued:
        return None
    best = max(queued, key=queued.__getitem__)
    return best if queued[best] else None


def share(queued: int, asked: int) -> int:
    """Return how many of *queued* tasks to give to a peer that asked for some: at most half, so that both have work.

    >>> share(5, 100), share(1, 100), share(0, 100)
    (3, 1, 0)
    """
    return min(asked, (queued + 1) // 2)


def tasks_in(batch: Batch) -> int:
    """Return how many tasks *batch* stands for.

    >>> tasks_in(Batch("0.0", 1, [], count=3, dropped=(2,)))
    2
    """
    return batch.count - len(batch.dropped)
