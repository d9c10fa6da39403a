"""Read the allocation of a job of the built-in scheduler, `scoop_hpc.schedulers.local`.

Its environment says what the job was given::

    SCOOP_HPC_LOCAL_JOB_ID=local-7
    SCOOP_HPC_LOCAL_NODES=local1:2,local2:2       name:slots of each node
    SCOOP_HPC_LOCAL_CPUS_PER_WORKER=1             optional
    SCOOP_HPC_LOCAL_ARRAY_INDEX=3                 in a job of an array
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from scoop_hpc.errors import AllocationError
from scoop_hpc.schedulers.allocation import Allocation, Node, merge
from scoop_hpc.schedulers.reader import Reader, ReadFile
from scoop_hpc.schedulers.slots import read_index, read_positive

JOB_ID = "SCOOP_HPC_LOCAL_JOB_ID"
NODES = "SCOOP_HPC_LOCAL_NODES"
CPUS_PER_WORKER = "SCOOP_HPC_LOCAL_CPUS_PER_WORKER"
ARRAY_INDEX = "SCOOP_HPC_LOCAL_ARRAY_INDEX"

_NODE = re.compile(r"([A-Za-z0-9_.-]+):([1-9][0-9]{0,8})")


class LocalReader(Reader):
    """The environment of the built-in scheduler."""

    name = "local"
    title = "the local scheduler"
    needed = ((JOB_ID,), (NODES,))
    prefixes = ("SCOOP_HPC_LOCAL_",)

    def read(self, environ: Mapping[str, str], read_file: ReadFile) -> Allocation:
        per_worker = read_positive(environ.get(CPUS_PER_WORKER) or "1", CPUS_PER_WORKER)
        nodes = merge(_read_nodes(environ[NODES], per_worker))
        return Allocation("local", nodes, environ[JOB_ID], per_worker, read_index(environ, ARRAY_INDEX))


def _read_nodes(text: str, per_worker: int) -> Iterator[Node]:
    for part in text.split(","):
        match = _NODE.fullmatch(part)
        if match is None:
            raise AllocationError(f"{NODES} is {text!r}: it should be such as 'local1:2,local2:2', not {part!r}")
        yield Node(match[1], int(match[2]), int(match[2]) * per_worker)
