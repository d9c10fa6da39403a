"""Faults of a simulated run. A kind is a value, and a handler that plans what it does to the world.

A fault that must lose nothing is known by `is_harmless`; how long it may hold things up is its `delay`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stall:
    """A process does not get the CPU for some *seconds*."""

    process: str  # "driver", "agent 1", a broker or a worker
    time: float  # after the beginning
    seconds: float


@dataclass(frozen=True, slots=True)
class HeldUp:
    """What one process sends to another stays on the way for some *seconds*."""

    sender: str
    to: str
    time: float
    seconds: float


@dataclass(frozen=True, slots=True)
class SlowNode:
    """All that a node computes takes longer."""

    node: int
    factor: float


@dataclass(frozen=True, slots=True)
class SlowLink:
    """All that one node sends to another, or back, takes some *seconds* more."""

    node: int
    other: int
    seconds: float


Fault = Stall | HeldUp | SlowNode | SlowLink


def make_fault(chance: random.Random, nodes: Sequence[int], seconds: float) -> Fault:
    """Return a fault by *chance*, in a run of about so many *seconds*, and so many workers on each of its *nodes*."""
    node, other = chance.randrange(len(nodes)), chance.randrange(len(nodes))
    worker = f"{node}.{chance.randrange(nodes[node])}"
    time, length = chance.uniform(0.0, seconds), chance.choice((0.001, 0.02, 0.1, 0.7, 3.0))
    match chance.choice(("stall", "stall", "stall", "hold", "hold", "slow node", "slow link")):
        case "stall":
            return Stall(chance.choice((worker, worker, str(node), str(node), f"agent {node}", "driver")), time, length)
        case "hold":
            ways = [(worker, str(node)), (str(node), worker)]
            if other != node:
                ways += [(str(node), str(other))] * 3
            return HeldUp(*chance.choice(ways), time, length)
        case "slow link" if other != node:
            return SlowLink(node, other, chance.choice((0.001, 0.03, 0.3)))
        case _:
            return SlowNode(node, chance.choice((2.0, 10.0)))
