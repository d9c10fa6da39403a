"""scoop-hpc bench on a real Slurm and a real Grid Engine: by a job on two nodes."""

from __future__ import annotations

import json

from under_test import ClusterUnderTest


def check(cluster: ClusterUnderTest, *words: str) -> None:
    """See to it that all rows have figures, those between nodes as well."""
    done = cluster.scoop_hpc("bench", "--nodes", "2", "--quick", "--repeat", "1", "--json", *words, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["nodes"] == 2
    assert 0 < told["start"] < 100
    found = {row["row"]: row["values"] for row in told["rows"]}
    assert {"map", "submit", "latency", "echo", "latency-nodes", "echo-nodes"} == set(found)
    assert all(value > 0 for values in found.values() for value in values)
    cluster.wait_until_clean()


def test_two_nodes_of_slurm_are_measured(cluster: ClusterUnderTest) -> None:
    check(cluster, "--workers-per-node", "2", "--queue", "short")


def test_two_nodes_of_grid_engine_are_measured(grid: ClusterUnderTest) -> None:
    check(grid)
