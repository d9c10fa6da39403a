"""Copies of one command, as ``srun -n2`` and ``mpiexec -n 2`` start them: each would run everything on all nodes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from scoop_hpc.errors import HostlistError
from scoop_hpc.hostlist import expand

# who starts copies, and where he says how many there are and which one this is
_STARTERS = (
    ("srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ("mpiexec", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("mpiexec", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("mpiexec", "PMI_SIZE", "PMI_RANK"),
    ("jsrun", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK"),
    ("flux run", "FLUX_JOB_SIZE", "FLUX_TASK_RANK"),
)
_NUMBER = re.compile("[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Copy:
    """This process is number *rank* of *size* that *starter* started with the same command."""

    starter: str
    rank: int
    size: int


def read_copy(environ: Mapping[str, str]) -> Copy | None:
    """Return which of several copies *environ* is of, None if it is of the only one."""
    if environ.get("SLURM_PTY_PORT") and environ.get("SLURM_PROCID") == "0":
        return None  # the shell of `srun -n8 --pty bash`, the other seven of which ended for want of input
    for starter, size_name, rank_name in _STARTERS:
        size, rank = environ.get(size_name, ""), environ.get(rank_name, "")
        if not (_NUMBER.fullmatch(size) and _NUMBER.fullmatch(rank)) or int(size) < 2:
            continue
        if starter != "srun" or _is_own_step(environ):
            return Copy(starter, int(rank), int(size))
    return None


def describe(copy: Copy) -> str:
    """Return why one of several copies is refused."""
    return (
        f"{copy.starter} started {copy.size} copies of this command, each of which would run the program on all of the "
        f"job's nodes: start one, in the job's script without {copy.starter}; it starts workers on all nodes by itself"
    )


def _is_own_step(environ: Mapping[str, str]) -> bool:
    """Return whether the step is this process's: sbatch takes the variables of a step along, but not those of the job.

    [sbatch(1), --export: "SLURM_* variables are always propagated"]
    """
    if environ.get("SLURM_STEP_TASKS_PER_NODE") != environ.get("SLURM_TASKS_PER_NODE"):
        return False
    try:
        own = expand(environ.get("SLURM_JOB_NODELIST") or environ.get("SLURM_NODELIST", ""))
        return set(expand(environ.get("SLURM_STEP_NODELIST", ""))) <= set(own)
    except HostlistError:
        return True
