"""What a job can ask of a real Slurm, and what can be asked about it: arrays, dependencies, warnings, reasons."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from minicluster.state import HEAD
from under_test import ROOT, ClusterUnderTest

RENDERED = ROOT / "tests" / "data" / "render" / "slurm"
# what this cluster has not got, so that the controller refuses it, with 1; what sbatch cannot read, it refuses with 255
LACKING = {"gpus", "mail", "memory", "memory-per-cpu", "success", "uneven"}

ELEMENT = """
import os, socket, sys
from scoop_hpc import futures

if __name__ == "__main__":
    index = int(os.environ["SCOOP_HPC_JOB_ARRAY_INDEX"])
    assert index == int(os.environ["SLURM_ARRAY_TASK_ID"])
    print(index, sum(futures.map(abs, range(100))))
    sys.exit(3 if index == 4 else 0)
"""
EXIT = "import sys\nif __name__ == '__main__':\n    sys.exit(int(sys.argv[1]))\n"
SAVE = """
import os, signal, sys, time

def save(number, frame):
    os.write(1, b"saved\\n")  # print() may be what is interrupted
    sys.exit(0)

if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, save)
    print("on", flush=True)
    time.sleep(600)
"""


def submit(cluster: ClusterUnderTest, *words: str) -> str:
    """Submit a job; return its id."""
    done = cluster.scoop_hpc("submit", "--parsable", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def explanation(cluster: ClusterUnderTest, job: str) -> str:
    done = cluster.scoop_hpc("explain", job)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", sorted(RENDERED.glob("*.sh")), ids=lambda path: str(path.stem))
def test_sbatch_takes_every_script_that_is_rendered(cluster: ClusterUnderTest, script: Path) -> None:
    # by its own number, which is the next one, no job can depend on itself
    text = script.read_text().replace("afterany:17:18", "afterany:9000017:9000018")
    done = cluster.run(HEAD, ["sbatch", "--test-only", str(cluster.write(text, "job.sh"))])
    assert done.returncode == (1 if script.stem in LACKING else 0), done.stderr
    assert "unrecognized" not in done.stderr


def test_jobs_of_an_array_are_run_and_told_one_by_one(cluster: ClusterUnderTest) -> None:
    program = str(cluster.write(ELEMENT))
    job = submit(cluster, "--workers-per-node", "1", "--array", "1-7:3", "--output", "out.{array_index}", program)
    done = cluster.scoop_hpc("wait", job)
    assert (done.returncode, "1 FAILED" in done.stderr) == (3, True), done.stderr
    answer = cluster.status(job)
    assert (answer["state"], answer["reason"]) == ("FAILED", "2 COMPLETED, 1 FAILED")
    elements = answer["elements"]
    assert isinstance(elements, list)
    assert [(each["job_id"], each["state"], each["exit_status"]) for each in elements] == [
        (f"{job}_1", "COMPLETED", 0),
        (f"{job}_4", "FAILED", 3),
        (f"{job}_7", "COMPLETED", 0),
    ]
    assert cluster.scoop_hpc("logs", f"{job}_7").stdout == "7 4950\n"
    assert cluster.scoop_hpc("wait", f"{job}_4").returncode == 3
    cluster.wait_until_clean()


def test_one_job_of_an_array_is_cancelled_and_the_others_go_on(cluster: ClusterUnderTest) -> None:
    hold = str(cluster.write("import time\nif __name__ == '__main__':\n    time.sleep(600)\n"))
    job = submit(cluster, "--workers-per-node", "1", "--array", "0-2%2", hold)
    cluster.wait_until(lambda: cluster.status(f"{job}_1")["state"] == "RUNNING", 60, "the second runs")
    assert cluster.scoop_hpc("cancel", f"{job}_1").stdout == f"Cancelled job {job}_1\n"
    cluster.wait_until(lambda: cluster.status(f"{job}_1")["state"] == "CANCELLED", 60, "the second is cancelled")
    cluster.wait_until(lambda: cluster.status(f"{job}_2")["state"] == "RUNNING", 60, "the third has its place")
    assert cluster.status(f"{job}_0")["state"] == "RUNNING"
    assert cluster.scoop_hpc("cancel", job).returncode == 0
    cluster.wait_until(lambda: cluster.status(job)["reason"] == "3 CANCELLED", 60, "all are cancelled")


def test_a_job_begins_after_those_that_it_depends_on(cluster: ClusterUnderTest) -> None:
    program = str(cluster.write(EXIT))
    first = submit(cluster, "--workers-per-node", "1", "--directive=--hold", program, "3")
    after_any = submit(cluster, "--workers-per-node", "1", "--after-any", first, program, "0")
    after_failure = submit(cluster, "--workers-per-node", "1", "--after-failure", first, program, "4")
    never = submit(cluster, "--workers-per-node", "1", "--after", first, program, "5")
    cluster.check(HEAD, ["scontrol", "release", first])
    assert cluster.scoop_hpc("wait", after_any, after_failure).returncode == 4
    cluster.wait_until(lambda: cluster.status(never)["reason"] == "DependencyNeverSatisfied", 60, "Slurm has seen it")
    assert "--after" in explanation(cluster, never)
    refused = cluster.scoop_hpc("submit", "--workers-per-node", "1", "--after", first, program, "0")
    assert (refused.returncode, f"--after {first}: that job is FAILED" in refused.stderr) == (2, True)


def test_a_warning_reaches_the_program_before_the_walltime_is_over(cluster: ClusterUnderTest) -> None:
    # Slurm looks every 30 s, and warns up to 30 s too early [src/slurmctld/job_mgr.c]: not before the program listens
    program = str(cluster.write(SAVE))
    job = submit(cluster, "--workers-per-node", "1", "--walltime", "2", "--signal", "75s", program)
    assert cluster.scoop_hpc("wait", job, timeout=110).returncode == 0
    assert cluster.scoop_hpc("logs", job).stdout == "on\nsaved\n"


def test_the_output_that_slurm_s_patterns_name_is_found(cluster: ClusterUnderTest) -> None:
    program = str(cluster.write("if __name__ == '__main__':\n    print('own')\n"))
    one = submit(cluster, "--workers-per-node", "1", "--name", "pi", "--output", "%x-%j-100%%.%u.out", program)
    array = submit(cluster, "--workers-per-node", "1", "--array", "3-4", "--output", "%A_%a.out", program)
    assert cluster.scoop_hpc("wait", one, array).returncode == 0
    for job in (one, f"{array}_3", f"{array}_4"):
        assert cluster.scoop_hpc("logs", job).stdout == "own\n"
    assert len(list(cluster.directory.glob(f"pi-{one}-100%.*.out"))) == 1
    assert (cluster.directory / f"{array}_4.out").exists()


@pytest.mark.parametrize("mode", [(), ("--directive=--open-mode=append",)], ids=["truncated", "appended"])
def test_what_was_in_the_output_before_the_job_is_not_its_own(cluster: ClusterUnderTest, mode: tuple[str, ...]) -> None:
    program = str(cluster.write("if __name__ == '__main__':\n    print('own')\n"))
    former = "the former run's, and longer than this one's\n"
    (cluster.directory / "fixed.out").write_text(former)
    options = ("--workers-per-node", "1", "--output", "fixed.out", *mode)
    waiting = submit(cluster, *options, "--begin", "+2h", program)
    assert cluster.scoop_hpc("logs", waiting).stdout == ""
    done = cluster.scoop_hpc("submit", "--wait", *options, program)
    assert (done.returncode, done.stdout) == (0, "own\n"), done.stderr
    assert (cluster.directory / "fixed.out").read_text() == (former if mode else "") + "own\n"
    cluster.scoop_hpc("cancel", waiting)


def test_why_a_job_waits_is_explained(cluster: ClusterUnderTest) -> None:
    program = str(cluster.write(EXIT))
    later = submit(cluster, "--workers-per-node", "1", "--begin", "+2h", program, "0")
    cluster.wait_until(lambda: cluster.status(later)["reason"] == "BeginTime", 60, "Slurm has a reason")
    first, *lines = explanation(cluster, later).splitlines()
    assert first == f"Job {later} is PENDING: BeginTime"
    assert "--begin" in lines[0]
    assert re.search(r"begin at \d{4}-\d\d-\d\dT", lines[1])


def test_a_job_that_has_ended_is_run_again(cluster: ClusterUnderTest) -> None:
    program = str(cluster.write(EXIT))
    job = submit(cluster, "--workers-per-node", "1", program, "3")
    assert cluster.scoop_hpc("wait", job).returncode == 3
    done = cluster.scoop_hpc("requeue", job)
    match = re.match(rf"Submitted job (\d+), as {job} was", done.stdout)
    assert match is not None, done.stdout + done.stderr
    assert cluster.scoop_hpc("wait", match[1]).returncode == 3
    history = json.loads(cluster.scoop_hpc("history", "--json").stdout)
    assert [(each["job_id"], each["exit_status"]) for each in history] == [(job, 3), (match[1], 3)]


def test_a_running_job_goes_back_into_the_queue_if_it_was_submitted_so(cluster: ClusterUnderTest) -> None:
    hold = str(cluster.write("import time\nif __name__ == '__main__':\n    time.sleep(600)\n"))
    stays = submit(cluster, "--workers-per-node", "1", hold)
    again = submit(cluster, "--workers-per-node", "1", "--requeue", hold)
    for job in (stays, again):
        cluster.wait_until(lambda job=job: cluster.status(job)["state"] == "RUNNING", 60, "it runs")  # type: ignore[misc]
    done = cluster.scoop_hpc("requeue", stays)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert cluster.scoop_hpc("requeue", again).stdout == f"Requeued job {again}\n"
    cluster.wait_until(lambda: cluster.status(again)["state"] == "PENDING", 60, "it waits")


def test_what_slurm_thinks_of_a_job_and_no_job_is_submitted(cluster: ClusterUnderTest) -> None:
    program = str(cluster.write(EXIT))
    done = cluster.scoop_hpc("submit", "--dry-run", "--nodes", "2", "--workers-per-node", "1", program, "0")
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --nodes=2" in done.stdout
    assert re.search(r"slurm would take the job: Job \d+ to start at", done.stderr)
    done = cluster.scoop_hpc("submit", "--dry-run", "--nodes", "40", program, "0")
    assert (done.returncode, done.stderr.splitlines()[-1].count("--nodes")) == (2, 1), done.stderr
    assert cluster.check(HEAD, ["squeue", "--noheader"]) == ""


def test_a_template_s_epilogue_comes_after_the_run_and_keeps_its_exit_status(cluster: ClusterUnderTest) -> None:
    text = '{% extends "scoop_hpc/slurm.sh.j2" %}{% block epilogue %}\necho "ended with $status"\n{% endblock %}'
    template = str(cluster.write(text, "mine.sh.j2"))
    program = str(cluster.write(EXIT))
    words = ("--workers-per-node", "1", "--template", template, "--output", "out", program, "3")
    assert cluster.scoop_hpc("submit", "--wait", *words).returncode == 3
    assert (cluster.directory / "out").read_text() == "ended with 3\n"


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (("--queue", "nosuch"), "--queue"),
        (("--nodes", "40"), "--nodes"),
        (("--walltime", "99d"), "--walltime"),
        (("--workers-per-node", "1", "--memory", "9T"), "--memory"),
        (("--workers-per-node", "1", "--constraint", "nosuch"), "--constraint"),
        (("--workers-per-node", "1", "--gpus-per-node", "1"), "--gpus-per-node"),
        (("--workers-per-node", "1", "--reservation", "nosuch"), "--reservation"),
        (("--workers-per-node", "1", "--license", "nosuch:1"), "--license"),
        (("--workers-per-node", "1", "--after", "99999", "--pe", "mpi"), "--pe"),
        (("--workers-per-node", "1", "--after", "99999"), "'99999'"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_flag(
    cluster: ClusterUnderTest, words: tuple[str, ...], flag: str
) -> None:
    done = cluster.scoop_hpc("submit", *words, str(cluster.write(EXIT)), "0")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stdout + done.stderr
    assert flag in done.stderr


def test_a_python_that_the_nodes_lack_is_named_in_the_output(cluster: ClusterUnderTest) -> None:
    python = cluster.directory / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (python.parent / "activate").touch()
    job = submit(
        cluster, "--workers-per-node", "1", "--begin", "+1h", "--venv", str(python.parents[1]),
        str(cluster.write(EXIT)), "0",
    )  # fmt: skip
    python.unlink()
    cluster.check(HEAD, ["scontrol", "update", f"jobid={job}", "starttime=now"])
    assert cluster.scoop_hpc("wait", job).returncode == 127
    (line,) = cluster.scoop_hpc("logs", job).stdout.splitlines()
    assert line.endswith("name one there by --venv or --conda")
    assert f"no Python {python}" in line
