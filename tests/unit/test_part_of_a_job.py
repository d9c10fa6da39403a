"""Hosts that a user names inside a job: the run is restricted to these of its nodes."""

from __future__ import annotations

import pytest

from scoop_hpc.cli.grid import plan_part
from scoop_hpc.cli.hostfile import read_hostfile
from scoop_hpc.errors import InputError
from scoop_hpc.launchers.qrsh import QrshLauncher
from scoop_hpc.schedulers.allocation import Allocation, Node

JOB = Allocation("slurm", tuple(Node(f"n{number}", 4, 4) for number in (1, 2, 3)))


def plan(hostfile: str, workers: int | None = None, job: Allocation = JOB) -> list[tuple[str, int | None]]:
    """Return names and workers of the nodes in *hostfile*, read on n2."""
    here = {"localhost", "127.0.0.1", "n2", "n2.example.org"}
    nodes = plan_part(job, read_hostfile(hostfile.replace(";", "\n")), workers, here.__contains__)
    return [(node.name, node.workers) for node in nodes]


@pytest.mark.parametrize(
    ("hostfile", "workers", "planned"),
    [
        ("n1", None, [("n1", 4)]),
        ("n3 2;n1 1", None, [("n3", 2), ("n1", 1)]),
        ("n[1-3]", None, [("n1", 4), ("n2", 4), ("n3", 4)]),
        ("n1 8", None, [("n1", 8)]),  # more than its slots: as SCOOP's hostfile says
        ("n1;n1;n3", None, [("n1", 2), ("n3", 4)]),  # as a node file of PBS
        ("n1 2;n1", None, [("n1", 3)]),
        ("n1.cluster.example.org 3", None, [("n1", 3)]),
        ("localhost", None, [("n2", 4)]),
        ("127.0.0.1 2", None, [("n2", 2)]),
        ("localhost 2;n2 1", None, [("n2", 3)]),
        ("n1 1;n2 3", 4, [("n1", 1), ("n2", 3)]),
        ("n1;n2", 2, [("n1", 1), ("n2", 1)]),
        ("n1 4;n2 4", 1, [("n1", 1)]),
        ("n1 2;n2 2", 8, [("n1", 4), ("n2", 4)]),
    ],
)
def test_a_hostfile_restricts_a_run_to_a_part_of_the_job(
    hostfile: str, workers: int | None, planned: list[tuple[str, int]]
) -> None:
    assert plan(hostfile, workers) == planned


@pytest.mark.parametrize("hostfile", ["n4", "n1;n4 2", "n11", "login"])
def test_a_host_that_is_not_of_the_job_is_refused_by_name(hostfile: str) -> None:
    with pytest.raises(
        InputError, match=r"^the host '(n4|n11|login)' is no node of this slurm job: name some of n\[1-3\]"
    ):
        plan(hostfile)


def test_localhost_is_refused_where_this_is_no_node_of_the_job() -> None:
    with pytest.raises(InputError, match="^the host 'localhost' is no node of this slurm job"):
        plan("localhost", job=Allocation("slurm", (Node("n7", 4, 4), Node("n8", 4, 4))))


def test_localhost_is_the_first_node_that_the_local_scheduler_plays() -> None:
    played = Allocation("local", (Node("local1", 2, 2), Node("local2", 2, 2)))
    assert plan("localhost", job=played) == [("local1", 2)]


def test_the_agent_beside_the_driver_needs_no_qrsh_wherever_it_is_named() -> None:
    for nodes in (["n1", "n2"], ["n2", "n1"], ["n2"]):
        commands = QrshLauncher("n1").commands(["agent"], nodes, {})
        assert [(command.nodes[0], command.argv[0]) for command in commands] == [
            (node, "agent" if node == "n1" else "qrsh") for node in nodes
        ]
