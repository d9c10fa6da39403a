"""Let each node of this run look at itself, and at the way to the next one.

Tasks go where there is room, and cannot be sent to a node: short ones are submitted until each node has had one.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from scoop_hpc import futures
from scoop_hpc.doctor.facts import JobFacts, NodeFacts, Way
from scoop_hpc.doctor.gather import look, own_addresses
from scoop_hpc.doctor.job.listener import Listener, listen, measure

_Value = TypeVar("_Value")

_PATIENCE = 60.0  # seconds until all nodes have had a task
_TURN = 0.1  # seconds that a task takes at least, so that others get some


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a node has found, and where it listens."""

    facts: NodeFacts
    listener: Listener


def look_everywhere(nodes: int, marks: Sequence[tuple[str, str]], environ: Mapping[str, str]) -> JobFacts:
    """Return what each of so many *nodes* has found; see `scoop_hpc.doctor.gather.look` for *marks*."""
    towards = next(iter(own_addresses()), "")
    seen = _everywhere(partial(_look, tuple(marks), towards, dict(environ)), nodes)
    places = sorted(seen)
    names = dict(zip(places, _names([seen[place].facts.host for place in places])))
    ring = {
        place: replace(seen[following].listener, name=names[following])
        for place, following in zip(places, [*places[1:], *places[:1]])
        if following != place
    }
    ways = _everywhere(partial(_measure, ring, names), len(places)) if ring else {}
    return JobFacts(
        nodes,
        tuple(replace(seen[place].facts, host=names[place]) for place in places),
        tuple(way for _, way in sorted(ways.items()) if way is not None),
    )


def _look(marks: Sequence[tuple[str, str]], towards: str, environ: Mapping[str, str]) -> _Seen:
    facts = look(environ, marks, towards)
    return _Seen(facts, listen(facts.host, tuple(own_addresses(towards))))


def _measure(ring: Mapping[str, Listener], names: Mapping[str, str]) -> Way | None:
    place = _place()
    return measure(names[place], ring[place]) if place in ring else None


def _everywhere(function: Callable[[], _Value], places: int) -> dict[str, _Value]:
    """Return what *function* returns on each node, by its place, of as many as have had a task in time."""
    found: dict[str, _Value] = {}
    deadline = time.monotonic() + _PATIENCE
    while len(found) < places and time.monotonic() < deadline:
        for place, value in futures.map(_take_turn, [function] * (4 * places), chunksize=1):
            found.setdefault(place, value)
    return found


def _take_turn(function: Callable[[], _Value]) -> tuple[str, _Value]:
    value = function()
    time.sleep(_TURN)
    return _place(), value


def _place() -> str:
    """Return what tells the nodes of this run apart, played ones of the same machine as well: host and agent."""
    return f"{socket.gethostname()} {os.getppid()}"


def _names(hosts: Sequence[str]) -> list[str]:
    """Return names for nodes: their hosts', numbered where one host plays several.

    >>> _names(["n1", "n2", "n2"])
    ['n1', 'n2.1', 'n2.2']
    """
    return [
        host if hosts.count(host) == 1 else f"{host}.{hosts[: position + 1].count(host)}"
        for position, host in enumerate(hosts)
    ]
