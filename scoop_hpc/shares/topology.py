"""The CPUs of this machine as sysfs tells them: which hardware threads share a core, and which cores a socket.

[Linux, Documentation/admin-guide/cputopology.rst; Documentation/ABI/stable/sysfs-devices-node]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from msgspec import Struct

_CPUS = "/sys/devices/system/cpu"
_NODES = "/sys/devices/system/node"
_ITEM = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7}))?")

ReadFile = Callable[[str], str | None]  # the text of a file, None if it cannot be read


class Cpu(Struct, frozen=True, order=True):
    """A hardware thread. CPUs sort as hwloc numbers them: neighbours share as much as they can."""

    socket: int
    numa_node: int
    core: int  # the lowest CPU of the core: core ids of the kernel are not unique within a NUMA node
    number: int  # of the operating system


def read_topology(granted: Iterable[int], read: ReadFile) -> tuple[Cpu, ...]:
    """Return the CPUs of the numbers *granted*, in hwloc's order.

    Where sysfs says nothing of a CPU, as on macOS or in some containers, it counts as a core of socket 0.
    """
    numbers = sorted(set(granted))
    numa_nodes = _numa_nodes(read)
    return tuple(sorted(_read_cpu(number, numa_nodes.get(number, 0), read) for number in numbers))


def parse_list(text: str) -> list[int]:
    """Return the numbers in a list of the kernel's; raise ValueError.

    >>> parse_list("0-2,8"), parse_list("")
    ([0, 1, 2, 8], [])
    """
    numbers: list[int] = []
    for item in text.strip().split(","):
        if not item:
            continue
        match = _ITEM.fullmatch(item)
        if match is None:
            raise ValueError(f"{text!r} is not a list of the kernel's, such as '0-3,8'")
        numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
    return numbers


def _read_cpu(number: int, numa_node: int, read: ReadFile) -> Cpu:
    folder = f"{_CPUS}/cpu{number}/topology"
    try:
        siblings = parse_list(read(f"{folder}/thread_siblings_list") or "")
        socket = int(read(f"{folder}/physical_package_id") or 0)
    except ValueError:
        return Cpu(0, numa_node, number, number)
    # -1: the firmware does not tell, as on some Arm machines
    return Cpu(max(0, socket), numa_node, min(siblings, default=number), number)


def _numa_nodes(read: ReadFile) -> dict[int, int]:
    """Return the NUMA node of each CPU; none where the kernel knows of none."""
    try:
        nodes = parse_list(read(f"{_NODES}/online") or "")
        return {cpu: node for node in nodes for cpu in parse_list(read(f"{_NODES}/node{node}/cpulist") or "")}
    except ValueError:
        return {}
