"""MPI as the way to start on a real Grid Engine: mpiexec starts ranks, or agents, by qrsh -inherit; no ssh."""

from __future__ import annotations

import os
import signal

import pytest
from minicluster.state import HEAD
from mpis import BOTH, HOSTS, MPICH, OPEN_MPI, PYTHON, Mpi, MpiJob, is_rank, wait_until_clean
from under_test import HOLD, ClusterUnderTest


@BOTH
def test_the_ranks_of_mpiexec_are_one_run(grid: ClusterUnderTest, mpi: Mpi) -> None:
    job = MpiJob(grid, mpi, f"{mpi.mpiexec} {mpi.by_grid_engine} {PYTHON} {grid.write(HOSTS)}")
    job.wait_until_run_on_all_nodes()
    wait_until_clean(grid)


@BOTH
def test_mpiexec_starts_an_agent_on_each_node(grid: ClusterUnderTest, mpi: Mpi) -> None:
    job = MpiJob(grid, mpi, f"{PYTHON} --launcher mpi {grid.write(HOSTS)}")
    job.wait_until_run_on_all_nodes()
    wait_until_clean(grid)


@BOTH
def test_a_job_that_is_deleted_leaves_nothing(grid: ClusterUnderTest, mpi: Mpi) -> None:
    job = MpiJob(grid, mpi, f"{mpi.mpiexec} {mpi.by_grid_engine} {PYTHON} {grid.write(HOLD)}")
    job.wait_until_held()
    grid.check(HEAD, ["qdel", job.id])
    wait_until_clean(grid)


@pytest.mark.parametrize(("mpi", "status"), [(MPICH, 255), (OPEN_MPI, 137)], ids=["MPICH", "Open MPI"])
def test_a_killed_rank_of_another_node_ends_all(grid: ClusterUnderTest, mpi: Mpi, status: int) -> None:
    job = MpiJob(grid, mpi, f"{mpi.mpiexec} {mpi.by_grid_engine} {PYTHON} {grid.write(HOLD)}")
    job.wait_until_held()
    os.kill(job.process(is_rank).outer_pid, signal.SIGKILL)
    assert job.status() == status, job.printed()
    wait_until_clean(grid)
