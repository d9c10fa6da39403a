"""MPI as the way to start on a real Slurm: ranks of srun and mpiexec become one run, and mpiexec brings the agents."""

from __future__ import annotations

import os
import signal

import pytest
from minicluster.state import HEAD
from mpis import (
    BOTH,
    HOSTS,
    MPICH,
    OPEN_MPI,
    PYTHON,
    Mpi,
    MpiJob,
    ensure,
    is_agent,
    is_mpiexec,
    is_rank,
    wait_until_clean,
)
from under_test import HOLD, ClusterUnderTest


@BOTH
def test_the_ranks_of_srun_are_one_run(cluster: ClusterUnderTest, mpi: Mpi) -> None:
    job = MpiJob(cluster, mpi, f"srun --mpi={mpi.plugin} -n8 {PYTHON} {cluster.write(HOSTS)}")
    job.wait_until_run_on_all_nodes()
    wait_until_clean(cluster)


@BOTH
def test_the_ranks_of_mpiexec_are_one_run(cluster: ClusterUnderTest, mpi: Mpi) -> None:
    job = MpiJob(cluster, mpi, f"{mpi.mpiexec} {mpi.by_slurm} {PYTHON} {cluster.write(HOSTS)}")
    job.wait_until_run_on_all_nodes()
    wait_until_clean(cluster)


@BOTH
def test_mpiexec_starts_an_agent_on_each_node(cluster: ClusterUnderTest, mpi: Mpi) -> None:
    job = MpiJob(cluster, mpi, f"{PYTHON} --launcher mpi --workers-per-node 2 {cluster.write(HOSTS)}")
    job.wait_until_run_on_all_nodes()
    wait_until_clean(cluster)


@BOTH
def test_a_job_that_is_cancelled_leaves_nothing(cluster: ClusterUnderTest, mpi: Mpi) -> None:
    job = MpiJob(cluster, mpi, f"{mpi.mpiexec} {mpi.by_slurm} {PYTHON} {cluster.write(HOLD)}")
    job.wait_until_held()
    cluster.check(HEAD, ["scancel", job.id])
    wait_until_clean(cluster)


# MPICH's status depends on which of its proxies is heard first
@pytest.mark.parametrize(("mpi", "statuses"), [(MPICH, {9, 255}), (OPEN_MPI, {137})], ids=["MPICH", "Open MPI"])
def test_a_killed_rank_of_another_node_ends_all(cluster: ClusterUnderTest, mpi: Mpi, statuses: set[int]) -> None:
    job = MpiJob(cluster, mpi, f"{mpi.mpiexec} {mpi.by_slurm} {PYTHON} {cluster.write(HOLD)}")
    job.wait_until_held()
    os.kill(job.process(is_rank).outer_pid, signal.SIGKILL)
    assert job.status() in statuses, job.printed()
    wait_until_clean(cluster)


@BOTH
def test_a_killed_agent_is_named_with_its_node(cluster: ClusterUnderTest, mpi: Mpi) -> None:
    """Open MPI's mpiexec kills the origin, too, before the driver hears of anything else."""
    job = MpiJob(cluster, mpi, f"{PYTHON} --launcher mpi --workers-per-node 2 {cluster.write(HOLD)}")
    job.wait_until_held()
    os.kill(job.process(is_agent).outer_pid, signal.SIGKILL)
    assert job.status() == 1, job.printed()
    said = [line for line in job.printed().splitlines() if line.startswith("scoop-hpc: error: ")]
    assert cluster.nodes[-1] in said[-1], job.printed()
    wait_until_clean(cluster)


@BOTH
def test_a_killed_mpiexec_ends_all(cluster: ClusterUnderTest, mpi: Mpi) -> None:
    """Open MPI's by itself leaves its ranks behind."""
    job = MpiJob(cluster, mpi, f"{mpi.mpiexec} {mpi.by_slurm} {PYTHON} {cluster.write(HOLD)}")
    job.wait_until_held()
    os.kill(job.process(is_mpiexec).outer_pid, signal.SIGKILL)
    assert job.status() == 137, job.printed()
    wait_until_clean(cluster)


@pytest.mark.parametrize(("mpi", "status"), [(MPICH, 130), (OPEN_MPI, 1)], ids=["MPICH", "Open MPI"])
def test_ctrl_c_ends_the_ranks_of_all_nodes(cluster: ClusterUnderTest, mpi: Mpi, status: int) -> None:
    job = MpiJob(cluster, mpi, f"{mpi.mpiexec} {mpi.by_slurm} {PYTHON} {cluster.write(HOLD)}")
    job.wait_until_held()
    os.kill(job.process(is_mpiexec).outer_pid, signal.SIGINT)
    assert job.status() == status, job.printed()
    wait_until_clean(cluster)


# what is submitted runs until a signal comes, to the first node's mpiexec or to the job
@pytest.mark.parametrize(
    ("mpi", "loss", "state"),
    [(MPICH, "kill mpiexec", "FAILED"), (OPEN_MPI, "cancel", "CANCELLED")],
    ids=["MPICH is killed", "Open MPI's job is cancelled"],
)
def test_the_end_of_mpiexec_is_that_of_its_agents(cluster: ClusterUnderTest, mpi: Mpi, loss: str, state: str) -> None:
    ensure(mpi)
    variables = [word for name, value in mpi.environ.items() for word in ("--env", f"{name}={value}")]
    job = cluster.submit_held("--launcher", "mpi", *variables)
    if loss == "cancel":
        assert cluster.scoop_hpc("cancel", job).returncode == 0
    else:
        mpiexecs = [process for _, process in cluster.all_processes() if is_mpiexec(process)]
        os.kill(mpiexecs[-1].outer_pid, signal.SIGKILL)
    wait_until_clean(cluster)
    assert cluster.scoop_hpc("wait", job).returncode not in (0, 2)
    assert cluster.status(job)["state"] == state
