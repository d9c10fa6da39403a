"""scoop-hpc doctor on a real Slurm and a real Grid Engine: on the login node, and by a job on two nodes."""

from __future__ import annotations

import json
import subprocess

import pytest
from under_test import ClusterUnderTest


def findings(done: subprocess.CompletedProcess[str], topic: str) -> list[str]:
    """Return the findings about *topic*, each with its verdict."""
    words = [line.split(None, 2) for line in done.stdout.splitlines()]
    return [f"{each[0]} {each[2]}" for each in words if len(each) == 3 and each[1] == topic]


def check_the_job(cluster: ClusterUnderTest, *words: str) -> None:
    """See to it that a job's nodes were found well, two of them with their own names, and that nothing is left."""
    done = cluster.scoop_hpc("doctor", "--submit", "--nodes", "2", *words, "--json", timeout=150)
    told = json.loads(done.stdout)
    changes = [each for each in told["findings"] if each["verdict"] == "change" and "which is slow" not in each["text"]]
    assert changes == [], done.stdout + done.stderr
    nodes = {node["host"] for node in told["job"]["nodes"]}
    assert nodes < set(cluster.nodes)
    assert len(nodes) == 2
    assert {(way["source"], way["target"]) for way in told["job"]["ways"]} == {
        (one, other) for one in nodes for other in nodes if one != other
    }
    assert all(way["rate"] > 0 and way["latency"] > 0 for way in told["job"]["ways"])
    assert all(marked["has_mark"] for node in told["job"]["nodes"] for marked in node["marked"])
    assert list(cluster.directory.rglob(".scoop-hpc-doctor-*")) == []
    cluster.wait_until_clean()


def test_slurm_is_asked_for_its_version_and_partitions(cluster: ClusterUnderTest) -> None:
    done = cluster.scoop_hpc("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert findings(done, "scheduler")[0].startswith("ok Slurm 2")
    assert findings(done, "queues") == ["ok you may use normal (default, 4 nodes, 24:00:00); short (4 nodes, 0:15:00)"]


@pytest.mark.parametrize(
    ("words", "change"),
    [
        (("--queue", "nosuch"), "change there is no queue 'nosuch' for you; choose by --queue one of normal, short"),
        (("--queue", "short", "--walltime", "60"), "change the queue 'short' allows a walltime of 0:15:00"),
        (("--nodes", "5"), "change no queue allows --nodes 5"),
    ],
)
def test_what_no_partition_allows_is_told_before_a_job_asks_for_it(
    cluster: ClusterUnderTest, words: tuple[str, ...], change: str
) -> None:
    done = cluster.scoop_hpc("doctor", *words)
    assert done.returncode == 1
    assert any(each.startswith(change) for each in findings(done, "queues")), done.stdout


def test_two_nodes_of_slurm_are_looked_at(cluster: ClusterUnderTest) -> None:
    check_the_job(cluster, "--queue", "short")


def test_a_job_that_slurm_does_not_begin_is_explained_and_cancelled(cluster: ClusterUnderTest) -> None:
    done = cluster.scoop_hpc("doctor", "--submit", "--timeout", "2", "--directive=--hold")
    assert done.returncode == 1, done.stdout + done.stderr
    (job,) = findings(done, "job")
    assert "has not ended within 2 s, and is cancelled: PENDING: JobHeldUser" in job
    assert cluster.run("head", ["squeue", "--noheader"]).stdout == ""


def test_a_directory_that_only_the_login_node_sees_is_told(cluster: ClusterUnderTest) -> None:
    done = cluster.scoop_hpc("doctor", "--submit", "--chdir", "/tmp")  # every host has one of its own
    assert done.returncode == 1, done.stdout + done.stderr
    (told,) = (each for each in findings(done, "directories") if each.startswith("change"))
    assert ": '/tmp' is another directory than here" in told
    assert "--chdir" in told


def test_grid_engine_is_asked_for_its_version_and_queues(grid: ClusterUnderTest) -> None:
    done = grid.scoop_hpc("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert findings(done, "scheduler") == ["ok Grid Engine (SGE 8.1.9)"]
    assert findings(done, "queues") == ["ok you may use all.q (4 nodes)"]


def test_two_nodes_of_grid_engine_are_looked_at(grid: ClusterUnderTest) -> None:
    check_the_job(grid)
