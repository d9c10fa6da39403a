"""Read the allocation of an OAR job from its node file, which has a line for each core [oarsub(1)]."""

from __future__ import annotations

from collections.abc import Mapping

from scoop_hpc.errors import AllocationError
from scoop_hpc.schedulers.allocation import Allocation, merge
from scoop_hpc.schedulers.reader import Reader, ReadFile
from scoop_hpc.schedulers.slots import cpus_per_worker, read_hosts, read_index, share_cpus

_JOB_ID = "OAR_JOB_ID"
_NODEFILE = ("OAR_NODEFILE", "OAR_NODE_FILE", "OAR_FILE_NODES")  # one file by three names
_INDEX = "OAR_ARRAY_INDEX"


class OarReader(Reader):
    """OAR's environment."""

    name = "oar"
    title = "OAR"
    needed = ((_JOB_ID,), _NODEFILE)  # [oarsub(1)]
    proofs = (_JOB_ID, _NODEFILE[0])
    prefixes = ("OAR_",)

    def read(self, environ: Mapping[str, str], read_file: ReadFile) -> Allocation:
        variable = next(name for name in _NODEFILE if environ.get(name))
        nodes = merge(read_hosts(environ[variable], variable, read_file))
        if not nodes:
            raise AllocationError(f"{variable}, the file {environ[variable]!r} of the OAR job, names no host")
        per_worker = cpus_per_worker(environ)
        return Allocation(
            "oar", share_cpus(nodes, per_worker), environ[_JOB_ID], per_worker, read_index(environ, _INDEX)
        )
