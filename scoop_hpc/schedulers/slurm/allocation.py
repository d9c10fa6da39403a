"""Read the allocation of a Slurm job from its environment [sbatch(1), srun(1), OUTPUT ENVIRONMENT VARIABLES].

The controller sets the job's id, nodelist, node count, CPUs and tasks per node anew; every other variable may come
along from the shell that ran sbatch, even from another job, so none of them is believed without a cross-check. Of the
variables of an array there is none: a job that one of an array's submitted by itself looks like that one. Jobs that
scoop_hpc submits do not, for it drops the variables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scoop_hpc.errors import AllocationError, HostlistError
from scoop_hpc.hostlist import expand, expand_counts
from scoop_hpc.schedulers.allocation import Allocation, Node, merge
from scoop_hpc.schedulers.slots import read_index

_NODELIST = ("SLURM_JOB_NODELIST", "SLURM_NODELIST")  # the name, then the alias of old
_JOB_ID = ("SLURM_JOB_ID", "SLURM_JOBID")
_NODES = "SLURM_JOB_NUM_NODES"
_TASKS = "SLURM_TASKS_PER_NODE"
_CPUS = "SLURM_JOB_CPUS_PER_NODE"
_CPUS_PER_TASK = "SLURM_CPUS_PER_TASK"
_ARRAY = "SLURM_ARRAY_JOB_ID"
_INDEX = "SLURM_ARRAY_TASK_ID"


def in_job(environ: Mapping[str, str]) -> bool:
    """Return whether *environ* is of a Slurm job."""
    return bool(_first(environ, _JOB_ID) and _first(environ, _NODELIST))


def read_allocation(environ: Mapping[str, str], read_file: Callable[[str], str]) -> Allocation | None:
    """Return the allocation of the job that *environ* is of, None if it is of none; raise AllocationError."""
    if not in_job(environ):
        return None
    job_id = _first(environ, _JOB_ID)
    nodelist = _first(environ, _NODELIST)
    _refuse_heterogeneous(environ, job_id, nodelist)
    names = _expand(nodelist)
    if (environ.get(_NODES) or str(len(set(names)))) != str(len(set(names))):
        raise _contradiction(_NODES, environ[_NODES], nodelist, len(set(names)))
    tasks = _counts(environ, _TASKS)
    cpus = _counts(environ, _CPUS)
    if cpus and len(cpus) != len(names):
        raise _contradiction(_CPUS, environ[_CPUS], nodelist, len(names))
    if tasks and len(tasks) != len(names):
        if not cpus:
            raise _contradiction(_TASKS, environ[_TASKS], nodelist, len(names))
        tasks = []  # those of a step on some of the job's nodes, while the nodelist and the CPUs are the job's
    cpus_per_task = _cpus_per_task(environ, tasks, cpus)
    if not tasks and not cpus:
        raise AllocationError(
            f"the Slurm job {job_id!r} says neither {_TASKS} nor {_CPUS}: run this in the job's script"
        )
    tasks = tasks or [max(1, count // cpus_per_task) for count in cpus]
    cpus = cpus or [count * cpus_per_task for count in tasks]
    nodes = merge(map(Node, names, tasks, cpus))
    index = read_index(environ, _INDEX) if environ.get(_ARRAY) else None
    own_id = job_id if index is None else f"{environ[_ARRAY]}_{index}"  # as squeue(1) writes it
    return Allocation("slurm", nodes, own_id, cpus_per_task, index)


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _expand(nodelist: str) -> list[str]:
    try:
        names = expand(nodelist)
    except HostlistError as error:
        raise AllocationError(f"the Slurm job's nodes are not clear: {error}") from error
    if not names:
        raise AllocationError(f"the Slurm job has no nodes in its nodelist {nodelist!r}")
    return names


def _counts(environ: Mapping[str, str], name: str) -> list[int]:
    if not environ.get(name):
        return []
    try:
        counts = expand_counts(environ[name])
    except HostlistError as error:
        raise AllocationError(f"{name} is not clear: {error}") from error
    if not all(counts):
        raise AllocationError(f"{name} is {environ[name]!r}: a node without any cannot be used")
    return counts


def _contradiction(name: str, value: str, nodelist: str, nodes: int) -> AllocationError:
    return AllocationError(f"{name} is {value!r}, which does not fit the {nodes} nodes of the nodelist {nodelist!r}")


def _cpus_per_task(environ: Mapping[str, str], tasks: list[int], cpus: list[int]) -> int:
    """Return the CPUs per task, 1 if none are said or if they are another job's: more than the job has."""
    text = environ.get(_CPUS_PER_TASK) or "1"
    if not (text.isascii() and text.isdigit() and int(text)):
        raise AllocationError(f"{_CPUS_PER_TASK} is {text!r}: it should be a positive number")
    count = int(text)
    fits = all(n * count <= limit for n, limit in zip(tasks or [1] * len(cpus), cpus))
    return count if fits else 1


def _refuse_heterogeneous(environ: Mapping[str, str], job_id: str, nodelist: str) -> None:
    """Raise AllocationError in a heterogeneous job, whose plain variables describe its first component only.

    The groups count only if they are this job's, not left over from the job that submitted it.
    """
    for kind in ("HET", "PACK"):  # the name before 20.02
        size = environ.get(f"SLURM_{kind}_SIZE", "")
        if not (size.isascii() and size.isdigit() and 1 < int(size) <= len(environ)):
            continue
        groups = [environ.get(f"SLURM_JOB_NODELIST_{kind}_GROUP_{i}") for i in range(int(size))]
        own = environ.get(f"SLURM_JOB_ID_{kind}_GROUP_0") == job_id and groups[0] == nodelist
        if own and all(groups):
            raise AllocationError(
                f"the Slurm job {job_id!r} is heterogeneous, of {size} components, which one run cannot span: "
                "ask for one component"
            )
