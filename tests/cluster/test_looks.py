"""Jobs that are looked at from the login node, while they run and when they have ended; no port is opened for that."""

from __future__ import annotations

import json
from typing import Any

from minicluster.state import HEAD
from under_test import SUBMIT_TO, ClusterUnderTest

# a task on every worker, until there is a file `go`
PROGRAM = """
import os, pathlib, socket, time
from scoop_hpc import futures

def simulate(i):
    pathlib.Path(f"held.{i}.{socket.gethostname()}").touch()
    while not os.path.exists("go"):
        time.sleep(0.05)
    if i % 4 == 0:
        raise ValueError(f"{i} does not converge")

if __name__ == "__main__":
    calls = [futures.submit(simulate, i) for i in range(8)]
    print(sum(call.exception() is not None for call in calls))
"""


def look(cluster: ClusterUnderTest, job: str) -> dict[str, Any]:
    done = cluster.scoop_hpc("top", "--json", job)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def submit(cluster: ClusterUnderTest) -> str:
    """Submit PROGRAM; return the job's id once every worker has a task."""
    words = SUBMIT_TO[cluster.machine.state.settings.scheduler]
    done = cluster.scoop_hpc(*words, "--parsable", "--output=job.out", str(cluster.write(PROGRAM)))
    assert done.returncode == 0, done.stderr
    cluster.wait_until(lambda: len(list(cluster.directory.glob("held.*"))) == 8, 60, "every worker has a task")
    return done.stdout.strip()


def check(cluster: ClusterUnderTest) -> None:
    """Look at a job from its middle to its end."""
    job = submit(cluster)
    seen = look(cluster, job)
    assert (seen["state"], seen["job"]) == ("running", job)
    assert {(node["name"], node["state"], node["workers"]) for node in seen["nodes"]} == {
        (node, "alive", 2) for node in cluster.nodes
    }
    workers = {worker["name"]: worker for worker in seen["workers"]}
    origin = workers.pop("0.0")
    assert (origin["state"], origin["node"]) == ("waiting", seen["nodes"][0]["name"])
    assert [(worker["state"], worker["task"]) for worker in workers.values()] == [("busy", "simulate")] * 8
    assert 0 < seen["walltime_left_s"] <= 600
    assert (seen["totals"]["busy_workers"], seen["totals"]["nodes"]) == (8, 4)
    pids = {(worker["node"], worker["pid"]) for worker in seen["workers"]}
    assert len(pids) == 9

    plain = cluster.scoop_hpc("top", job)
    busy = [line for line in plain.stdout.splitlines() if " busy " in line and line.endswith(" simulate")]
    assert (plain.returncode, len(busy)) == (0, 8), plain.stdout
    assert f"job {job}: program.py running" in plain.stdout

    (cluster.directory / "go").touch()
    cluster.wait_until(lambda: look(cluster, job)["state"] == "ended", 60, "the run has ended")
    seen = look(cluster, job)
    assert (seen["status"], seen["totals"]["done"], seen["totals"]["running"]) == (0, 8, 0)
    assert (seen["totals"]["failed"], len(seen["failures"])) == (2, 2)
    assert [(each["name"], each["count"], each["failed"]) for each in seen["functions"]] == [("simulate", 8, 2)]
    assert "2" in cluster.output().splitlines()
    cluster.wait_until_clean()


def test_a_job_of_slurm_is_seen(cluster: ClusterUnderTest) -> None:
    check(cluster)


def test_a_job_of_grid_engine_is_seen(grid: ClusterUnderTest) -> None:
    check(grid)


def test_a_job_whose_processes_were_all_killed_is_seen_as_it_was(cluster: ClusterUnderTest) -> None:
    job = submit(cluster)
    look(cluster, job)
    cluster.check(HEAD, ["scancel", "--signal=KILL", "--full", job])
    cluster.wait_until(lambda: look(cluster, job)["state"] == "ended", 60, "the job has ended")
    seen = look(cluster, job)
    assert seen["status"] != 0
    assert seen["reason"]
    assert (len(seen["nodes"]), len(seen["workers"])) == (4, 9)
