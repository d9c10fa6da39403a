"""Jobs on a real Grid Engine, as on Slurm: the same commands, no ssh, and nothing is left on any node."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from minicluster.namespaces import Process
from minicluster.state import HEAD
from under_test import FAIL, HOLD, NESTED, ROOT, ClusterUnderTest, age

EIGHT = ("submit", "--nodes", "4", "--workers-per-node", "2", "--walltime", "10")
RENDERED = ROOT / "tests" / "data" / "render" / "sge"
ELSEWHERE = {"-pe mpi4": "-pe mpi", "-q short": "-q all.q", "-P physics": "-m n", "-hold_jid 17,18": "-m n"}

WHERE = """
import os, socket, time
from collections import Counter
from scoop_hpc import futures

def where(i):
    time.sleep(0.2)
    return socket.gethostname(), os.getpid()

if __name__ == "__main__":
    counts = Counter(host for host, _ in set(futures.map(where, range(48), chunksize=1)))
    print(*(f"{host}:{counts[host]}" for host in sorted(counts)))
"""
EXIT = """
import os, sys

if __name__ == "__main__":
    print("element", os.environ.get("SCOOP_HPC_JOB_ARRAY_INDEX"))
    sys.exit(int(sys.argv[1]))
"""
SECRETS = """
import glob, os, pathlib
from scoop_hpc import futures

def look(i):
    seen = [pathlib.Path(path).read_bytes() for path in glob.glob("/proc/[0-9]*/cmdline")]
    return [text for text in seen if b"curve" in text.lower() or b"SCOOP_HPC_KEYS" in text]

if __name__ == "__main__":
    assert not any(futures.map(look, range(32), chunksize=1))
    state = pathlib.Path(os.environ["SCOOP_HPC_STATE"], "environments")
    print(list(state.iterdir()), oct(state.stat().st_mode & 0o777))
"""


def run(grid: ClusterUnderTest, *words: str, program: str = WHERE) -> str:
    """Run a program as a job to its end; return the last line that it printed."""
    done = grid.scoop_hpc(*words, "--wait", str(grid.write(program)))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


def submit(grid: ClusterUnderTest, *words: str) -> str:
    """Submit what *words* say; return the job's id."""
    done = grid.scoop_hpc(*words)
    assert done.returncode == 0, done.stderr
    match = re.search(r"Submitted job (\d+) to sge", done.stdout)
    assert match is not None, done.stdout
    return match[1]


def submit_held(grid: ClusterUnderTest, *words: str) -> str:
    """Submit a job that does not end; return its id once every node works on it."""
    job = submit(grid, *(words or EIGHT), "--output=job.out", str(grid.write(HOLD)))
    grid.wait_until_held()
    return job


def test_the_command_that_runs_on_slurm_runs_on_grid_engine(grid: ClusterUnderTest) -> None:
    assert run(grid, *EIGHT) == " ".join(f"{node}:2" for node in grid.nodes)
    grid.wait_until_clean()


def test_what_is_before_the_output_that_is_appended_is_not_the_job_s(grid: ClusterUnderTest) -> None:
    (grid.directory / "fixed.out").write_text("the former run's\n")
    program = str(grid.write("if __name__ == '__main__':\n    print('own')\n"))
    done = grid.scoop_hpc("submit", "--workers", "1", "--output", "fixed.out", "--wait", program)
    assert (done.returncode, done.stdout) == (0, "own\n"), done.stderr
    assert (grid.directory / "fixed.out").read_text() == "the former run's\nown\n"


def test_uneven_slots_have_a_worker_each(grid: ClusterUnderTest) -> None:
    printed = run(grid, "submit", "--workers", "7")
    counts = [int(word.partition(":")[2]) for word in printed.split()]
    assert (sum(counts), len(counts), set(counts)) == (7, 4, {1, 2})
    grid.wait_until_clean()


def test_a_worker_of_two_cpus_takes_two_slots(grid: ClusterUnderTest) -> None:
    printed = run(grid, "submit", "--nodes", "4", "--workers-per-node", "1", "--cpus-per-worker", "2")
    assert printed == " ".join(f"{node}:1" for node in grid.nodes)


def test_one_slot_is_a_job_without_a_parallel_environment(grid: ClusterUnderTest) -> None:
    host, _, workers = run(grid, "submit", "--workers", "1").partition(":")
    assert host in grid.nodes
    assert workers == "1"


