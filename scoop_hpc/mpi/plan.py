"""Which rank is what: decided by the first of them, by what all say of themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from scoop_hpc.errors import LaunchError
from scoop_hpc.hostlist import first_label

_NAMED = 20  # ranks at most that a message names


class Facts(Struct, frozen=True):
    """What a rank says of itself."""

    rank: int
    host: str
    boot: str  # tells machines apart that have the same name
    pid: int
    cpus: tuple[int, ...]  # that it may use
    python: str  # "3.11"
    protocol: int


class BeAgent(Struct, frozen=True, tag=True):
    """Start the agent of this node, when MPI is over; stay until it has ended."""

    argv: tuple[str, ...]
    environ: dict[bytes, bytes]
    cpus: tuple[int, ...]  # that it may use


class Stay(Struct, frozen=True, tag=True):
    """Stay until the process *pid* of this node has ended."""

    pid: int


class Leave(Struct, frozen=True, tag=True):
    """End when MPI is over."""


Order = BeAgent | Stay | Leave


class RankedNode(Struct, frozen=True):
    """A node with its *ranks*, the first of which becomes its agent's parent."""

    name: str
    ranks: tuple[int, ...]
    pid: int  # of the first of them
    cpus: tuple[int, ...]  # of all of them together

    @property
    def leader(self) -> int:
        """The rank that becomes the agent's parent."""
        return self.ranks[0]


def plan_nodes(facts: Sequence[Facts]) -> tuple[RankedNode, ...]:
    """Return the nodes, the first of them that of rank 0; raise LaunchError if the ranks do not fit together."""
    ordered = sorted(facts, key=lambda fact: fact.rank)
    first = ordered[0]
    machines: dict[tuple[str, str], list[Facts]] = {}
    for fact in ordered:
        if (fact.python, fact.protocol) != (first.python, first.protocol):
            raise LaunchError(
                f"rank {fact.rank} on {fact.host} runs Python {fact.python} with protocol {fact.protocol}, rank 0 on "
                f"{first.host} {first.python} with {first.protocol}: install the same on all nodes"
            )
        machines.setdefault((fact.host, fact.boot), []).append(fact)
    labels: dict[str, Facts] = {}
    for ranks in machines.values():
        other = labels.setdefault(first_label(ranks[0].host), ranks[0])
        if other is not ranks[0]:
            raise LaunchError(
                f"rank {other.rank} and rank {ranks[0].rank} are on two machines that are called {other.host!r} and "
                f"{ranks[0].host!r}: give each machine a host name of its own"
            )
    return tuple(
        RankedNode(
            name=ranks[0].host,
            ranks=tuple(fact.rank for fact in ranks),
            pid=ranks[0].pid,
            cpus=tuple(sorted({cpu for fact in ranks for cpu in fact.cpus})),
        )
        for ranks in machines.values()
    )


def plan_orders(
    nodes: Sequence[RankedNode], agents: Mapping[str, BeAgent], early: bool, own: int = 0
) -> dict[int, Order]:
    """Return the order of each rank but *own*: leaders of nodes that are in *agents* start their agent.

    Others leave, if the starter lets ranks end *early*; else they stay until the leader of their node has ended.
    """
    orders: dict[int, Order] = {}
    for node in nodes:
        busy = node.leader == own or node.name in agents
        for rank in node.ranks:
            if rank == node.leader and node.name in agents:
                orders[rank] = agents[node.name]
            else:
                orders[rank] = Stay(node.pid) if busy and not early else Leave()
    orders.pop(own, None)
    return orders


def named(ranks: Iterable[int]) -> str:
    """Return *ranks* as a message names them.

    >>> named([3]), named([1, 2])
    ('rank 3', 'ranks 1, 2')
    """
    listed = sorted(ranks)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return f"rank{'s' if len(listed) > 1 else ''} {', '.join(map(str, listed[:_NAMED]))}{more}"
