"""Read the allocation of a Slurm job from its environment [sbatch(1), srun(1), OUTPUT ENVIRONMENT VARIABLES].

The controller sets the job's id, nodelist, node count, CPUs and tasks per node anew; every other variable may come
along from the shell that ran sbatch, even from another job, so none of them is believed without a cross-check. The
variables of an array cannot be checked: a job that one of an array's submitted by itself looks like that one. Jobs that
scoop_hpc submits do not, for it drops the variables.
"""

from __future__ import annotations

from collections.abc import Mapping

from scoop_hpc.errors import AllocationError, HostlistError
from scoop_hpc.hostlist import expand, expand_counts
from scoop_hpc.schedulers.allocation import Allocation, Node, merge
from scoop_hpc.schedulers.reader import Copy, Reader, ReadFile, Starter
from scoop_hpc.schedulers.slots import read_index

_NODELIST = ("SLURM_JOB_NODELIST", "SLURM_NODELIST")  # the name, then the alias of old
_JOB_ID = ("SLURM_JOB_ID", "SLURM_JOBID")
_NODES = "SLURM_JOB_NUM_NODES"
_TASKS = "SLURM_TASKS_PER_NODE"
_CPUS = "SLURM_JOB_CPUS_PER_NODE"
_CPUS_PER_TASK = "SLURM_CPUS_PER_TASK"
_ARRAY = "SLURM_ARRAY_JOB_ID"
_INDEX = "SLURM_ARRAY_TASK_ID"
_GROUPS = ("_HET_GROUP_", "_PACK_GROUP_")  # the latter before Slurm 20.02


class SlurmReader(Reader):
    """Slurm's environment."""

    name = "slurm"
    title = "Slurm"
    needed = (_JOB_ID, _NODELIST)  # [sbatch(1), srun(1), OUTPUT ENVIRONMENT VARIABLES]
    proofs = ("SLURM_JOB_ID", "SLURM_JOBID", "SLURM_JOB_NODELIST", "SLURM_JOB_CPUS_PER_NODE")
    prefixes = ("SLURM_", "SLURMD_", "SRUN_", "SALLOC_")
    site_variables = (  # [slurm(1)]
        *("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_SACK_KEY", "SLURM_SACK_JWKS"),
    )
    starters = (Starter("srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),)
    launchers = ("srun",)

    def read(self, environ: Mapping[str, str], read_file: ReadFile) -> Allocation:
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

    def refuse_incomplete(self, environ: Mapping[str, str]) -> None:
        group = next(
            (name for name in environ if name.startswith("SLURM_") and any(kind in name for kind in _GROUPS)), ""
        )
        if group:
            raise AllocationError(
                f"this is in a heterogeneous Slurm job, as {group} says, whose components one run cannot span: "
                "ask for one component, or start the program by srun in one of them"
            )
        super().refuse_incomplete(environ)

    def copy(self, environ: Mapping[str, str]) -> Copy | None:
        return super().copy(environ) if _is_own_step(environ) else None

    def is_only_copy(self, environ: Mapping[str, str]) -> bool:
        """Return whether this is the shell of `srun -n8 --pty bash`: the other seven ended for want of input."""
        return bool(environ.get("SLURM_PTY_PORT")) and environ.get("SLURM_PROCID") == "0"


def _is_own_step(environ: Mapping[str, str]) -> bool:
    """Return whether the step is this process's: sbatch takes the variables of a step along, but not those of the job.

    [sbatch(1), --export: "SLURM_* variables are always propagated"]
    """
    if environ.get("SLURM_STEP_TASKS_PER_NODE") != environ.get("SLURM_TASKS_PER_NODE"):
        return False
    try:
        own = expand(_first(environ, _NODELIST))
        return set(expand(environ.get("SLURM_STEP_NODELIST", ""))) <= set(own)
    except HostlistError:
        return True


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