def test_a_run_takes_those_hosts_of_the_job_that_are_named(grid: ClusterUnderTest) -> None:
    """Also where the node of the job script is not among them, or not the first."""
    run = f"SCOOP_HPC_STATE={grid.directory} {sys.executable} -m scoop_hpc run"
    script = f"""#!/bin/bash
cd {grid.directory}
first=$(head -n 1 "$PE_HOSTFILE" | cut -d ' ' -f 1)
other=$(tail -n 1 "$PE_HOSTFILE" | cut -d ' ' -f 1)
echo "$other:2"
{run} --hosts "$other:2" {grid.write(WHERE)}
echo $(printf '%s:1\\n' "$first" "$other" | sort)
{run} --hosts "$other:1,localhost:1" {grid.write(WHERE)}
"""
    job = str(grid.write(script, "job.sh"))
    argv = ["qsub", "-S", "/bin/bash", "-pe", "mpi", "8", "-sync", "y", "-j", "y", "-o", f"{grid.directory}/out", job]
    done = grid.run(HEAD, argv)
    printed = (grid.directory / "out").read_text()
    assert done.returncode == 0, done.stdout + done.stderr + printed
    wanted, found, wanted_too, found_too = printed.splitlines()
    assert (found, found_too) == (wanted, wanted_too)
    grid.wait_until_clean()


def test_no_secret_is_to_be_seen_and_no_environment_stays(grid: ClusterUnderTest) -> None:
    assert run(grid, *EIGHT, program=SECRETS) == "[] 0o700"


@pytest.mark.parametrize("status", [99, 100])  # sge_conf(5), FORBID_RESCHEDULE and FORBID_APPERROR
def test_the_programs_exit_status_is_the_jobs_whatever_grid_engine_would_do(
    grid: ClusterUnderTest, status: int
) -> None:
    job = submit(grid, "submit", "--workers", "2", str(grid.write(EXIT)), str(status))
    assert grid.scoop_hpc("wait", job).returncode == status
    answer = grid.status(job)
    assert (answer["state"], answer["exit_status"]) == ("FAILED", status)
    assert job not in grid.check(HEAD, ["qstat"])  # neither waits again nor is in an error state


def test_an_array_is_a_job_for_each_number(grid: ClusterUnderTest) -> None:
    job = submit(grid, "submit", "--workers", "2", "--array", "1-5:2%2", str(grid.write(EXIT)), "4")
    assert grid.scoop_hpc("wait", job).returncode == 4
    for index in (1, 3, 5):
        answer = grid.status(f"{job}.{index}")
        assert (answer["state"], answer["exit_status"]) == ("FAILED", 4)
        assert grid.scoop_hpc("logs", f"{job}.{index}").stdout == f"element {index}\n"


def test_a_job_begins_after_another_has_ended(grid: ClusterUnderTest) -> None:
    first = submit_held(grid)
    second = submit(grid, "submit", "--workers", "1", "--after-any", first, str(grid.write(EXIT, "exit.py")), "0")
    explained = grid.scoop_hpc("explain", second).stdout
    assert "it waits for another job to end" in explained
    assert first in explained
    assert grid.scoop_hpc("cancel", first).returncode == 0
    assert grid.scoop_hpc("wait", second).returncode == 0


def test_cancel(grid: ClusterUnderTest) -> None:
    job = submit_held(grid)
    assert grid.status(job)["state"] == "RUNNING"
    assert grid.scoop_hpc("cancel", job).returncode == 0
    grid.wait_until_clean()
    assert grid.scoop_hpc("wait", job).returncode != 0
    assert grid.status(job)["state"] == "CANCELLED"


@pytest.mark.parametrize("script", sorted(RENDERED.glob("*.sh")), ids=lambda path: str(path.stem))
def test_qsub_takes_every_script_that_is_rendered(grid: ClusterUnderTest, script: Path) -> None:
    text = script.read_text()
    for elsewhere, here in ELSEWHERE.items():  # names of another site
        text = text.replace(elsewhere, here)
    done = grid.run(HEAD, ["qsub", "-w", "n", "-h", "-terse", str(grid.write(text, "job.sh"))])
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"\d+(\.\d+-\d+:\d+)?\n", done.stdout)


