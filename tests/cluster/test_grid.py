"""The nodes as hosts of a grid: started by ssh from the login node, without Slurm's knowledge."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from minicluster.shell import environment
from minicluster.state import HEAD
from sshd import ssh
from under_test import FAIL, HOLD, ClusterUnderTest

WHERE = """
import os, socket, sys, time
from scoop_hpc import futures

def where(i):
    time.sleep(0.05)
    return socket.gethostname(), os.getcwd(), os.environ["ODD"]

if __name__ == "__main__":
    print(socket.gethostname(), sorted(set(futures.map(where, range(40), chunksize=1))))
    sys.exit(3)
"""


@pytest.fixture
def grid(cluster: ClusterUnderTest) -> Iterator[ClusterUnderTest]:
    """The cluster with an ssh on the login node."""
    with ssh(cluster.machine, cluster.directory) as folder:
        cluster.environ.update(PATH=f"{folder}:{environment()['PATH']}", ODD="it's $ODD")
        yield cluster


def test_ssh_brings_the_driver_and_its_environment_to_every_host(grid: ClusterUnderTest) -> None:
    words = ["run", "--launcher", "ssh", "--hosts", f"{grid.nodes[2]}:2,{grid.nodes[0]}:1", str(grid.write(WHERE))]
    done = grid.scoop_hpc(*words)
    hosts = [(host, str(grid.directory), "it's $ODD") for host in (grid.nodes[0], grid.nodes[2])]
    assert (done.stdout, done.returncode) == (f"{grid.nodes[2]} {hosts}\n", 3), done.stderr
    grid.wait_until_clean()


def test_own_host_and_others_run_together_by_scoops_flags(grid: ClusterUnderTest) -> None:
    done = grid.scoop_hpc("--launcher", "ssh", "--host", HEAD, grid.nodes[1], str(grid.write(WHERE)))
    assert done.returncode == 3, done.stderr
    assert f"('{HEAD}'" in done.stdout
    assert f"('{grid.nodes[1]}'" in done.stdout


def test_host_that_is_not_there_is_named(grid: ClusterUnderTest) -> None:
    done = grid.scoop_hpc("run", "--launcher", "ssh", "--hosts", f"{grid.nodes[0]},far", str(grid.write(WHERE)))
    said = "scoop-hpc: error: no agent on far: ssh: Could not resolve hostname far: Name or service not known\n"
    assert (done.returncode, done.stderr) == (1, said)
    grid.wait_until_clean()


def test_nothing_is_left_of_a_driver_that_was_killed(grid: ClusterUnderTest) -> None:
    hosts = ",".join(f"{node}:2" for node in grid.nodes)
    argv = [sys.executable, "-m", "scoop_hpc", "run", "--launcher", "ssh", "--hosts", hosts, str(grid.write(HOLD))]
    with grid.started(HEAD, argv) as driver:
        grid.wait_until_held()
        driver.popen.kill()
        grid.wait_until_clean()


def test_node_that_falls_silent_ends_the_run_where_that_is_wanted(grid: ClusterUnderTest) -> None:
    hosts = ",".join(f"{node}:2" for node in grid.nodes)
    argv = [
        sys.executable,
        "-m",
        "scoop_hpc",
        "run",
        "--launcher",
        "ssh",
        "--hosts",
        hosts,
        *FAIL,
        str(grid.write(HOLD)),
    ]
    with grid.started(HEAD, argv) as driver:
        grid.wait_until_held()
        grid.machine.cut(grid.nodes[3])
        try:
            done = driver.finish()
        finally:
            grid.machine.heal(grid.nodes[3])
        assert done.returncode == 1
        assert grid.nodes[3] in done.stderr
        grid.wait_until_clean()
