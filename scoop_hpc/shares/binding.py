"""Deal the CPUs of a node out to its workers: which may run where."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from msgspec import Struct

from scoop_hpc.shares.dealing import deal
from scoop_hpc.shares.topology import Cpu

CORES, SOCKETS = "cores", "sockets"  # what workers are bound to


class CpuShare(Struct, frozen=True):
    """The CPUs that a worker is bound to, perhaps with others, and how many threads it may have on them."""

    cpus: tuple[int, ...]
    threads: int


def deal_cpus(cpus: Sequence[Cpu], workers: int, binding: str) -> list[CpuShare]:
    """Return the share of each of the *workers* in *cpus*, which are in hwloc's order; there is at least one of both.

    By cores each worker gets whole cores, with all their hardware threads that were granted, or hardware threads where
    there are fewer cores than workers; nobody else gets them, unless there are too few for that, too. Neighbours among
    workers are neighbours on the chip. By sockets each worker may run on all CPUs of the socket that its cores are in.

    >>> cpus = [Cpu(0, 0, 0, 0), Cpu(0, 0, 0, 4), Cpu(0, 0, 1, 1), Cpu(1, 1, 2, 2), Cpu(1, 1, 2, 6)]
    >>> [share.cpus for share in deal_cpus(cpus, 2, CORES)]
    [(0, 4), (1, 2, 6)]
    >>> [share.cpus for share in deal_cpus(cpus, 2, SOCKETS)]
    [(0, 1, 4), (2, 6)]
    """
    cores = [list(core) for _, core in groupby(cpus, key=lambda cpu: (cpu.socket, cpu.numa_node, cpu.core))]
    if binding == SOCKETS:
        return _deal_sockets(cpus, deal(cores, workers))
    units = cores if len(cores) >= workers else [[cpu] for cpu in cpus]
    shares = [[cpu.number for unit in share for cpu in unit] for share in deal(units, workers)]
    return [CpuShare(tuple(sorted(share)), len(share)) for share in shares]


def _deal_sockets(cpus: Sequence[Cpu], shares: Sequence[Sequence[Sequence[Cpu]]]) -> list[CpuShare]:
    sockets = {socket: [cpu.number for cpu in group] for socket, group in groupby(cpus, key=lambda cpu: cpu.socket)}
    chosen = [_most_common([cpu.socket for core in share for cpu in core]) for share in shares]
    return [
        CpuShare(tuple(sorted(sockets[socket])), max(1, len(sockets[socket]) // chosen.count(socket)))
        for socket in chosen
    ]


def _most_common(sockets: Sequence[int]) -> int:
    """Return the socket that is there most often; of several, the first."""
    return max(dict.fromkeys(sockets), key=sockets.count)