def test_what_grid_engine_thinks_of_a_job_and_no_job_is_submitted(grid: ClusterUnderTest) -> None:
    program = str(grid.write(EXIT))
    done = grid.scoop_hpc("submit", "--dry-run", "--workers", "4", program, "0")
    assert done.returncode == 0, done.stderr
    assert "#$ -pe mpi 4" in done.stdout
    assert "sge would take the job: " in done.stderr
    done = grid.scoop_hpc("submit", "--dry-run", "--workers", "4000", program, "0")
    assert "no suitable queues" in done.stderr or "would wait" in done.stderr, done.stderr
    assert grid.check(HEAD, ["qstat", "-u", "*"]) == ""


def test_a_job_that_can_never_begin_is_explained_and_cancelled(grid: ClusterUnderTest) -> None:
    job = submit(grid, "submit", "--workers", "4000", str(grid.write(WHERE)))
    grid.wait_until(lambda: "never begin" in grid.scoop_hpc("explain", job).stdout, 60, "it is explained")
    explained = grid.scoop_hpc("explain", job).stdout
    assert "the parallel environment 'mpi' has 16 slots in all, fewer than it asks for" in explained
    assert "fewer --workers" in explained
    assert grid.scoop_hpc("cancel", job).returncode == 0
    answer = grid.status(job)
    assert (answer["state"], answer["reason"]) == ("CANCELLED", "cancelled before it began")


def test_a_job_in_an_error_state_is_explained_and_cancelled(grid: ClusterUnderTest) -> None:
    first = submit_held(grid)
    there = grid.directory / "there"
    there.mkdir()
    words = ("--workers", "1", "--after-any", first, "--output", "there/out")
    job = submit(grid, "submit", *words, str(grid.write(EXIT, "exit.py")), "0")
    there.rmdir()
    assert grid.scoop_hpc("cancel", first).returncode == 0
    assert grid.scoop_hpc("wait", job).returncode == 1
    explained = grid.scoop_hpc("explain", job).stdout
    assert "Grid Engine could not start it: can't open output file" in explained
    assert f"qmod -cj {job}" in explained
    assert grid.scoop_hpc("cancel", job).stdout == f"Cancelled job {job}\n"
    grid.wait_until(lambda: job not in grid.check(HEAD, ["qstat"]), 60, "it is out of the queue")


def test_the_walltime_is_over(grid: ClusterUnderTest) -> None:
    # whether its tasks have begun by then or not
    job = submit(grid, *EIGHT[:-1], "12s", "--output=job.out", str(grid.write(HOLD)))
    assert grid.scoop_hpc("wait", job).returncode == 137
    answer = grid.status(job)
    assert answer["state"] == "TIMEOUT"
    assert "h_rt" in str(answer["reason"])
    grid.wait_until_clean()


def test_a_program_is_warned_before_the_walltime_is_over(grid: ClusterUnderTest) -> None:
    program = grid.write(
        "import signal, sys, time\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(5))\n"
        "    time.sleep(300)\n"
    )
    job = submit(grid, *EIGHT[:-1], "90s", "--signal", "60s", str(program))
    assert grid.scoop_hpc("wait", job).returncode == 5
    grid.wait_until_clean()


