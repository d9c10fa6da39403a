"""Read the allocation of one of spool's jobs from its environment.

::

    SPOOL_JOB=s7
    SPOOL_NODES=n1:2,n2:2      name:slots of each node
"""

from __future__ import annotations

from collections.abc import Mapping

from scoop_hpc.errors import AllocationError
from scoop_hpc.launchers.base import Launcher
from scoop_hpc.schedulers.allocation import Allocation, Node, merge
from scoop_hpc.schedulers.reader import Reader, ReadFile
from scoop_spool.launcher import SpoolLauncher

_JOB, _NODES = "SPOOL_JOB", "SPOOL_NODES"


class SpoolReader(Reader):
    """The environment of spool's jobs."""

    name = "spool"
    title = "spool"
    needed = ((_JOB,), (_NODES,))
    proofs = (_JOB, _NODES)
    prefixes = ("SPOOL_",)
    site_variables = ("SPOOL_DIR",)
    launchers = (SpoolLauncher.name,)

    def read(self, environ: Mapping[str, str], read_file: ReadFile) -> Allocation:
        nodes = []
        for part in environ[_NODES].split(","):
            name, _, slots = part.partition(":")
            if not name or not slots.isdecimal() or not int(slots):
                raise AllocationError(f"{_NODES} is {environ[_NODES]!r}: it should be such as 'n1:2,n2:2'")
            nodes.append(Node(name, int(slots), int(slots)))
        return Allocation(self.name, merge(nodes), environ[_JOB])

    def launcher(self, name: str, allocation: Allocation) -> Launcher | None:
        return SpoolLauncher() if name == SpoolLauncher.name else None
