"""On real schedulers, nodes of a second job join the run of the first, and leave it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from minicluster.state import HEAD
from under_test import ClusterUnderTest

# until the test has seen enough, each task noting its node; nested tasks, too
PROGRAM = """
import os, time
from scoop_hpc import futures, worker

def leaf(n):
    time.sleep(0.05)
    return n

def task(n):
    open(f"on.{worker.info().node}", "w").close()
    return sum(futures.map(leaf, range(n, n + 3)))

if __name__ == "__main__":
    rounds, right = 0, True
    while right and not os.path.exists("enough"):
        numbers = range(24 * rounds, 24 * rounds + 24)
        right = list(futures.map(task, numbers, chunksize=1)) == [3 * n + 3 for n in numbers]
        rounds += 1
    print("right" if right else "wrong", flush=True)
"""


class TwoJobs:
    """A job on two nodes, and what another one does about its run."""

    def __init__(self, cluster: ClusterUnderTest, submit: tuple[str, ...]) -> None:
        self.cluster = cluster
        self._submit = submit
        program = str(cluster.write(PROGRAM))
        self.first = self.submit("--output=job.out", program)
        cluster.wait_until(lambda: len(self.nodes()) == 2, 60, "both nodes of the first job work")
        self.own = self.nodes()

    def submit(self, *words: str) -> str:
        done = self.cluster.scoop_hpc(*self._submit, "--parsable", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def nodes(self) -> set[str]:
        return {path.name.partition(".")[2] for path in self.cluster.directory.glob("on.*")}

    def join(self) -> str:
        """Let a second job's nodes join; return its id, once they work."""
        second = self.submit("--output=second.out", "--join", self.first)
        self.cluster.wait_until(lambda: len(self.nodes()) == 4, 60, "the nodes of both jobs work")
        return second

    def wait(self, job: str) -> int:
        return self.cluster.scoop_hpc("wait", job).returncode

    def ends(self) -> str:
        """Let the program end; return what it has printed."""
        (self.cluster.directory / "enough").touch()
        assert self.wait(self.first) == 0, self.cluster.output()
        self.cluster.wait_until_clean()
        printed = self.cluster.output()
        assert "right" in printed.splitlines(), printed  # a long run has more to say at its end
        return printed


@pytest.fixture
def slurm(cluster: ClusterUnderTest) -> TwoJobs:
    return TwoJobs(cluster, ("submit", "--nodes=2", "--workers-per-node=2", "--walltime=10", "--queue=short"))


@pytest.fixture
def sge(grid: ClusterUnderTest) -> TwoJobs:
    return TwoJobs(grid, ("submit", "--nodes=2", "--workers-per-node=2", "--walltime=10"))


def leave_when_cancelled(jobs: TwoJobs) -> None:
    second = jobs.join()
    cancelled = jobs.cluster.scoop_hpc("cancel", second)
    assert cancelled.returncode == 0, cancelled.stderr
    guests = jobs.nodes() - jobs.own
    jobs.cluster.wait_until(
        lambda: all(f"node {node} has left: " in jobs.cluster.output() for node in guests), 60, "its nodes have left"
    )
    printed = jobs.ends()
    assert "; 2 of 2 nodes are left" in printed
    assert "lost" not in printed


def outlive_a_node_that_is_drained(jobs: TwoJobs) -> None:
    second = jobs.join()
    last = max(jobs.own)
    drained = jobs.cluster.scoop_hpc("drain", jobs.first, last)
    assert drained.returncode == 0, drained.stderr
    jobs.cluster.wait_until(lambda: f"node {last} has left: drained" in jobs.cluster.output(), 60, "it has left")
    printed = jobs.ends()
    for node in jobs.nodes() - jobs.own:
        assert f"node {node} takes part from now on, as broker " in printed
    assert "; 3 of 3 nodes are left" in printed
    assert "lost" not in printed
    assert jobs.wait(second) == 0


@pytest.mark.parametrize("what", [leave_when_cancelled, outlive_a_node_that_is_drained])
def test_nodes_of_a_second_job_of_slurm(slurm: TwoJobs, what: Callable[[TwoJobs], None]) -> None:
    what(slurm)


def test_nodes_of_a_second_job_of_grid_engine(sge: TwoJobs) -> None:
    outlive_a_node_that_is_drained(sge)


@contextmanager
def powered_off(cluster: ClusterUnderTest, node: str) -> Iterator[None]:
    cluster.machine.kill_node(node)
    try:
        yield
    finally:
        cluster.machine.start_node(node)


@pytest.fixture
def apart(cluster: ClusterUnderTest) -> TwoJobs:
    """Two jobs of Slurm that share no node."""
    whole = ("--workers-per-node=2", "--cpus-per-worker=2", "--grace=5", "--patience=10")
    return TwoJobs(cluster, ("submit", "--nodes=2", *whole, "--walltime=10", "--queue=short"))


def first_of(jobs: TwoJobs, job: str) -> str:
    """Return the node on which the script of *job* runs."""
    return jobs.cluster.check(HEAD, ["squeue", "--noheader", f"--jobs={job}", "--format=%B"]).strip()


def test_nodes_of_a_job_whose_first_is_lost_stay_to_the_end_of_the_run_and_no_longer(apart: TwoJobs) -> None:
    second = apart.join()
    first = first_of(apart, second)
    (other,) = apart.nodes() - apart.own - {first}
    with powered_off(apart.cluster, first):
        text = f"{other} was on {first}; {other} stays to the end of the run"
        apart.cluster.wait_until(lambda: text in apart.cluster.output(), 60, text)
        (apart.cluster.directory / "enough").touch()
        assert apart.wait(apart.first) == 0, apart.cluster.output()
        assert apart.cluster.scoop_hpc("wait", second, timeout=180).returncode == 1
        assert apart.cluster.status(second)["state"] == "CANCELLED"
    apart.cluster.wait_until_clean()


def test_job_that_has_joined_ends_when_the_run_s_first_node_is_lost(apart: TwoJobs) -> None:
    second = apart.join()
    first = first_of(apart, apart.first)
    with powered_off(apart.cluster, first):
        assert apart.cluster.scoop_hpc("wait", second, timeout=180).returncode == 1
        how = rf"the driver \(pid \d+\) on {first} died, or its node was lost"
        assert re.search(f"error: the agents of all its nodes have ended: {how}", apart.cluster.output("second.out"))
        assert apart.cluster.scoop_hpc("wait", apart.first, timeout=180).returncode == 1
    apart.cluster.wait_until_clean()
