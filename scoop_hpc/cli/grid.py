"""Hosts that a user names as the nodes of a run: a grid without a scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from scoop_hpc.allocation import Allocation, Node, merge
from scoop_hpc.cli.hostfile import Host
from scoop_hpc.errors import InputError
from scoop_hpc.hostlist import first_label
from scoop_hpc.placement import NodePlan, place


def plan_hosts(hosts: Sequence[Host], workers: Optional[int]) -> tuple[NodePlan, ...]:
    """Return a plan for each host, in their order: with its number of workers, or with its share of *workers* in all.

    A host that is named more than once gets as many as all its numbers together. One without a number counts as one
    where it is to have a share.

    >>> plan_hosts([Host("a", 2), Host("b", None), Host("a", 1)], None)
    (NodePlan(name='a', workers=3), NodePlan(name='b', workers=0))
    >>> plan_hosts([Host("a", 2), Host("b", None)], 6)
    (NodePlan(name='a', workers=4), NodePlan(name='b', workers=2))
    """
    _check(hosts)
    if workers is None:
        return tuple(NodePlan(node.name, node.slots) for node in merge(Node(h.name, h.workers or 0, 0) for h in hosts))
    return place(Allocation("", merge(Node(host.name, host.workers or 1, 0) for host in hosts)), workers)


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
