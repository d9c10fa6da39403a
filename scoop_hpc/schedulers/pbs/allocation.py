"""Read the allocation of a PBS Pro, OpenPBS or Torque job from its node file [pbs_resources(7B), qsub(1B)].

A host stands in the file once for each slot, on lines that need not be adjacent. In PBS Pro a slot is an MPI process
(``mpiprocs``), whose CPUs nothing here tells: ``NCPUS`` speaks of the first chunk only [src/resmom/start_exec.c], so
they are one each, or what our own job script says. In Torque a slot is a CPU.

A task that PBS starts on a node of the job (pbsdsh, pbs_tmrsh) may lack ``PBS_NODEFILE``: that is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from scoop_hpc.errors import AllocationError
from scoop_hpc.schedulers.allocation import Allocation, Node, merge
from scoop_hpc.schedulers.reader import Reader, ReadFile
from scoop_hpc.schedulers.slots import CPUS_PER_WORKER, cpus_per_worker, read_hosts, read_index, share_cpus

_JOB_ID = "PBS_JOBID"
_NODEFILE = "PBS_NODEFILE"
_KINDS = ("PBS_BATCH", "PBS_INTERACTIVE")
_TORQUE = "torque"
_INDEXES = ("PBS_ARRAY_INDEX", "PBS_ARRAYID")  # PBS Pro's, Torque's
_ELEMENT = re.compile(r"[0-9]+(?:\[([0-9]+)\]|-([0-9]+))(?:\..*)?")  # 12[3].server; Torque before 3: 12-3.server


class PbsReader(Reader):
    """The environment of PBS Pro, OpenPBS and Torque."""

    name = "pbs"
    title = "PBS"
    needed = ((_JOB_ID,), ("PBS_ENVIRONMENT",), (_NODEFILE,))  # [qsub(1B), ENVIRONMENT VARIABLES]
    proofs = (_JOB_ID, "PBS_ENVIRONMENT", _NODEFILE)
    prefixes = ("PBS_",)
    site_variables = (  # [qsub(1B)]
        *("PBS_DEFAULT", "PBS_SERVER", "PBS_EXEC", "PBS_HOME", "PBS_CONF_FILE", "PBS_DPREFIX"),
    )
    launchers = ("pbs_tmrsh", "pbsdsh")

    def in_job(self, environ: Mapping[str, str]) -> bool:
        """Return whether *environ* is of a PBS job; that of Slurm's PBS plugin, with Slurm's own job id, is not."""
        job_id = environ.get(_JOB_ID)
        imitated = job_id == environ.get("SLURM_JOB_ID")  # [slurm src/plugins/job_submit/pbs/spank_pbs.c]
        return bool(job_id) and environ.get("PBS_ENVIRONMENT") in _KINDS and not imitated

    def read(self, environ: Mapping[str, str], read_file: ReadFile) -> Allocation:
        job_id, path = environ[_JOB_ID], environ.get(_NODEFILE)
        if not path:
            raise AllocationError(
                f"the PBS job {job_id!r} has no {_NODEFILE} here: run this in the job's script, not in a task of it"
            )
        nodes = merge(read_hosts(path, _NODEFILE, read_file))
        if not nodes:
            raise AllocationError(
                f"{_NODEFILE}, the file {path!r} of the PBS job {job_id!r}, names no host: "
                "ask for mpiprocs of 1 or more"
            )
        torque = environ.get("PBS_VERSION", "").upper().startswith("TORQUE")
        per_worker = cpus_per_worker(environ)
        if torque:
            nodes = share_cpus(nodes, per_worker)
        else:
            nodes = tuple(Node(node.name, node.slots, node.slots * per_worker) for node in nodes)
        return Allocation(_TORQUE if torque else self.name, nodes, job_id, per_worker, _array_index(environ, job_id))

    def reads(self, allocation: Allocation) -> bool:
        return allocation.scheduler in (self.name, _TORQUE)

    def launchers_for(self, allocation: Allocation) -> tuple[str, ...]:
        return ("pbsdsh",) if allocation.scheduler == _TORQUE else self.launchers

    def advice(self, environ: Mapping[str, str], allocation: Allocation) -> str:
        """Return what would use the CPUs of a job that has one worker on a node of several.

        ``NCPUS`` is the first chunk's, and a chunk without ``mpiprocs`` is one line of the node file. Our own job
        scripts say for themselves how many CPUs a worker has.
        """
        ncpus, first = environ.get("NCPUS", ""), allocation.nodes[0]
        if allocation.scheduler == _TORQUE or environ.get(CPUS_PER_WORKER) or first.slots > 1:
            return ""
        if not (ncpus.isascii() and ncpus.isdigit() and int(ncpus) > 1):
            return ""
        workers = int(ncpus) * len(allocation.nodes)
        return (
            f"one worker on {first.name}, where NCPUS is {ncpus}: for a worker on every CPU, add mpiprocs={ncpus} to "
            f"the chunks of -l select, or say -n {workers}"
        )


def read_nodefile(environ: Mapping[str, str], read_file: ReadFile) -> list[str]:
    """Return the lines of the node file of the PBS job that this is the script of; raise AllocationError."""
    path = environ.get(_NODEFILE)
    if not path:
        raise AllocationError(f"pbsdsh is for the script of a PBS job: {_NODEFILE} is not set here")
    return [node.name for node in read_hosts(path, _NODEFILE, read_file)]


def _array_index(environ: Mapping[str, str], job_id: str) -> int | None:
    """Return the index that a variable gives and the job's id has: a variable alone came with ``qsub -V``."""
    match = _ELEMENT.fullmatch(job_id)
    if match is None:
        return None
    own = int(match[1] or match[2])
    return own if own in [read_index(environ, name) for name in _INDEXES] else None
