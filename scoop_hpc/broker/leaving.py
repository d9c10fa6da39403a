"""Which nodes leave the run, as one broker knows it, and how many workers there are in it therefore.

::

    takes part --Peers: it leaves--> takes no tasks, hands back those that wait --Drained--> --Gone: it has left-->

The others stop to count on a node that leaves: they neither steal from it nor tell it of their load, and tasks take
their ways without it. Its workers are not counted any more.
"""

from __future__ import annotations

from collections.abc import Collection

from scoop_hpc.protocol.messages import Demand, Peers, RunSize
from scoop_hpc.protocol.names import BrokerName, ProcessName, broker_name

_ALL = 2**30  # more batches than a worker has


class Leaving:
    """The nodes that leave, and the workers of those that do not, as the broker *name* knows them."""

    def __init__(self, name: BrokerName) -> None:
        self.others: set[BrokerName] = set()  # that leave
        self.is_own = False  # the node of this broker leaves
        self.demand = Demand(_ALL, _ALL)  # for workers of a node that leaves: all that they have not begun
        self._name = name
        self._workers: dict[BrokerName, int] = {}  # of each node
        self._size: int | None = None  # that the workers here know of; None: they know it from their start

    def heard(self, message: Peers) -> bool:
        """Take in who takes part, and who leaves; return whether this node begins to leave."""
        self._workers.update((broker_name(broker.node), broker.workers) for broker in message.brokers)
        leaving = set(map(broker_name, message.leaving))
        self.others |= leaving - {self._name}
        before, self.is_own = self.is_own, self.is_own or self._name in leaving
        return self.is_own and not before

    def new_size(self, gone: Collection[ProcessName]) -> RunSize | None:
        """Return the number of workers, without those of nodes that are *gone* or leave; None if that is no news."""
        for name in [name for name in self._workers if name in gone]:
            del self._workers[name]
        left_out = self.others if not self.is_own else self.others | {self._name}
        size = sum(count for name, count in self._workers.items() if name not in left_out)
        before, self._size = self._size, size
        return RunSize(size) if before not in (None, size) and size > 0 else None

    def size_for_late(self) -> RunSize | None:
        """Return what a worker is to be told that has begun after the others."""
        return RunSize(self._size) if self._size else None
