"""Decide how many workers run on which node."""

from __future__ import annotations

from msgspec import Struct

from scoop_hpc.errors import AllocationError
from scoop_hpc.schedulers.allocation import Allocation


class NodePlan(Struct, frozen=True):
    """The part of one node: a broker and ``workers`` workers; the first worker of the first node is the origin."""

    name: str
    workers: int | None  # None: as many as the node turns out to have CPUs


def place(allocation: Allocation, workers: int | None = None) -> tuple[NodePlan, ...]:
    """Return a plan for each node: as many workers as it has slots, or *workers* in all.

    Another number of workers than slots is spread in proportion to the slots. A node without a worker is left out.

    >>> from scoop_hpc.schedulers.allocation import Node
    >>> place(Allocation("slurm", (Node("n1", 4, 4), Node("n2", 2, 2))), 3)
    (NodePlan(name='n1', workers=2), NodePlan(name='n2', workers=1))
    """
    total = allocation.slots
    if not total:
        raise AllocationError(f"the allocation {allocation!r} has no slots")
    if workers is None:
        return tuple(NodePlan(node.name, node.slots) for node in allocation.nodes if node.slots)
    plans = []
    filled = before = 0
    for node in allocation.nodes:
        before += node.slots
        share = -(-workers * before // total) - filled  # the ceiling keeps the first node, and so the origin, in
        filled += share
        if share:
            plans.append(NodePlan(node.name, share))
    return tuple(plans)
