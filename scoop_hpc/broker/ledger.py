"""The ledger of one worker: the tasks that it was given and has not done, to be queued again if it dies.

::

    given --> [ ledger ] --outcome, or given back, or dropped--> struck out
                  |
                  '--the worker dies--> begun: each by itself, with one loss more, or failed after its last attempt
                                        not begun: queued again as they were
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from scoop_hpc.protocol.messages import Batch, Loss, TaskLost, WorkerDied
from scoop_hpc.protocol.names import WorkerName, broker_of, node_of

_WAITED = 4  # times as many attempts may be lost while the task waits


class _Part(msgspec.Struct):
    """A batch of several tasks, and those of them that are left."""

    batch: Batch
    left: set[int]


class Remains(msgspec.Struct, frozen=True):
    """What the death of a worker makes of its tasks."""

    batches: list[Batch]  # to be queued again
    failed: list[TaskLost]


class Ledger:
    """The tasks of one worker."""

    __slots__ = ("_several", "_single")

    def __init__(self) -> None:
        self._single: dict[tuple[WorkerName, int], Batch] = {}
        self._several: list[_Part] = []  # there are few

    def __bool__(self) -> bool:
        return bool(self._single or self._several)

    def add(self, batches: Iterable[Batch], worker: WorkerName) -> None:
        """Note that *batches* are given to the *worker*; its own tasks are not noted."""
        for batch in batches:
            if batch.owner == worker:
                continue
            if batch.count == 1:
                self._single[batch.owner, batch.serial] = batch
            elif batch.tasks() == 1:
                self._single[batch.owner, batch.first()] = batch
            else:
                self._several.append(_Part(batch, set(serials_in(batch))))

    def strike(self, owner: WorkerName, serials: Sequence[int]) -> None:
        """Forget tasks: the worker has done them, or has them no longer."""
        single = self._single
        if len(serials) == 1 and not self._several:  # nearly always
            single.pop((owner, serials[0]), None)
            return
        others = [serial for serial in serials if single.pop((owner, serial), None) is None]
        if others and self._several:
            for part in self._several:
                if part.batch.owner == owner:
                    part.left.difference_update(others)
            self._several = [part for part in self._several if part.left]

    def strike_batch(self, batch: Batch) -> None:
        """Forget the tasks in *batch*, which the worker has given back, or made itself."""
        self.strike(batch.owner, serials_in(batch))

    def drop_owned(self, is_gone: Callable[[WorkerName], bool]) -> None:
        """Forget the tasks of owners that are gone: nobody wants them."""
        for key in [key for key in self._single if is_gone(key[0])]:
            del self._single[key]
        self._several = [part for part in self._several if not is_gone(part.batch.owner)]

    def copy_of(self, owner: WorkerName, serial: int) -> Batch | None:
        """Return a task as a batch of its own, None if it is not here."""
        batch = self._single.get((owner, serial))
        if batch is not None:
            return batch
        for part in self._several:
            if part.batch.owner == owner and serial in part.left:
                return only(part.batch, {serial})
        return None

    def remains(self, died: WorkerDied) -> Remains:
        """Take the death of the worker, and return what becomes of its tasks.

        Those that had begun have lost an attempt. Where some were too long, they are why it died, and only they. Those
        that waited have lost one that hardly counts, but does: what they wait for may take their worker down for ever.
        """
        blamed = {(task.owner, task.serial) for task in died.too_long or died.begun}
        waited = {(task.owner, task.serial) for task in (*died.waited, *died.begun)} - blamed
        loss = Loss(died.cause, bool(died.too_long), node=node_of(broker_of(died.name)))
        other_loss = Loss(died.cause, waited=True)
        found = Remains([], [])
        parts = [_Part(batch, {serial}) for (_, serial), batch in self._single.items()] + self._several
        for part in parts:
            batch = part.batch
            guilty = [serial for serial in sorted(part.left) if (batch.owner, serial) in blamed]
            others = [serial for serial in sorted(part.left) if (batch.owner, serial) in waited]
            innocent = part.left.difference(guilty, others)
            if innocent:
                found.batches.append(only(batch, innocent))
            for serial in guilty:
                after_loss(only(batch, {serial}), loss, found)
            for serial in others:
                after_loss(only(batch, {serial}), other_loss, found)
        self._single.clear()
        self._several.clear()
        return found


def after_loss(batch: Batch, loss: Loss, found: Remains) -> None:
    """Put *batch*, whose tasks have one *loss* more, where it belongs: to what is queued again, or has failed."""
    losses = (*batch.losses, loss)
    late = sum(each.too_long for each in losses)
    waited = sum(each.waited for each in losses)
    most = batch.terms.attempts
    if loss.too_long and late >= batch.terms.in_time:
        found.failed.append(TaskLost(batch.owner, tuple(serials_in(batch)), losses, batch.terms.time_limit))
    elif len(losses) - late - waited >= most or waited >= _WAITED * most:
        found.failed.append(TaskLost(batch.owner, tuple(serials_in(batch)), losses))
    else:
        found.batches.append(msgspec.structs.replace(batch, losses=losses))


def only(batch: Batch, serials: Collection[int]) -> Batch:
    """Return the part of *batch* with these tasks.

    >>> only(Batch("0.0", 1, [b"calls"], count=3), {2}).dropped
    (1, 3)
    """
    if batch.tasks() == len(serials):
        return batch
    others = (serial for serial in range(batch.serial, batch.serial + batch.count) if serial not in serials)
    return msgspec.structs.replace(batch, dropped=tuple(others))


def serials_in(batch: Batch) -> Sequence[int]:
    """Return the serials of the tasks that are to be executed.

    >>> list(serials_in(Batch("0.0", 1, [b"calls"], count=3, dropped=(2,))))
    [1, 3]
    """
    serials = range(batch.serial, batch.serial + batch.count)
    if not batch.dropped:
        return serials
    dropped = set(batch.dropped)
    return [serial for serial in serials if serial not in dropped]
