"""An allocation: the nodes that a scheduler gave to a job, in the scheduler's order, with their slots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """One node of an allocation.

    ``name`` is the scheduler's name for it, good for launching and for messages, never for connecting.
    ``slots`` is how many workers were asked for there, ``cpus`` how many CPUs the job may use there.
    """

    name: str
    slots: int
    cpus: int


@dataclass(frozen=True, slots=True)
class Allocation:
    """The nodes of a job. ``scheduler`` is the name of the one that gave them.

    ``job_id`` is written as the scheduler writes it; of a job of an array, whose index is ``array_index``, it is that
    job's own. ``beside`` names the other readers whose variables are there as well: one of these jobs may be around
    the other, or be left over.
    """

    scheduler: str
    nodes: tuple[Node, ...]
    job_id: str | None = None
    cpus_per_worker: int = 1
    array_index: int | None = None
    beside: tuple[str, ...] = ()

    @property
    def slots(self) -> int:
        """The number of workers that fit in all."""
        return sum(node.slots for node in self.nodes)


def merge(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Add up the nodes that a scheduler lists more than once; the first mention gives the place.

    >>> merge([Node("n2", 1, 2), Node("n1", 1, 1), Node("n2", 2, 2)])
    (Node(name='n2', slots=3, cpus=4), Node(name='n1', slots=1, cpus=1))
    """
    merged: dict[str, Node] = {}
    for node in nodes:
        before = merged.get(node.name, Node(node.name, 0, 0))
        merged[node.name] = Node(node.name, before.slots + node.slots, before.cpus + node.cpus)
    return tuple(merged.values())
