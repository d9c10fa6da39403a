"""The tasks that wait at a broker: first in, first out, and each found by owner and serial in constant time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import msgspec

from scoop_hpc.protocol.messages import Batch
from scoop_hpc.protocol.names import ProcessName, WorkerName, is_broker

_Key = tuple[WorkerName, int]  # owner, first serial: never taken apart


class Queue:
    """Batches of tasks, oldest first."""

    def __init__(self) -> None:
        self._batches: OrderedDict[_Key, Batch] = OrderedDict()
        self._several: set[_Key] = set()  # the batches of several tasks: there are few, and they are searched

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches.values())

    def extend(self, batches: Iterable[Batch], sender: ProcessName) -> None:
        """Queue *batches* behind all others; before them, if a worker gives back what it got from others."""
        returned = []
        for batch in batches:
            key = batch.owner, batch.serial
            self._batches[key] = batch
            if batch.count > 1:
                self._several.add(key)
            if batch.owner != sender and not is_broker(sender):
                returned.append(key)
        for key in reversed(returned):
            self._batches.move_to_end(key, last=False)

    def pop(self) -> Batch:
        """Take the oldest."""
        key, batch = self._batches.popitem(last=False)
        if batch.count > 1:
            self._several.discard(key)
        return batch

    def find(self, owner: WorkerName, serial: int, drop: bool) -> bool:
        """Return whether the task is here; drop it if *drop*."""
        batch = self._batch_of(owner, serial)
        if batch is None:
            return False
        if drop:
            key = batch.owner, batch.serial
            dropped = (*batch.dropped, serial)
            if len(dropped) < batch.count:
                self._batches[key] = msgspec.structs.replace(batch, dropped=dropped)
            else:
                del self._batches[key]
                self._several.discard(key)
        return True

    def _batch_of(self, owner: WorkerName, serial: int) -> Batch | None:
        """Return the batch that a task is in, None if it is not here or was dropped."""
        batch = self._batches.get((owner, serial))
        if batch is not None and serial not in batch.dropped:
            return batch
        for key in self._several:
            batch = self._batches[key]
            if batch.owner == owner and batch.serial <= serial < batch.serial + batch.count:
                return None if serial in batch.dropped else batch
        return None
