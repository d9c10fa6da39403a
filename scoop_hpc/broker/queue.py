"""The tasks that wait at a broker, by two orders, and each found by owner and serial in constant time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

import msgspec

from scoop_hpc.protocol.messages import Batch
from scoop_hpc.protocol.names import ORIGIN, ProcessName, WorkerName, is_broker, is_worker

_Key = tuple[WorkerName, int]  # owner, serial of the first task when it came: no other batch has that


class Queue:
    """Batches of tasks, oldest first.

    To others `batches` is to be read only: whether it is empty costs a call of a function less there.
    """

    def __init__(self) -> None:
        self.batches: OrderedDict[_Key, Batch] = OrderedDict()
        self._several: set[_Key] = set()  # the batches of several tasks: there are few, and they are searched
        self._inner: OrderedDict[_Key, None] = OrderedDict()  # the batches of tasks that tasks have submitted

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches.values())

    def extend(self, batches: Iterable[Batch], sender: ProcessName) -> None:
        """Queue *batches* behind all others; before them, if they come back from a worker that got them from others."""
        returned = []
        for batch in batches:
            key = batch.owner, batch.first() if batch.dropped else batch.serial
            self.batches[key] = batch
            if batch.owner != ORIGIN and is_worker(batch.owner):
                self._inner[key] = None
            if batch.count > 1:
                self._several.add(key)
            elif self._several:
                self._several.discard(key)  # somebody has sent a task twice
            if batch.owner != sender and not is_broker(sender):
                returned.append(key)
        for key in reversed(returned):
            self.batches.move_to_end(key, last=False)
            if key in self._inner:
                self._inner.move_to_end(key, last=False)

    def drop_owned(self, is_gone: Callable[[WorkerName], bool]) -> None:
        """Drop the tasks of owners that are gone."""
        for key in [key for key in self.batches if is_gone(key[0])]:
            self._remove(key)

    def pop(self) -> Batch:
        """Take the oldest."""
        key, batch = self.batches.popitem(last=False)
        if batch.count > 1:
            self._several.discard(key)
        if self._inner:
            self._inner.pop(key, None)
        return batch

    def pop_for_worker(self, many: int) -> Batch:
        """Take the oldest; if more than so *many* wait that no task has submitted, the oldest that one has."""
        if not self._inner or len(self.batches) - len(self._inner) <= many:
            return self.pop()
        key, _ = self._inner.popitem(last=False)
        self._several.discard(key)
        return self.batches.pop(key)

    def pop_of(self, owner: WorkerName) -> Batch:
        """Take the oldest of this *owner*, who has one."""
        key = next(key for key in self.batches if key[0] == owner)
        return self._remove(key)

    def pop_if(self, condition: Callable[[Batch], bool]) -> Batch:
        """Take the oldest that meets a *condition*, as one does."""
        key = next(key for key, batch in self.batches.items() if condition(batch))
        return self._remove(key)

    def _remove(self, key: _Key) -> Batch:
        self._several.discard(key)
        self._inner.pop(key, None)
        return self.batches.pop(key)

    def get(self, owner: WorkerName, serial: int) -> Batch | None:
        """Return the batch that a task is in, None if it is not here."""
        key = self._key_of(owner, serial)
        return None if key is None else self.batches[key]

    def find(self, owner: WorkerName, serial: int, drop: bool) -> bool:
        """Return whether the task is here; drop it if *drop*."""
        key = self._key_of(owner, serial)
        if key is None:
            return False
        if drop:
            batch = self.batches[key]
            dropped = (*batch.dropped, serial)
            if len(dropped) < batch.count:
                self.batches[key] = msgspec.structs.replace(batch, dropped=dropped)
            else:
                self._remove(key)
        return True

    def _key_of(self, owner: WorkerName, serial: int) -> _Key | None:
        """Return where the batch is that a task is in, None if it is not here or was dropped."""
        key = owner, serial
        batch = self.batches.get(key)
        if batch is not None and serial not in batch.dropped:
            return key
        return next((key for key in self._several if self.batches[key].holds(owner, serial)), None)
