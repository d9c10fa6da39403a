"""Schedulers that other packages bring, by the entry point group ``scoop_hpc.schedulers``: docs/add-a-scheduler.rst.

An entry point is called like its scheduler, and names a class: a `scoop_hpc.schedulers.base.Scheduler` that is made
without arguments. What is wrong with one is a line on stderr that names its package; the others go on.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from scoop_hpc.complaints import say
from scoop_hpc.schedulers.base import Scheduler
from scoop_hpc.schedulers.known import GROUP, is_announced

SUBMITTED_HERE = frozenset({"slurm", "pbs", "sge", "local"})  # the schedulers of scoop_hpc's own registry
READ_HERE = frozenset({"flux", "lsf", "oar"})  # those of which scoop_hpc itself has a reader only


class Point(Protocol):
    """An entry point, such as importlib.metadata finds it."""

    @property
    def name(self) -> str: ...

    def load(self) -> object: ...


@functools.cache
def schedulers() -> Mapping[str, Scheduler]:
    """Return the schedulers that installed packages bring, by name."""
    if not is_announced(sys.path):
        return MappingProxyType({})
    # 20 ms, where somebody brings one only
    from importlib.metadata import entry_points  # noqa: PLC0415

    points = [(point.dist.name if point.dist is not None else "?", point) for point in entry_points(group=GROUP)]
    return load(points, lambda text: say(f"warning: {text}"))


def load(points: Iterable[tuple[str, Point]], complain: Callable[[str], None]) -> Mapping[str, Scheduler]:
    """Return the schedulers of entry *points*, each beside its package's name; *complain* of those that are unfit."""
    found: dict[str, Scheduler] = {}
    for package, point in points:
        if point.name in SUBMITTED_HERE:
            problem = "scoop_hpc has one of that name itself"
        elif point.name in found:
            problem = f"so does another package, by {type(found[point.name]).__module__}"
        else:
            try:
                found[point.name] = _made(point)
                continue
            except Exception as error:  # of other people's code, which may do anything
                problem = " ".join(f"{type(error).__name__}: {error}".split())
        complain(f"the package {package!r} brings a scheduler {point.name!r}, which is left out: {problem}")
    return MappingProxyType(found)


def _made(point: Point) -> Scheduler:
    made = point.load()
    if not (isinstance(made, type) and issubclass(made, Scheduler)):
        raise TypeError(f"{made!r} is no subclass of {Scheduler.__module__}.{Scheduler.__name__}")
    scheduler = made()
    _check_named(scheduler, ("name", "commands", "words"))
    if scheduler.reader is not None:
        _check_named(scheduler.reader, ("name", "title", "needed"))
    if scheduler.name != point.name:
        raise ValueError(f"it calls itself {scheduler.name!r}: give the entry point that name")
    if scheduler.reader is None and scheduler.name not in READ_HERE:
        raise ValueError("it has no reader of its jobs' environment")
    if scheduler.reader is not None and scheduler.name in READ_HERE:
        raise ValueError("scoop_hpc reads the environment of its jobs itself: leave its reader out")
    if scheduler.reader is not None and scheduler.reader.name != scheduler.name:
        raise ValueError(f"its reader calls itself {scheduler.reader.name!r}: give it the scheduler's name")
    return scheduler


def _check_named(made: object, attributes: Sequence[str]) -> None:
    """Refuse what would fail only later, in the middle of a command."""
    missing = [name for name in attributes if not getattr(made, name, None)]
    if missing:
        raise ValueError(f"{type(made).__name__} says nothing of {' and '.join(missing)}")
