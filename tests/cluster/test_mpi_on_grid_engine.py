"""MPI as the way to start on a real Grid Engine: mpiexec starts ranks, or agents, by qrsh -inherit; no ssh."""

from __future__ import annotations

import os
import signal

from minicluster.state import HEAD
from mpis import BOTH, HOSTS, MPICH, OPEN_MPI, PYTHON, Mpi, MpiJob, is_rank, wait_until_clean
from under_test import HOLD, ClusterUnderTest


def test_the_ranks_of_mpiexec_are_one_run(grid: ClusterUnderTest) -> None:
    """Open MPI's, which has to be told the nodes."""
    job = MpiJob(grid, OPEN_MPI, f"{OPEN_MPI.mpiexec} {OPEN_MPI.by_grid_engine} {PYTHON} {grid.write(HOSTS)}")
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


def test_a_killed_rank_of_another_node_ends_all(grid: ClusterUnderTest) -> None:
    """MPICH's mpiexec hears of it only when nobody holds the rank's standard output."""
    job = MpiJob(grid, MPICH, f"{MPICH.mpiexec} {MPICH.by_grid_engine} {PYTHON} {grid.write(HOLD)}")
    job.wait_until_held()
    os.kill(job.process(is_rank).outer_pid, signal.SIGKILL)
    assert job.status() in (9, 255), job.printed()
    wait_until_clean(grid)
