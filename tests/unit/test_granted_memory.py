"""The memory that a Slurm job may have on a node, as the agent there learns it."""

from __future__ import annotations

import pytest

from scoop_hpc.launchers.granted_memory import granted_memory
from scoop_hpc.launchers.srun import SrunLauncher

NODE, CPU = "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU"


def of_a_step(environ: dict[str, str]) -> dict[str, str]:
    """Return the environment of an agent that srun starts in a job with *environ*: --mem=0 leaves no memory in it."""
    (command,) = SrunLauncher().commands(["agent"], ["n1"], environ)
    assert not {NODE, CPU} & set(command.environ)
    return {**command.environ, "SLURMD_NODENAME": "n1", "SLURM_CPUS_ON_NODE": "4"}


@pytest.mark.parametrize(
    ("environ", "mebibytes"),
    [
        ({NODE: "600"}, 600),
        ({CPU: "256"}, 1024),
        ({}, 0),
        ({NODE: "0"}, 0),
        ({NODE: "600", CPU: "256"}, 0),  # one of them has come along from another job
        ({NODE: "lots"}, 0),
        ({CPU: "-1"}, 0),
    ],
)
def test_agents_of_slurm_know_the_memory_of_the_job(environ: dict[str, str], mebibytes: int) -> None:
    on_the_first_node = {**environ, "SLURMD_NODENAME": "n1", "SLURM_CPUS_ON_NODE": "4"}  # where srun starts none
    for each in (on_the_first_node, of_a_step(environ)):
        assert granted_memory(each, "n1") == mebibytes * 2**20


def test_memory_of_a_job_on_another_node_is_not_taken_for_the_own() -> None:
    assert granted_memory({NODE: "600", "SLURMD_NODENAME": "n1"}, "n2") == 0
    assert granted_memory({NODE: "600"}, "n1") == 0
    assert granted_memory({CPU: "256", "SLURMD_NODENAME": "n1"}, "n1") == 0
