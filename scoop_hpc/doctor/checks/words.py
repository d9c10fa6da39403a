"""Words that several checks need: which nodes, how much, how long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from scoop_hpc.doctor.facts import NodeFacts
from scoop_hpc.hostlist import fold

_Value = TypeVar("_Value")


def names(nodes: Iterable[NodeFacts]) -> str:
    """Return the names of *nodes* as one word."""
    return fold(sorted(node.host for node in nodes))


def alike(values: Iterable[tuple[NodeFacts, _Value]]) -> list[tuple[_Value, list[NodeFacts]]]:
    """Return the *values* of nodes, each with all nodes that have it: there is one finding for all that are alike."""
    found: list[tuple[_Value, list[NodeFacts]]] = []
    for node, own in values:
        same = next((group for other, group in found if other == own), None)
        if same is None:
            found.append((own, [node]))
        else:
            same.append(node)
    return found


def size(count: float) -> str:
    """Return a number of bytes as people say it.

    >>> size(512), size(64 << 20), size(3.5 * (1 << 30)), size(1 << 50)
    ('512 bytes', '64.0 MiB', '3.5 GiB', '1024.0 TiB')
    """
    if count < 1024:
        return f"{count:.0f} bytes"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"


def duration(seconds: float) -> str:
    """Return a short time as people say it.

    >>> duration(0.00004), duration(-0.0031), duration(12.34)
    ('40 us', '-3.1 ms', '12.3 s')
    """
    if abs(seconds) < 0.001:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1000:.1f} ms" if abs(seconds) < 1 else f"{seconds:.1f} s"
