"""Environments that have some of a job's variables, but not all: nobody can tell the job's nodes there.

Such is the shell of salloc for a heterogeneous job, a shell that was given a job's id for srun(1), a container or a
service that let a part of the environment through. To run there on this machine alone, as outside of a job, would be a
program on the login node that should be in the job.

Variables that sites and users set for all their shells are none of these: SLURM_CONF, SLURM_CLUSTERS, PBS_DEFAULT,
SGE_ROOT, LSF_ENVDIR, FLUX_URI and their like; nor is JOB_ID, a name that anybody may use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scoop_hpc.errors import AllocationError


@dataclass(frozen=True, slots=True)
class _Marks:
    """Who has a job, the variables that a job's environment has, each by any of its names, and those that prove it."""

    scheduler: str
    needed: tuple[tuple[str, ...], ...]
    proofs: tuple[str, ...]


_JOBS = (
    _Marks(
        "Slurm",  # [sbatch(1), srun(1), OUTPUT ENVIRONMENT VARIABLES]
        (("SLURM_JOB_ID", "SLURM_JOBID"), ("SLURM_JOB_NODELIST", "SLURM_NODELIST")),
        ("SLURM_JOB_ID", "SLURM_JOBID", "SLURM_JOB_NODELIST", "SLURM_JOB_CPUS_PER_NODE"),
    ),
    _Marks(
        "PBS",  # [qsub(1B), ENVIRONMENT VARIABLES]
        (("PBS_JOBID",), ("PBS_ENVIRONMENT",), ("PBS_NODEFILE",)),
        ("PBS_JOBID", "PBS_ENVIRONMENT", "PBS_NODEFILE"),
    ),
    _Marks(
        "Grid Engine",  # [submit(1), ENVIRONMENTAL VARIABLES]
        (("JOB_ID",), ("SGE_TASK_ID",)),
        ("SGE_TASK_ID", "PE_HOSTFILE"),
    ),
    _Marks(
        "LSF",
        (("LSB_JOBID",), ("LSB_MCPU_HOSTS", "LSB_DJOB_HOSTFILE", "LSB_HOSTS")),
        ("LSB_JOBID", "LSB_MCPU_HOSTS", "LSB_DJOB_HOSTFILE"),
    ),
    _Marks(
        "OAR",  # [oarsub(1)]
        (("OAR_JOB_ID",), ("OAR_NODEFILE", "OAR_NODE_FILE", "OAR_FILE_NODES")),
        ("OAR_JOB_ID", "OAR_NODEFILE"),
    ),
    _Marks("Flux", (("FLUX_URI",),), ("FLUX_JOB_ID",)),  # [flux-environment(7)]
)
_GROUPS = ("_HET_GROUP_", "_PACK_GROUP_")  # the latter before Slurm 20.02


def refuse_incomplete(environ: Mapping[str, str]) -> None:
    """Raise AllocationError if *environ*, which is of no job as a whole, has a part of a job's variables."""
    group = next((name for name in environ if name.startswith("SLURM_") and any(kind in name for kind in _GROUPS)), "")
    if group:
        raise AllocationError(
            f"this is in a heterogeneous Slurm job, as {group} says, whose components one run cannot span: "
            "ask for one component, or start the program by srun in one of them"
        )
    for job in _JOBS:
        proof = next((name for name in job.proofs if environ.get(name)), "")
        missing = next((names[0] for names in job.needed if not any(environ.get(name) for name in names)), "")
        if proof and missing:
            raise AllocationError(
                f"{proof} is set, as in {job.scheduler}'s jobs, but {missing} is not: the job's nodes cannot be told "
                f"here. Run this in the job's script; outside a job, unset {proof}"
            )
