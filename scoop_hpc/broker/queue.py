"""The tasks that wait at a broker: first in, first out, and each found by its name in constant time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import msgspec

from scoop_hpc.protocol.messages import Parcel, node_of

_Key = tuple[str, int]  # owner, first serial


class Queue:
    """Parcels of tasks, oldest first."""

    def __init__(self) -> None:
        self._parcels: OrderedDict[_Key, Parcel] = OrderedDict()
        self._bundles: set[_Key] = set()  # those of several tasks: there are few, and they are searched

    def __len__(self) -> int:
        return len(self._parcels)

    def __iter__(self) -> Iterator[Parcel]:
        return iter(self._parcels.values())

    def extend(self, parcels: Iterable[Parcel], sender: str) -> None:
        """Let *parcels* wait behind all others; those that come back from a worker which had got them, before."""
        returned = []
        for parcel in parcels:
            key = parcel.owner, parcel.serial
            self._parcels[key] = parcel
            if parcel.count > 1:
                self._bundles.add(key)
            if parcel.owner != sender and node_of(sender) != sender:
                returned.append(key)
        for key in reversed(returned):
            self._parcels.move_to_end(key, last=False)

    def pop(self) -> Parcel:
        """Take the oldest."""
        key, parcel = self._parcels.popitem(last=False)
        if parcel.count > 1:
            self._bundles.discard(key)
        return parcel

    def find(self, owner: str, serial: int, drop: bool) -> bool:
        """Whether the task is here; drop it if *drop*."""
        key = owner, serial
        parcel = self._parcels.get(key)
        if parcel is None or serial in parcel.dropped:
            key, parcel = next(
                (
                    (key, self._parcels[key])
                    for key in self._bundles
                    if key[0] == owner and key[1] <= serial < key[1] + self._parcels[key].count
                ),
                (key, None),
            )
        if parcel is None or serial in parcel.dropped:
            return False
        if drop:
            dropped = (*parcel.dropped, serial)
            if len(dropped) < parcel.count:
                self._parcels[key] = msgspec.structs.replace(parcel, dropped=dropped)
            else:
                del self._parcels[key]
                self._bundles.discard(key)
        return True
