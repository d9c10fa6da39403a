"""The cluster is what the other tests take it for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from minicluster.cluster import find
from minicluster.namespaces import start_time
from minicluster.state import HEAD
from under_test import ClusterUnderTest

ANSWER = "import socket; print(socket.create_connection(({!r}, {}), timeout=1))"
SERVE = "import socket, time; s = socket.create_server(('', 5601)); print('serving', flush=True); time.sleep(60)"


def test_slurm_runs_a_task_on_each_of_four_nodes(cluster: ClusterUnderTest) -> None:
    assert sorted(cluster.check(HEAD, ["srun", "-N4", "hostname"]).split()) == cluster.nodes


def test_a_batch_job_gives_its_exit_status(cluster: ClusterUnderTest) -> None:
    done = cluster.run(HEAD, ["sbatch", "-N4", "--wait", "--output=job.out", "--wrap", "srun -N4 hostname; exit 3"])
    assert done.returncode == 3
    assert sorted((cluster.directory / "job.out").read_text().split()) == cluster.nodes


def test_the_short_queue_takes_all_nodes(cluster: ClusterUnderTest) -> None:
    assert len(cluster.check(HEAD, ["srun", "-p", "short", "-N4", "hostname"]).split()) == 4


def test_there_is_no_sshd(cluster: ClusterUnderTest) -> None:
    done = cluster.run("node001", [sys.executable, "-c", ANSWER.format("node002", 22)])
    assert "ConnectionRefusedError" in done.stderr


def test_own_name_is_a_loopback_address(cluster: ClusterUnderTest) -> None:
    command = "import socket; print(socket.gethostbyname(socket.gethostname()))"
    assert cluster.check("node003", [sys.executable, "-c", command]) == "127.0.1.1\n"


def test_every_node_has_the_same_second_address(cluster: ClusterUnderTest) -> None:
    for node in cluster.nodes:
        assert "172.17.0.1/16" in cluster.check(node, ["ip", "-4", "-o", "addr", "show", "docker0"])


def test_tmp_is_each_nodes_own(cluster: ClusterUnderTest) -> None:
    cluster.check("node001", ["touch", "/tmp/mine"])
    assert cluster.leftovers() == ["node001:/tmp/mine"]
    cluster.check("node001", ["rm", "/tmp/mine"])


def test_a_process_is_seen_on_its_node_alone(cluster: ClusterUnderTest) -> None:
    with cluster.started("node002", ["sleep", "60"]):
        cluster.wait_until(lambda: cluster.processes("node002"), 60, "sleep is there")
        assert [(host, process.argv) for host, process in cluster.all_processes()] == [("node002", ("sleep", "60"))]
    cluster.wait_until_clean()


def test_a_cut_node_is_silent_until_healed(cluster: ClusterUnderTest) -> None:
    connect = [sys.executable, "-c", ANSWER.format("node002", 5601)]
    with cluster.started("node002", [sys.executable, "-c", SERVE]) as server:
        assert server.popen.stdout is not None
        assert server.popen.stdout.readline() == "serving\n"
        assert cluster.run("node001", connect).returncode == 0
        cluster.machine.cut("node002")
        assert socket.timeout.__name__ in cluster.run("node001", connect).stderr
        cluster.machine.heal("node002")
        cluster.wait_until(lambda: cluster.run("node001", connect).returncode == 0, 60, "node002 answers again")


def test_a_killed_node_is_gone_and_comes_back(cluster: ClusterUnderTest) -> None:
    cluster.machine.kill_node("node004")
    assert cluster.machine.status()["node004"] == "dead"
    cluster.machine.start_node("node004")
    assert cluster.check(HEAD, ["srun", "-w", "node004", "hostname"]) == "node004\n"


def test_slurm_can_be_made_to_forget(cluster: ClusterUnderTest) -> None:
    job = cluster.check(HEAD, ["sbatch", "--parsable", "--wait", "--output=/dev/null", "--wrap", "true"]).strip()
    assert cluster.check(HEAD, ["squeue", "--noheader", "--states=all", f"--jobs={job}"])
    cluster.machine.forget_jobs()
    assert "Invalid job id" in cluster.run(HEAD, ["squeue", f"--jobs={job}"]).stderr


@pytest.mark.usefixtures("machine")
def test_a_cluster_leaves_nothing() -> None:
    directory = Path(f"/run/scoop-own-{os.getpid()}")
    argv = [sys.executable, "-m", "minicluster", "--dir", str(directory), "hold", "--nodes=1"]
    holder = subprocess.Popen(argv, cwd=Path(__file__).parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == f"{directory}\n"
    own = find(directory)
    own.kill_node("node001")
    own.start_node("node001")
    bridge = own.state.bridge
    pids = [host.pid for host in own.state.hosts.values() if host.pid is not None]
    assert all(start_time(pid) for pid in pids)
    holder.communicate(timeout=120)
    assert not any(start_time(pid) for pid in pids)
    assert not directory.exists()
    assert bridge not in subprocess.run(["ip", "link"], check=True, capture_output=True, text=True).stdout


def test_an_ordinary_user_can_submit(cluster: ClusterUnderTest) -> None:
    done = cluster.run(HEAD, ["srun", "id", "-un"], user="tester", cwd=cluster.machine.shared)
    assert (done.returncode, done.stdout) == (0, "tester\n"), done.stderr
