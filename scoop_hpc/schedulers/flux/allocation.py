"""Read the allocation of a Flux job, as far as that goes without asking Flux.

A Flux instance keeps its hosts to itself: ``flux getattr hostlist`` tells them, no variable and no file does
[flux-environment(7)]. So, in a job script, somebody has to say them::

    export SCOOP_HPC_JOB_HOSTLIST="$(flux getattr hostlist)"    the grammar of RFC 29, which `hostlist` reads
    export SCOOP_HPC_JOB_CPUS_PER_NODE=64                       or such as 64(x3),32

Only a task of ``flux run`` on one node knows all of its job: the tasks of FLUX_JOB_SIZE, on this host.
"""

from __future__ import annotations

from collections.abc import Mapping

from scoop_hpc.errors import AllocationError, HostlistError
from scoop_hpc.hostlist import expand, expand_counts
from scoop_hpc.schedulers.allocation import Allocation, Node, merge
from scoop_hpc.schedulers.reader import Reader, ReadFile, Starter
from scoop_hpc.schedulers.slots import cpus_per_worker, read_hosts, read_positive, share_cpus

HOSTLIST = "SCOOP_HPC_JOB_HOSTLIST"
CPUS = "SCOOP_HPC_JOB_CPUS_PER_NODE"

_URI = "FLUX_URI"
_JOB_ID = ("FLUX_JOB_ID", "FLUX_ENCLOSING_ID")  # of a task of a job; of the job that a whole instance is
_NODES = "FLUX_JOB_NNODES"
_TASKS = "FLUX_JOB_SIZE"
_OWN_NAME = "/proc/sys/kernel/hostname"  # HOSTNAME may have come along from where the job was submitted


class FluxReader(Reader):
    """Flux's environment."""

    name = "flux"
    title = "Flux"
    needed = ((_URI,),)  # [flux-environment(7)]
    proofs = ("FLUX_JOB_ID",)
    prefixes = ("FLUX_JOB_", "FLUX_TASK_")
    starters = (Starter("flux run", "FLUX_JOB_SIZE", "FLUX_TASK_RANK"),)

    def in_job(self, environ: Mapping[str, str]) -> bool:
        """Return whether *environ* is of a Flux job, or of an instance that is one."""
        return super().in_job(environ) and any(environ.get(name) for name in _JOB_ID)

    def read(self, environ: Mapping[str, str], read_file: ReadFile) -> Allocation:
        job_id = next(environ[name] for name in _JOB_ID if environ.get(name))
        per_worker = cpus_per_worker(environ)
        if environ.get(HOSTLIST) and environ.get(CPUS):
            nodes = share_cpus(_read_hosts(environ[HOSTLIST], environ[CPUS]), per_worker)
        elif environ.get("FLUX_JOB_ID") and environ.get(_NODES) == "1" and environ.get(_TASKS):
            tasks = read_positive(environ[_TASKS], _TASKS)
            own = merge(read_hosts(_OWN_NAME, "the kernel", read_file))
            nodes = tuple(Node(node.name, tasks, tasks * per_worker) for node in own)
        else:
            raise AllocationError(
                f"the Flux job {job_id!r} does not say its nodes by itself: "
                f'export {HOSTLIST}="$(flux getattr hostlist)", and {CPUS}=N with the CPUs of each'
            )
        return Allocation("flux", nodes, job_id, per_worker)


def _read_hosts(hostlist: str, counted: str) -> tuple[Node, ...]:
    try:
        names, cpus = expand(hostlist), expand_counts(counted)
    except HostlistError as error:
        raise AllocationError(f"{HOSTLIST} or {CPUS} is not clear: {error}") from error
    if len(cpus) == 1:
        cpus *= len(names)
    if not names or not all(cpus) or len(cpus) != len(names):
        raise AllocationError(
            f"{CPUS} is {counted!r}, which does not fit the {len(names)} nodes of {HOSTLIST} {hostlist!r}: "
            "give one positive number, or one for each node"
        )
    return merge(map(Node, names, cpus, cpus))
