"""Read the allocation of a Grid Engine job from its PE_HOSTFILE [sge_pe(5), submit(1)].

The file has a line ``host slots queue@host processors`` for each queue that gave slots, so that a host may occur more
than once; slots are CPUs. A job without a parallel environment is one slot on the host of its script. The tasks that
``qrsh -inherit`` starts have no PE_HOSTFILE: that is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from scoop_hpc.errors import AllocationError
from scoop_hpc.schedulers.allocation import Allocation, Node, merge
from scoop_hpc.schedulers.reader import Reader, ReadFile
from scoop_hpc.schedulers.slots import check_host, cpus_per_worker, read_index, read_lines, read_positive, share_cpus

_JOB_ID = "JOB_ID"
_TASK_ID = "SGE_TASK_ID"
_PE = "PE"
_HOSTFILE = "PE_HOSTFILE"
_HOST = "HOSTNAME"  # set by the execution daemon
_NO_TASK = "undefined"
_WITHOUT_PREFIX = (  # of a job's variables [submit(1), ENVIRONMENTAL VARIABLES]
    *("JOB_ID", "JOB_NAME", "JOB_SCRIPT", "REQUEST", "QUEUE", "PE", "NSLOTS", "NHOSTS", "NQUEUES", "RESTARTED"),
    *("SGE_STDIN_PATH", "SGE_STDOUT_PATH", "SGE_STDERR_PATH", "SGE_CWD_PATH", "SGE_JOB_SPOOL_DIR"),
)
_SPOOLED = re.compile(r"/active_jobs/([0-9]+)\.[0-9]+/pe_hostfile$")  # [source/daemons/execd/exec_job.c]


class SgeReader(Reader):
    """The environment of Grid Engine."""

    name = "sge"
    title = "Grid Engine"
    needed = ((_JOB_ID,), (_TASK_ID,))  # [submit(1), ENVIRONMENTAL VARIABLES]; anybody may use the name JOB_ID
    proofs = (_TASK_ID, _HOSTFILE)
    prefixes = ("SGE_TASK_", "PE_")
    launchers = ("qrsh",)
    orders = MappingProxyType(  # [submit(1), EXIT STATUS]
        {99: "puts a job back into the queue", 100: "puts a job into an error state"}
    )

    def read(self, environ: Mapping[str, str], read_file: ReadFile) -> Allocation:
        job_id = environ[_JOB_ID]
        index = None if environ[_TASK_ID] == _NO_TASK else read_index(environ, _TASK_ID)
        if _is_parallel(environ, job_id):
            nodes = merge(_read_hostfile(environ[_HOSTFILE], read_file))
            if not nodes:
                raise AllocationError(
                    f"{_HOSTFILE}, the file {environ[_HOSTFILE]!r}, names no host: look at the job's PE"
                )
        else:
            check_host(environ.get(_HOST, ""), _HOST)
            nodes = (Node(environ[_HOST], 1, 1),)
        per_worker = cpus_per_worker(environ)
        own_id = job_id if index is None else f"{job_id}.{index}"
        return Allocation("sge", share_cpus(nodes, per_worker), own_id, per_worker, index)

    def variables(self, environ: Mapping[str, str]) -> frozenset[str]:
        own = super().variables(environ)
        return own.union(_WITHOUT_PREFIX) if self.in_job(environ) else own


def _is_parallel(environ: Mapping[str, str], job_id: str) -> bool:
    """Return whether the job has a PE_HOSTFILE; that of another job, left over by ``qsub -V``, does not count."""
    path = environ.get(_HOSTFILE)
    if not path:
        if environ.get(_PE):
            raise AllocationError(
                f"the Grid Engine job {job_id!r} has the parallel environment {environ[_PE]!r}, but no {_HOSTFILE} "
                "here: run this in the job's script, not in a task of it"
            )
        return False
    spooled = _SPOOLED.search(path)
    return spooled is None or spooled[1] == job_id


def _read_hostfile(path: str, read_file: ReadFile) -> Iterator[Node]:
    for where, words in read_lines(path, _HOSTFILE, read_file):
        if len(words) < 2:
            raise AllocationError(f"{where} is {words[0]!r}: it should be a host and its number of slots")
        slots = read_positive(words[1], f"the number of slots in {where}")
        yield Node(words[0], slots, slots)
