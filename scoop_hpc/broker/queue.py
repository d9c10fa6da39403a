"""The tasks that wait at a broker: first in, first out, and each found by its name in constant time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import msgspec

from scoop_hpc.protocol.messages import Batch
from scoop_hpc.protocol.names import ProcessName, WorkerName, is_broker

_Key = tuple[WorkerName, int]  # owner, first serial


class Queue:
    """Batches of tasks, oldest first."""

    def __init__(self) -> None:
        self._batches: OrderedDict[_Key, Batch] = OrderedDict()
        self._bundles: set[_Key] = set()  # those of several tasks: there are few, and they are searched

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches.values())

    def extend(self, batches: Iterable[Batch], sender: ProcessName) -> None:
        """Let *batches* wait behind all others; those that come back from a worker which had got them, before."""
        returned = []
        for batch in batches:
            key = batch.owner, batch.serial
            self._batches[key] = batch
            if batch.count > 1:
                self._bundles.add(key)
            if batch.owner != sender and not is_broker(sender):
                returned.append(key)
        for key in reversed(returned):
            self._batches.move_to_end(key, last=False)

    def pop(self) -> Batch:
        """Take the oldest."""
        key, batch = self._batches.popitem(last=False)
        if batch.count > 1:
            self._bundles.discard(key)
        return batch

    def find(self, owner: WorkerName, serial: int, drop: bool) -> bool:
        """Return whether the task is here; drop it if *drop*."""
        key = owner, serial
        batch = self._batches.get(key)
        if batch is None or serial in batch.dropped:
            key, batch = next(
                (
                    (key, self._batches[key])
                    for key in self._bundles
                    if key[0] == owner and key[1] <= serial < key[1] + self._batches[key].count
                ),
                (key, None),
            )
        if batch is None or serial in batch.dropped:
            return False
        if drop:
            dropped = (*batch.dropped, serial)
            if len(dropped) < batch.count:
                self._batches[key] = msgspec.structs.replace(batch, dropped=dropped)
            else:
                del self._batches[key]
                self._bundles.discard(key)
        return True
