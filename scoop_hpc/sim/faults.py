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


@dataclass(frozen=True, slots=True)
class Death:
    """Workers of a node die, never the origin: at a *moment*, of which their agent learns later."""

    node: int
    which: int  # of its workers that live then
    time: float  # after the beginning; the program must have begun
    moment: str = "now"  # or some seconds after it has come to one of `MOMENTS`
    seconds: float = 0.0
    reaped: float = 0.001  # seconds from a death until the agent sees to it
    count: int = 1  # workers that die
    status: int = -9


MOMENTS = {
    "now": "whatever it does",
    "task": "it begins a task",
    "opening": "it unpickles a batch",
    "parked": "a task of it waits",
    "outcome": "it has an outcome that was not sent",
    "sent": "it has sent a message",
    "owner": "it has tasks of its own elsewhere",
    "fresh": "it was started, in the place of another that dies at once",
}


@dataclass(frozen=True, slots=True)
class NodeLoss:
    """A node dies, or its agent, and so all that this has started, or its broker; or that hangs.

    It happens at a *moment*, and never on the first node. Of what the dead have sent a part comes, or none.
    """

    node: int
    what: str  # "node", "agent", "broker" or "hang"
    time: float  # after the beginning; the program must have begun
    moment: str = "now"  # or some seconds after its broker has come to one of `NODE_MOMENTS`
    seconds: float = 0.0
    noticed: float = 1.0  # seconds until the others see that their connections are broken
    back: float | None = None  # seconds from then until the node reports again, where its agent is dead


NODE_MOMENTS = {
    "now": "whatever it does",
    "thief": "it was sent tasks that it has stolen",
    "stolen": "it has sent tasks to a thief",
    "moved": "it has sent others' tasks on, and is about to tell their home",
    "outcomes": "it has sent outcomes to another node",
    "owner": "its workers have tasks of their own elsewhere",
}


@dataclass(frozen=True, slots=True)
class Silence:
    """A node can neither send nor get anything, for some *seconds*, and may be taken for lost."""

    node: int
    time: float
    seconds: float
    noticed: float  # seconds until the others see that their connections are broken
    is_stopped: bool = False  # its processes do nothing meanwhile


@dataclass(frozen=True, slots=True)
class Cut:
    """Two brokers have no connection for some *seconds*, after which nothing of what they have sent is lost."""

    node: int
    other: int
    time: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Late:
    """A node reports so many seconds after the others, and the run begins without it."""

    node: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Drain:
    """A node is told to leave, and is lost if it has tasks to do after some seconds."""

    node: int
    time: float  # after the beginning; the program must have begun
    within: float | None = None


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A node of another allocation joins the run, of so many workers."""

    workers: int
    time: float  # the same


Fault = Stall | HeldUp | SlowNode | SlowLink | Death | NodeLoss | Silence | Cut | Late | Drain | Newcomer


def make_loss(chance: random.Random, nodes: int, seconds: float) -> Fault:
    """Return a loss of one of so many *nodes*, or of a connection, by *chance*; there are two nodes at least."""
    node = chance.randrange(1, nodes)
    time = chance.uniform(0.0, seconds * chance.choice((0.0, 0.5, 1.0)))
    noticed = chance.choice((0.0, 0.0, 0.05, 1.0, 15.0))
    match chance.choice(("loss", "loss", "loss", "loss", "silence", "cut", "late")):
        case "loss":
            return NodeLoss(
                node,
                chance.choice(("node", "node", "node", "agent", "broker", "broker", "broker", "hang")),
                time,
                chance.choice(tuple(NODE_MOMENTS)),
                chance.choice((0.0, 0.0, 0.00002, 0.0001, 0.001, 0.03)),
                noticed,
                chance.choice((None, None, 0.1, 4.0)),
            )
        case "silence":
            length = chance.choice((0.1, 1.0, 2.5, 4.0, 8.0, 30.0))
            return Silence(node, time, length, noticed, chance.random() < 0.5)
        case "cut":
            other = chance.choice([each for each in range(nodes) if each != node])
            return Cut(node, other, time, chance.choice((0.05, 1.0, 10.0)))
        case _:
            return Late(node, chance.choice((0.01, 0.1, 1.0, 5.0)))


def make_move(chance: random.Random, nodes: int, seconds: float) -> Drain | Newcomer:
    """Return a node's move into a run of so many *nodes*, or out of it, by *chance*."""
    time = chance.uniform(0.0, seconds * chance.choice((0.0, 0.5, 1.0)))
    if nodes == 1 or chance.random() < 0.4:
        return Newcomer(chance.randint(1, 3), time)
    return Drain(chance.randrange(1, nodes), time, chance.choice((None, None, None, 0.05, 1.0, 30.0)))


def make_death(chance: random.Random, nodes: Sequence[int], seconds: float) -> Death:
    """Return a death by *chance*, in a run as for `make_fault`."""
    return Death(
        chance.randrange(len(nodes)),
        chance.randrange(max(nodes)),
        chance.uniform(0.0, seconds),
        chance.choice(tuple(MOMENTS)),
        chance.choice((0.0, 0.0, 0.00002, 0.001, 0.03)),
        chance.choice((0.0, 0.001, 0.001, 0.05, 0.3)),
        chance.choice((1, 1, 1, 2)),
        chance.choice((-9, -11, 3)),
    )


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
