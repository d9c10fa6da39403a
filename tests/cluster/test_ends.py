"""However a job comes to its end: its exit status is right, what died is named, and nothing is left on any node."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from minicluster.namespaces import Process
from minicluster.state import HEAD
from under_test import FAIL, NESTED, SUBMIT, ClusterUnderTest, age, signal_if_there


def test_nothing_is_left_of_a_job_that_completed(cluster: ClusterUnderTest) -> None:
    done = cluster.scoop_hpc(*SUBMIT, "--wait", str(cluster.write("if __name__ == '__main__':\n    print(1)\n")))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1"), done.stderr
    cluster.wait_until_clean()


def test_exit_status_of_the_program_is_the_jobs(cluster: ClusterUnderTest) -> None:
    program = cluster.write("import sys\nif __name__ == '__main__':\n    sys.exit(3)\n")
    done = cluster.scoop_hpc(*SUBMIT, "--parsable", str(program))
    job = done.stdout.strip()
    assert cluster.scoop_hpc("wait", job).returncode == 3
    answer = cluster.status(job)
    assert (answer["state"], answer["exit_status"]) == ("FAILED", 3)
    shown = cluster.check(HEAD, ["scontrol", "--oneliner", "show", "job", job])
    assert "JobState=FAILED" in shown
    assert "ExitCode=3:0" in shown


def test_a_program_that_raises_makes_a_failed_job(cluster: ClusterUnderTest) -> None:
    program = cluster.write("if __name__ == '__main__':\n    raise ValueError('of no value')\n")
    done = cluster.scoop_hpc(*SUBMIT, "--wait", str(program))
    assert done.returncode == 1
    assert "ValueError: of no value" in done.stdout + done.stderr


def test_cancel(cluster: ClusterUnderTest) -> None:
    job = cluster.submit_held()
    assert cluster.status(job)["state"] == "RUNNING"
    assert cluster.scoop_hpc("cancel", job).returncode == 0
    cluster.wait_until_clean()
    assert cluster.scoop_hpc("wait", job).returncode != 0
    assert cluster.status(job)["state"] == "CANCELLED"


def test_scancel_leaves_nothing(cluster: ClusterUnderTest) -> None:
    job = cluster.submit_held()
    cluster.check(HEAD, ["scancel", job])
    cluster.wait_until_clean()
    assert cluster.scoop_hpc("wait", job).returncode != 0
    assert cluster.status(job)["state"] == "CANCELLED"


def test_a_job_that_the_queue_has_forgotten_has_an_end(cluster: ClusterUnderTest) -> None:
    program = cluster.write("import sys\nif __name__ == '__main__':\n    sys.exit(4)\n")
    job = cluster.scoop_hpc(*SUBMIT, "--parsable", str(program)).stdout.strip()
    assert cluster.scoop_hpc("wait", job).returncode == 4
    cluster.machine.forget_jobs()
    assert cluster.run(HEAD, ["squeue", f"--jobs={job}"]).returncode != 0
    answer = cluster.status(job)
    assert (answer["state"], answer["exit_status"]) == ("FAILED", 4)
    assert cluster.scoop_hpc("wait", job).returncode == 4


def is_driver(process: Process) -> bool:
    """Return whether *process* is a run's driver."""
    return process.argv[1:4] == ("-m", "scoop_hpc", "run")


VICTIMS: dict[str, tuple[Callable[[Process], bool], str]] = {
    # what: (which process it is, the node whose one is killed)
    "broker": (lambda process: process.title == "scoop-broker", "node003"),
    "agent": (
        lambda process: "scoop_hpc.cli.agent" in " ".join(process.argv) and "scoop-" not in process.title,
        "node003",
    ),
    "origin": (lambda process: process.title == "scoop-origin", "node001"),
    "driver": (is_driver, "node001"),
}


@pytest.mark.parametrize("what", VICTIMS)
def test_what_is_killed_is_named_and_nothing_is_left(cluster: ClusterUnderTest, what: str) -> None:
    is_victim, node = VICTIMS[what]
    job = cluster.submit_held(*FAIL)
    victim = min(filter(is_victim, cluster.processes(node)), key=age)
    os.kill(victim.outer_pid, signal.SIGKILL)
    cluster.wait_until_clean()
    assert cluster.scoop_hpc("wait", job).returncode not in (0, 2)
    assert cluster.status(job)["state"] == "FAILED"
    lines = [line for line in cluster.output().splitlines() if line.startswith("scoop-hpc: error: ")]
    assert len(lines) == 1, cluster.output()
    (line,) = lines
    assert what in line
    assert node in line


def test_a_run_outlives_the_srun_that_brought_its_agents(cluster: ClusterUnderTest) -> None:
    job = cluster.submit_held(*FAIL)
    sruns = [process.outer_pid for process in cluster.processes("node001") if process.title == "srun"]
    for number in (signal.SIGSTOP, signal.SIGKILL):  # srun is two processes: one that outlives the other ends the step
        for pid in sruns:
            signal_if_there(pid, number)
    cluster.wait_until(lambda: all(each.title != "srun" for each in cluster.processes("node001")), 60, "srun is gone")
    assert cluster.status(job)["state"] == "RUNNING"
    agent = min(filter(VICTIMS["agent"][0], cluster.processes("node003")), key=age)
    os.kill(agent.outer_pid, signal.SIGKILL)
    cluster.wait_until_clean()
    assert cluster.scoop_hpc("wait", job).returncode == 1
    lines = [line for line in cluster.output().splitlines() if line.startswith("scoop-hpc: error: ")]
    assert len(lines) == 1, cluster.output()
    assert "srun (pid " in lines[0]


def test_workers_that_are_killed_on_several_nodes_cost_no_result(cluster: ClusterUnderTest) -> None:
    job = cluster.scoop_hpc(*SUBMIT, "--parsable", "--output=job.out", str(cluster.write(NESTED))).stdout.strip()
    nodes = ("node003", "node002", "node003", "node001")
    for node in nodes:
        cluster.kill_a_worker(node)
    (cluster.directory / "go").touch()
    assert cluster.scoop_hpc("wait", job).returncode == 0
    assert cluster.status(job)["state"] == "COMPLETED"
    lines = cluster.output().splitlines()
    assert "sum True" in lines
    died = [line for line in lines if line.startswith("scoop-hpc: warning: worker ")]
    assert [line.partition(" on ")[2].partition(" died: ")[0] for line in died] == list(nodes)
    assert all(line.endswith("; another takes its place") for line in died)
    cluster.wait_until_clean()