def test_a_running_job_is_put_back_into_the_queue(grid: ClusterUnderTest) -> None:
    """It begins again on another node: on its own, Grid Engine 8.1.9 may never begin it."""
    program = grid.write(
        "import os, pathlib, time\n"
        "if __name__ == '__main__':\n"
        "    pathlib.Path('begun').touch()\n"
        "    time.sleep(0 if os.environ['RESTARTED'] == '1' else 300)\n"
    )
    job = submit(grid, "submit", "--workers", "1", "--requeue", str(program))
    grid.wait_until((grid.directory / "begun").exists, 60, "the job has begun")
    assert grid.scoop_hpc("requeue", job).returncode == 0
    assert grid.scoop_hpc("wait", job).returncode == 0
    assert grid.status(job)["state"] == "COMPLETED"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--workers", "4", "--queue", "nosuch.q"), "--queue"),
        (("--workers", "1", "--queue", "nosuch.q"), "(change --queue)"),
        (("--workers", "4", "--pe", "nosuch"), "the site has 'mpi', 'mpi2', 'mpi_fill', 'smp'"),
        (("--nodes", "4", "--workers-per-node", "3"), "give --workers 12 without --nodes"),
        (("--workers", "4", "--after", "1"), "use --after-any"),
        (("--workers", "1", "--account", "nosuch"), "(change --account)"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(grid: ClusterUnderTest, words: tuple[str, ...], complaint: str) -> None:
    done = grid.scoop_hpc("submit", *words, str(grid.write(WHERE)))
    assert done.returncode == 2
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def is_driver(process: Process) -> bool:
    """Return whether *process* is a run's driver."""
    return process.argv[1:4] == ("-m", "scoop_hpc", "run")


VICTIMS: dict[str, tuple[Callable[[Process], bool], int, str]] = {
    # what: (which process it is, the number of the node whose one is killed, the end of the job)
    # what else a run consists of is killed on Slurm: of these Grid Engine knows
    "agent": (
        lambda process: "scoop_hpc.cli.agent" in " ".join(process.argv[:3]) and "scoop-" not in process.title,
        2,
        "FAILED",
    ),
    "qrsh": (lambda process: process.title == "qrsh", 0, "FAILED"),
    # the job script is the driver, and its death by SIGKILL is what qdel's looks like
    "driver": (is_driver, 0, "CANCELLED"),
}


@pytest.mark.parametrize("what", VICTIMS)
def test_what_is_killed_is_named_and_nothing_is_left(grid: ClusterUnderTest, what: str) -> None:
    is_victim, number, state = VICTIMS[what]
    job = submit_held(grid, *EIGHT, *FAIL)
    # the order of an allocation's nodes is Grid Engine's
    (first,) = [node for node in grid.nodes if any(map(is_driver, grid.processes(node)))]
    node = first if number == 0 else next(node for node in grid.nodes if node != first)
    victim = min(filter(is_victim, grid.processes(node)), key=age)
    os.kill(victim.outer_pid, signal.SIGKILL)
    grid.wait_until_clean()
    assert grid.scoop_hpc("wait", job).returncode not in (0, 2)
    assert grid.status(job)["state"] == state
    output = grid.output()
    lines = [line for line in output.splitlines() if "scoop-hpc: error: " in line]
    assert len(lines) == 1, output
    assert what in lines[0]
    assert node in lines[0]


def test_workers_that_are_killed_on_several_nodes_cost_no_result(grid: ClusterUnderTest) -> None:
    job = submit(grid, *EIGHT, "--output=job.out", str(grid.write(NESTED)))
    for node in grid.nodes:
        grid.kill_a_worker(node)
    (grid.directory / "go").touch()
    assert grid.scoop_hpc("wait", job).returncode == 0
    lines = grid.output().splitlines()
    assert "sum True" in lines
    died = [line for line in lines if line.startswith("scoop-hpc: warning: worker ")]
    assert [line.partition(" on ")[2].partition(" died: ")[0] for line in died] == list(grid.nodes)
    grid.wait_until_clean()


def test_a_lost_node_ends_the_job_and_is_named(grid: ClusterUnderTest) -> None:
    job = submit_held(grid, *EIGHT, *FAIL, "--grace", "3")
    lost = next(node for node in grid.nodes if not any(map(is_driver, grid.processes(node))))
    grid.machine.cut(lost)  # as it is to the others; a node that is booted again takes Grid Engine a minute
    try:
        assert grid.scoop_hpc("wait", job).returncode == 1
        answer = grid.status(job)
        assert answer["state"] == "FAILED"
        assert lost in str(answer["reason"])
        # but for the lost node's agent, which looks for the driver for as long as --patience says
        grid.wait_until(
            lambda: all(host == lost and "scoop-" not in each.title for host, each in grid.all_processes()),
            60,
            "nothing runs any more, on the lost node neither",
        )
    finally:
        grid.machine.heal(lost)
    grid.wait_until_clean()  # Grid Engine removes the job's TMPDIR there


def test_waiting_outlives_a_qmaster_that_is_away(grid: ClusterUnderTest) -> None:
    job = submit_held(grid)
    argv = [sys.executable, "-m", "scoop_hpc", "wait", job]
    with grid.started(HEAD, argv) as waiting:
        (qmaster,) = grid.check(HEAD, ["pgrep", "-x", "sge_qmaster"]).split()
        grid.check(HEAD, ["kill", "-9", qmaster])
        try:
            refused = grid.scoop_hpc("status", job)
            assert refused.returncode == 2
            assert "try again later" in refused.stderr
        finally:
            grid.check(HEAD, ["sge_qmaster"])
        grid.wait_until(lambda: grid.scoop_hpc("status", job).returncode == 0, 60, "the qmaster is back")
        assert grid.status(job)["state"] == "RUNNING"
        assert grid.scoop_hpc("cancel", job).returncode == 0
        assert waiting.finish().returncode != 0
    assert grid.status(job)["state"] == "CANCELLED"
    grid.wait_until_clean()
