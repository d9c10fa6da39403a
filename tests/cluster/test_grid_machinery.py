"""The cluster of Grid Engine is what the other tests take it for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from holder import held
from minicluster import sge
from minicluster.cluster import up
from minicluster.namespaces import start_time
from minicluster.state import HEAD, ClusterError, Settings
from test_machinery import ANSWER
from under_test import ClusterUnderTest

SLOTS = "cut -d ' ' -f 1,2 $PE_HOSTFILE"
EVERYWHERE = "for host in $(cut -d ' ' -f 1 $PE_HOSTFILE); do qrsh -inherit -nostdin $host {!r} & done; wait"


def job(cluster: ClusterUnderTest, script: str, *options: str, host: str = "") -> list[str]:
    """Return the command that submits *script* and waits for its end; its output is in job.out."""
    path = cluster.write(script, "job.sh")
    (cluster.directory / "job.out").unlink(missing_ok=True)  # Grid Engine would append to it
    where = ["-l", f"hostname={host}"] if host else []
    return ["qsub", "-sync", "y", "-cwd", "-j", "y", "-o", "job.out", *where, *options, str(path)]


def output(cluster: ClusterUnderTest) -> list[str]:
    return (cluster.directory / "job.out").read_text().splitlines()


def allocation(cluster: ClusterUnderTest, environment: str, slots: int) -> dict[str, int]:
    """Return how many slots each node has of a job's."""
    cluster.check(HEAD, job(cluster, SLOTS, "-pe", environment, str(slots)))
    return {host: int(n) for host, n in (line.split() for line in output(cluster))}


def test_grid_engine_sees_every_node(grid: ClusterUnderTest) -> None:
    lines = grid.check(HEAD, ["qhost"]).splitlines()[3:]  # after the heading and "global"
    assert [line.split()[:2] for line in lines] == [[node, "lx-amd64"] for node in grid.nodes]


def test_a_job_of_eight_slots_has_two_on_each_of_four_nodes(grid: ClusterUnderTest) -> None:
    assert allocation(grid, "mpi", 8) == dict.fromkeys(grid.nodes, 2)


@pytest.mark.parametrize(
    ("environment", "slots", "expected"),
    [("mpi", 6, [2, 2, 1, 1]), ("mpi_fill", 6, [4, 2]), ("mpi2", 6, [2, 2, 2]), ("smp", 3, [3])],
)
def test_a_parallel_environment_has_its_rule(
    grid: ClusterUnderTest, environment: str, slots: int, expected: list[int]
) -> None:
    assert allocation(grid, environment, slots) == dict(zip(grid.nodes, expected))


def test_nodes_can_be_uneven(uneven_grid: ClusterUnderTest) -> None:
    assert allocation(uneven_grid, "mpi", 10) == dict(zip(uneven_grid.nodes, [1, 2, 3, 4]))
    assert allocation(uneven_grid, "mpi_fill", 5) == dict(zip(uneven_grid.nodes, [1, 2, 2]))
    uneven_grid.check(HEAD, sge.set_slots(uneven_grid.nodes, 4))
    assert allocation(uneven_grid, "mpi_fill", 16) == dict.fromkeys(uneven_grid.nodes, 4)


def test_a_job_gives_its_exit_status_and_is_on_account_at_once(grid: ClusterUnderTest) -> None:
    done = grid.run(HEAD, ["qsub", "-terse", *job(grid, "exit 3\n")[1:]])
    assert done.returncode == 3
    account = grid.check(HEAD, ["qacct", "-j", done.stdout.splitlines()[0]])
    assert ["exit_status", "3"] in [line.split() for line in account.splitlines()]


def test_qrsh_reaches_every_node_of_a_job_and_there_is_no_sshd(grid: ClusterUnderTest) -> None:
    grid.check(HEAD, job(grid, EVERYWHERE.format("hostname"), "-pe", "mpi", "8"))
    assert sorted(output(grid)) == grid.nodes
    refused = grid.run(grid.nodes[0], [sys.executable, "-c", ANSWER.format(grid.nodes[1], 22)])
    assert "ConnectionRefusedError" in refused.stderr


def test_tmpdir_is_each_nodes_own_and_goes_with_the_job(grid: ClusterUnderTest) -> None:
    touch = "touch $TMPDIR/of-$(hostname); echo $TMPDIR: $(cd $TMPDIR; ls of-*)"
    grid.check(HEAD, job(grid, EVERYWHERE.format(touch), "-pe", "mpi", "8"))
    directories, files = zip(*(line.split(": ") for line in output(grid)))
    assert sorted(files) == [f"of-{node}" for node in grid.nodes]
    assert len(set(directories)) == 1
    assert directories[0].startswith("/tmp/")
    grid.wait_until_clean()


