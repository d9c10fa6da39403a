"""Hosts that a user names as the nodes of a run: a grid without a scheduler, or a part of the job that this is in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scoop_hpc.cli.hostfile import Host
from scoop_hpc.errors import InputError
from scoop_hpc.hostlist import first_label, fold
from scoop_hpc.run.placement import NodePlan, place
from scoop_hpc.schedulers.allocation import Allocation, Node, merge


def plan_hosts(hosts: Sequence[Host], workers: int | None) -> tuple[NodePlan, ...]:
    """Return a plan for each host, in their order: with its number of workers, or with its share of *workers* in all.

    A host that is named more than once gets as many as all its numbers together. One without a number counts as one
    where it is to have a share.

    >>> plan_hosts([Host("a", 2), Host("b", None), Host("a", 1)], None)
    (NodePlan(name='a', workers=3), NodePlan(name='b', workers=None))
    >>> plan_hosts([Host("a", 2), Host("b", None)], 6)
    (NodePlan(name='a', workers=4), NodePlan(name='b', workers=2))
    """
    _check(hosts)
    if workers is None:
        counted = merge(Node(host.name, host.workers or 0, 0) for host in hosts)
        return tuple(NodePlan(node.name, node.slots or None) for node in counted)
    return place(Allocation("", merge(Node(host.name, host.workers or 1, 0) for host in hosts)), workers)


def plan_part(
    allocation: Allocation, hosts: Sequence[Host], workers: int | None, is_here: Callable[[str], bool]
) -> tuple[NodePlan, ...]:
    """Return a plan for those nodes of *allocation* that *hosts* name, in their order, as SCOOP did.

    Each has its number of workers, or as many as it has slots, or its share of *workers* in all. A host that is named
    more than once has one worker for each time without a number, as in a node file of PBS. *is_here* tells which node a
    name such as localhost is.

    >>> allocation = Allocation("pbs", (Node("n1", 4, 4), Node("n2", 4, 4), Node("n3", 4, 4)))
    >>> plan_part(allocation, [Host("n3", 2), Host("localhost", None)], None, {"localhost", "n1"}.__contains__)
    (NodePlan(name='n3', workers=2), NodePlan(name='n1', workers=4))
    """
    counts: dict[str, list[int | None]] = {}
    for host in hosts:
        counts.setdefault(_node_of(allocation, host.name, is_here), []).append(host.workers)
    slots = {node.name: node.slots for node in allocation.nodes}
    part = [
        Node(name, slots[name] if numbers == [None] else sum(number or 1 for number in numbers), 0)
        for name, numbers in counts.items()
    ]
    return place(Allocation(allocation.scheduler, tuple(part)), workers)


def _node_of(allocation: Allocation, host: str, is_here: Callable[[str], bool]) -> str:
    """Return the node that *host* names: as the scheduler does, or without its domain, or as this machine."""
    names = [node.name for node in allocation.nodes]
    if host in names:
        return host
    alike = [name for name in names if first_label(name) == first_label(host)]
    if len(alike) != 1 and is_here(host):
        alike = names[:1] if allocation.scheduler == "local" else [name for name in names if is_here(name)][:1]
    if len(alike) != 1:
        raise InputError(
            f"the host {host!r} is no node of this {allocation.scheduler} job: name some of {fold(names)}, "
            "or leave the hosts out to use them all"
        )
    return alike[0]


def _check(hosts: Sequence[Host]) -> None:
    seen: dict[str, Host] = {}
    for host in hosts:
        if host.name.startswith("-"):
            raise InputError(f"{host.name!r} is no host: a name does not begin with -")
        before = seen.setdefault(first_label(host.name), host)
        if before.name != host.name:
            raise InputError(f"{before.name} and {host.name} look like one host: give it one name")
        if before is not host and None in (before.workers, host.workers):
            raise InputError(f"the host {host.name} is named twice: give it a number of workers, once")
