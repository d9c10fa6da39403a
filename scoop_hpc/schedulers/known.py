"""Things by name, scoop_hpc's own and those that other packages bring; it costs little to see that none does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

GROUP = "scoop_hpc.schedulers"  # of entry points: see scoop_hpc.schedulers.plugins

_INFO = (".dist-info", ".egg-info")

_Part = TypeVar("_Part")


class Known(Mapping[str, _Part], Generic[_Part]):
    """Maps names to scoop_hpc's own things, and to those of other packages, which are looked for only when one of them
    is asked for, or all are."""

    def __init__(self, ours: Mapping[str, _Part], theirs: Callable[[], Mapping[str, _Part]]) -> None:
        self._ours = ours
        self._theirs = theirs

    def __getitem__(self, name: str) -> _Part:
        return self._ours[name] if name in self._ours else self._theirs()[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._ours
        yield from self._theirs()

    def __len__(self) -> int:
        return len(self._ours) + len(self._theirs())


def is_announced(path: Iterable[str]) -> bool:
    """Return whether a package somewhere on *path* may bring a scheduler.

    It looks for the group's name where installers write entry points: that takes a tenth of what importlib.metadata
    takes to say that there is none.
    """
    for directory in path:
        if os.path.isfile(directory):
            return True  # a zip file: importlib.metadata can tell
        try:
            names = os.listdir(directory or os.curdir)
        except OSError:
            continue
        if any(name.endswith(_INFO) and _is_announced_in(os.path.join(directory, name)) for name in names):
            return True
    return False


def _is_announced_in(info: str) -> bool:
    try:
        with open(os.path.join(info, "entry_points.txt"), encoding="utf-8", errors="replace") as file:
            return GROUP in file.read()
    except OSError:  # most packages have no such file
        return False