def test_both_schedulers_are_up_at_once(grid: ClusterUnderTest, cluster: ClusterUnderTest) -> None:
    assert sorted(cluster.check(HEAD, ["srun", "-N4", "hostname"]).split()) == cluster.nodes
    assert not set(grid.nodes) & set(cluster.nodes)
    assert grid.machine.state.subnet != cluster.machine.state.subnet
    for each in (grid, cluster):
        assert not [line for line in each.check(HEAD, ["env"]).splitlines() if line.startswith(("SGE_", "SLURM_"))]


def test_a_cut_node_gets_its_job_when_it_is_healed(grid: ClusterUnderTest) -> None:
    node = grid.nodes[2]
    grid.machine.cut(node)
    try:
        assert grid.machine.status()[node] == "cut"
        with grid.started(HEAD, job(grid, "hostname", host=node)) as waiting:
            grid.wait_until(lambda: f"all.q@{node}" in grid.check(HEAD, ["qstat"]), 60, "the job is to begin there")
            assert not (grid.directory / "job.out").exists()
            grid.machine.heal(node)
            assert waiting.finish().returncode == 0
    finally:
        grid.machine.heal(node)
    assert output(grid) == [node]


def test_a_killed_node_is_gone_and_comes_back(grid: ClusterUnderTest) -> None:
    node = grid.nodes[3]
    script = EVERYWHERE.format(f"touch {grid.directory}/begun.$(hostname); sleep 300")
    with grid.started(HEAD, job(grid, script, "-pe", "mpi", "8")):
        grid.wait_until(lambda: len(list(grid.directory.glob("begun.*"))) == 4, 60, "the job has begun everywhere")
        grid.machine.kill_node(node)
        assert grid.machine.status()[node] == "dead"
        grid.machine.delete_jobs()
    grid.machine.start_node(node)
    grid.check(HEAD, job(grid, "hostname", host=node))
    assert output(grid) == [node]


def test_all_jobs_can_be_deleted(grid: ClusterUnderTest) -> None:
    with grid.started(HEAD, job(grid, "sleep 300", "-pe", "mpi", "8")):
        grid.check(HEAD, ["qsub", "-h", "-b", "y", "true"])
        grid.wait_until(lambda: any(grid.processes(node) for node in grid.nodes), 60, "the job has begun")
        grid.machine.delete_jobs()
        assert grid.check(HEAD, ["qstat", "-u", "*"]) == ""
    grid.wait_until_clean()


def test_grid_engine_can_be_made_to_forget(grid: ClusterUnderTest) -> None:
    done = grid.run(HEAD, ["qsub", "-terse", *job(grid, "true")[1:]])
    number = done.stdout.splitlines()[0]
    assert grid.check(HEAD, ["qacct", "-j", number])
    grid.machine.forget_jobs()
    assert grid.run(HEAD, ["qacct", "-j", number]).returncode == 1
    grid.check(HEAD, job(grid, "true"))


def test_an_ordinary_user_can_submit(grid: ClusterUnderTest) -> None:
    argv = ["qsub", "-sync", "y", "-j", "y", "-o", "$HOME/job.out", "-b", "y", "id", "-un"]
    done = grid.run(HEAD, argv, user="tester", cwd=grid.machine.shared)
    assert done.returncode == 0, done.stderr
    output = grid.machine.directory / "home" / "tester" / "job.out"
    assert output.read_text() == "tester\n", done.stdout + done.stderr


@pytest.mark.usefixtures("grid_machine")
def test_a_cluster_leaves_nothing() -> None:
    with held("--scheduler=sge", "--prefix=own", "--nodes=1", "--slots=3") as own:
        own.kill_node("own001")
        own.start_node("own001")
        assert "0/0/3" in own.ask(["qstat", "-f"])
        bridge = own.state.bridge
        pids = [host.pid for host in own.state.hosts.values() if host.pid is not None]
        assert all(start_time(pid) for pid in pids)
    assert not any(start_time(pid) for pid in pids)
    assert not own.directory.exists()
    assert bridge not in subprocess.run(["ip", "link"], check=True, capture_output=True, text=True).stdout


@pytest.mark.usefixtures("all_packages")
@pytest.mark.parametrize(("scheduler", "own", "other"), [("slurm", "sbatch", "qsub"), ("sge", "qsub", "sbatch")])
def test_the_hosts_of_a_scheduler_do_not_have_anothers_commands(scheduler: str, own: str, other: str) -> None:
    with held(f"--scheduler={scheduler}", "--prefix=own", "--nodes=1") as cluster:
        for host in (HEAD, "own001"):
            assert cluster.run(host, ["which", own]).returncode == 0
            assert cluster.run(host, ["which", other]).stdout == ""


@pytest.mark.usefixtures("grid_machine")
@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (Settings(scheduler="sge", private_tmp=False), "leave out --common-tmp"),
        (Settings(scheduler="pbs"), "no scheduler 'pbs'; there are slurm, sge"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(settings: Settings, complaint: str) -> None:
    directory = Path(f"/run/scoop-own-{os.getpid()}")
    with pytest.raises(ClusterError, match=complaint):
        up(directory, settings)
    assert not directory.exists()
