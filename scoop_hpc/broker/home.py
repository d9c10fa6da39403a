"""What a broker knows of its own workers' tasks that have left for other nodes, to queue them again if one is lost.

::

    sent to a peer --> [ away ] --its outcome, or it comes back, or is dropped--> struck out
                         |  '--Moved: that peer has sent it on to another
                         '--the node that has it is lost--> to be queued again, or failed after too many losses

Where a task is may be known late, for who has sent it on may have died before it could say so; or it said so, and died
before the task had left. So what such a node has sent on counts as lost with it. Then a task is queued again although
it lives on elsewhere: it is executed twice, after one loss, and the first outcome counts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import msgspec

from scoop_hpc.broker.ledger import Remains, after_loss, only, serials_in
from scoop_hpc.protocol.messages import Batch, Loss, Moved
from scoop_hpc.protocol.names import BrokerName, WorkerName


class _Away(msgspec.Struct, frozen=True, eq=False):
    """A batch that is at a peer; of several tasks, some may be done or elsewhere."""

    batch: Batch
    place: BrokerName
    hops: int
    via: BrokerName | None = None  # that has sent it there, if that was not its home


class Home:
    """The tasks of a node's workers that are at other nodes."""

    __slots__ = ("_away",)

    def __init__(self) -> None:
        self._away: dict[tuple[WorkerName, int], _Away] = {}  # by owner and serial

    def __len__(self) -> int:
        return len(self._away)

    def add(self, batch: Batch, place: BrokerName) -> None:
        """Note that *batch* is sent to the broker *place*."""
        away = _Away(batch, place, batch.hops)
        for serial in serials_in(batch):
            self._away[batch.owner, serial] = away

    def strike(self, owner: WorkerName, serials: Iterable[int]) -> list[int]:
        """Forget tasks, which are done, or here again, or dropped; return those that were not known to be away."""
        pop = self._away.pop
        return [serial for serial in serials if pop((owner, serial), None) is None]

    def take_back(self, batch: Batch) -> Batch | None:
        """Note that a *batch* comes back; return what of it is to be executed, None if nothing is.

        That is not what was queued again since it left, for its node or the one that had sent it on is lost.
        """
        own = [serial for serial in serials_in(batch) if self._is_current(batch, serial)]
        self.strike(batch.owner, own)
        return only(batch, set(own)) if own else None

    def _is_current(self, batch: Batch, serial: int) -> bool:
        away = self._away.get((batch.owner, serial))
        return away is not None and len(away.batch.losses) <= len(batch.losses)

    def drop_owned(self, is_gone: Callable[[WorkerName], bool]) -> None:
        """Forget the tasks of owners that are gone."""
        for key in [key for key in self._away if is_gone(key[0])]:
            del self._away[key]

    def place_of(self, owner: WorkerName, serial: int) -> BrokerName | None:
        """Return where a task is, as far as known; None if it is not away."""
        away = self._away.get((owner, serial))
        return None if away is None else away.place

    def copy_of(self, owner: WorkerName, serial: int) -> Batch | None:
        """Return a task as a batch of its own, None if it is not away."""
        away = self._away.get((owner, serial))
        return None if away is None else only(away.batch, {serial})

    def moved(self, message: Moved, sender: BrokerName) -> None:
        """Note that *sender* has sent tasks on; what has happened to them later may be known already."""
        news: dict[_Away, _Away] = {}
        for serial in message.serials:
            away = self._away.get((message.owner, serial))
            if away is None or (len(message.losses), message.hops) <= (len(away.batch.losses), away.hops):
                continue
            if away not in news:
                batch = away.batch
                if message.losses:
                    batch = msgspec.structs.replace(batch, losses=message.losses)
                news[away] = _Away(batch, message.to, message.hops, sender)
            self._away[message.owner, serial] = news[away]

    def lost(self, places: Collection[BrokerName], cause: str, in_order: bool = False) -> Remains:
        """Forget the tasks that were at these *places*, or may not have left them, and return what becomes of them.

        Which of them had begun nobody knows. So each has a loss that hardly counts, as if it had waited there. What was
        sent on from places that have ended *in order* has left them.
        """
        found = Remains([], [])
        left: dict[_Away, set[int]] = {}
        for (_, serial), away in self._away.items():
            if away.place in places or (away.via in places and not in_order):
                left.setdefault(away, set()).add(serial)
        for away, serials in left.items():
            self.strike(away.batch.owner, serials)
            batch = msgspec.structs.replace(only(away.batch, serials), hops=away.hops)
            after_loss(batch, Loss(cause, waited=True), found)
        return found
