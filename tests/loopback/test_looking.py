"""Runs that are looked at by `scoop-hpc top`: while they go on, after they have ended, and where nobody may look."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import MEET, Runs, members, until, without_warnings
from terminal import Terminal

PROGRAM = (
    MEET
    + """
import os, time
from scoop_hpc import futures

def simulate(number):
    meet(number, 2)
    while not os.path.exists("go"):
        time.sleep(0.01)
    return number

if __name__ == "__main__":
    print(sum(futures.map(simulate, range(2), chunksize=1)))
"""
)


@pytest.fixture
def going(runs: Runs) -> subprocess.Popen[str]:
    """Start a run whose two workers execute a task each, until there is a file ``go``."""
    runs.write(PROGRAM)
    process = runs.start("-n", "2", "program.py")
    until(lambda: len(list(runs.directory.glob("met-*"))) == 2)
    return process


def end(runs: Runs, process: subprocess.Popen[str]) -> tuple[str, str]:
    """Let the run end; return what it has printed."""
    (runs.directory / "go").touch()
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return stdout, without_warnings(stderr)


def top(runs: Runs, *words: str) -> subprocess.CompletedProcess[str]:
    return runs.run(*words, command=("top",))


def look(runs: Runs, *words: str) -> dict[str, Any]:
    done = top(runs, "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def file_of(runs: Runs) -> Path:
    (path,) = (runs.directory / ".state" / "runs").glob("*/look.json")
    return path


def time_of_look(runs: Runs) -> float:
    seen: float = json.loads(file_of(runs).read_bytes())["time"]
    return seen


def test_the_last_look_has_all_that_the_program_has_waited_for(runs: Runs) -> None:
    runs.write(
        """
from scoop_hpc import futures

if __name__ == "__main__":
    print(sum(futures.map(abs, range(50), progress="simulate")))
"""
    )
    assert runs.run("-n", "2", "--progress", "log", "program.py").returncode == 0  # over before the first look at it
    seen = look(runs)
    assert [(each["label"], each["total"], each["done"], each["left_s"]) for each in seen["waits"]] == [
        ("simulate", 50, 50, None)
    ]
    assert (seen["totals"]["queued"], [node["queued"] for node in seen["nodes"]]) == (0, [0])


def test_a_run_is_seen_while_it_goes_on_and_when_it_has_ended(runs: Runs, going: subprocess.Popen[str]) -> None:
    seen = look(runs)
    assert (seen["state"], seen["program"], seen["pid"], seen["job"]) == ("running", "program.py", going.pid, None)
    assert [(node["state"], node["workers"]) for node in seen["nodes"]] == [("alive", 2)]
    workers = {worker["name"]: worker for worker in seen["workers"]}
    assert {name: (worker["state"], worker["task"]) for name, worker in workers.items()} == {
        "0.0": ("waiting", None), "0.1": ("busy", "simulate"), "0.2": ("busy", "simulate"),
    }  # fmt: skip
    assert all(worker["memory_bytes"] > 2**20 for worker in workers.values())
    assert seen["totals"]["busy_workers"] == 2
    until(lambda: all(worker["cpu_percent"] is not None for worker in look(runs)["workers"]))
    assert end(runs, going) == ("1\n", "")
    seen = look(runs)
    assert (seen["state"], seen["status"], seen["totals"]["done"], seen["totals"]["running"]) == ("ended", 0, 2, 0)


def test_how_long_a_task_runs_is_seen(runs: Runs, going: subprocess.Popen[str]) -> None:
    until(lambda: min(worker["since_s"] for worker in look(runs)["workers"] if worker["name"] != "0.0") > 1)


def test_a_viewer_that_is_killed_costs_the_run_nothing(runs: Runs, going: subprocess.Popen[str]) -> None:
    viewer = Terminal(runs, command="top")
    viewer.shows(lambda lines: any("simulate" in line for line in lines))
    before = time_of_look(runs)
    until(lambda: time_of_look(runs) > before)
    viewer.close()
    until(lambda: time.time() - time_of_look(runs) > 5)  # nobody asks: no look is written any more
    assert end(runs, going) == ("1\n", "")


@pytest.fixture
def terminal(runs: Runs, going: subprocess.Popen[str]) -> Iterator[Terminal]:
    """Show the run in a terminal."""
    terminal = Terminal(runs, command="top")
    terminal.shows(lambda lines: sum("busy" in line and "simulate" in line for line in lines) == 2)
    yield terminal
    terminal.close()


def test_keys_choose_what_is_seen(terminal: Terminal) -> None:
    lines = terminal.shows(lambda lines: lines[-1].startswith("workers 1-3 of 3"))
    assert lines[1] == "1 node, 2 of 2 workers busy"
    terminal.type(b"\t")
    terminal.shows(lambda lines: lines[-1].startswith("nodes 1-1 of 1"))
    terminal.type(b"\x1b/")
    terminal.type(b"nothing\r")
    terminal.shows(lambda lines: lines[-1].startswith("nodes 0-0 of 0 filter=nothing"))
    terminal.type(b"q")
    terminal.end()
    assert terminal.process.returncode == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_the_terminal_is_what_it_was_when_the_viewer_is_ended(terminal: Terminal, number: int, status: int) -> None:
    modes = terminal.modes()
    assert not modes & termios.ICANON
    terminal.process.send_signal(number)
    terminal.end()
    assert terminal.process.returncode == status
    assert terminal.modes() & termios.ICANON
    assert terminal.raw.count(b"\x1b[?1049h") == terminal.raw.count(b"\x1b[?1049l") == 1
    assert b"Traceback" not in terminal.raw


def test_the_end_is_seen_by_who_watches(runs: Runs, going: subprocess.Popen[str], terminal: Terminal) -> None:
    end(runs, going)
    terminal.shows(lambda lines: "ended" in lines[0] and "exit status 0" in lines[0])
    terminal.type(b"q")
    terminal.end()
    assert terminal.process.returncode == 0


def test_where_there_is_no_terminal_one_look_is_printed(runs: Runs, going: subprocess.Popen[str]) -> None:
    dumb = Terminal(runs, command="top", term="dumb")
    lines = dumb.end()
    assert (dumb.process.returncode, b"\x1b" in dumb.raw) == (0, False)
    dumb.close()
    done = top(runs)
    assert (done.returncode, done.stderr) == (0, "")
    for text in ("\n".join(lines), done.stdout):
        assert "1 node, 2 of 2 workers busy" in text
        assert sum(" busy " in line and line.endswith(" simulate") for line in text.splitlines()) == 2


def test_a_look_that_cannot_be_written_is_one_warning_and_the_run_goes_on(runs: Runs) -> None:
    runs.write(PROGRAM)
    (runs.directory / "job" / "look.json.new").mkdir(parents=True)
    process = runs.start("--record", "job/record.json", "-n", "2", "program.py")
    until(lambda: len(list(runs.directory.glob("met-*"))) == 2)
    os.utime(runs.directory / "job" / "look.wanted")
    _, stderr = end(runs, process)
    assert stderr == (
        "scoop-hpc: warning: cannot write 'job/look.json': Is a directory; the run goes on, and `scoop-hpc top` "
        "does not see it as it is\n"
    )


def test_a_run_goes_on_where_no_directory_for_it_can_be_made(runs: Runs) -> None:
    runs.environ["SCOOP_HPC_STATE"] = str(runs.directory / runs.write("", "file") / "state")
    runs.write("if __name__ == '__main__': print('done')")
    done = runs.run("program.py")
    assert (done.returncode, done.stdout, without_warnings(done.stderr)) == (0, "done\n", "")


def test_a_run_whose_driver_was_killed_is_seen_as_it_was(runs: Runs, going: subprocess.Popen[str]) -> None:
    look(runs)
    going.kill()
    going.wait()
    seen = look(runs)
    assert (seen["state"], seen["reason"]) == ("ended", f"the driver (pid {going.pid}) has died")
    assert seen["nodes"][0]["workers"] == 2


def test_a_driver_that_does_not_answer_is_told_of(runs: Runs, going: subprocess.Popen[str]) -> None:
    look(runs)
    run = members(going.pid)
    for pid in run:  # an agent would end a driver that is stopped alone
        os.kill(pid, signal.SIGSTOP)
    done = top(runs, "--json")
    for pid in run:
        os.kill(pid, signal.SIGCONT)
    assert (done.returncode, json.loads(done.stdout)["state"]) == (1, "running")
    assert f"the driver (pid {going.pid}) on " in done.stderr
    assert "has not answered for 10 s: this look is " in done.stderr


def test_without_a_run_there_is_one_line(runs: Runs) -> None:
    done = top(runs)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "scoop-hpc: error: no run is known here: start one by `scoop-hpc run` or `scoop-hpc submit`\n"
    )


OTHER_USER = """
import os, sys
from scoop_hpc.cli.main import main
sys.argv = ["scoop-hpc", "top", "--json"]
for is_other in (False, True):
    if is_other and os.geteuid() == 0:  # only now: what is to be imported may be root's alone
        os.setuid(65534)
    elif is_other:
        os.chmod(os.environ["SCOOP_HPC_STATE"], 0)  # what another user would find
    try:
        main()
    except SystemExit as end:
        print(end.code)
"""


def test_nobody_sees_the_runs_of_another_user(runs: Runs, going: subprocess.Popen[str]) -> None:
    runs.write(OTHER_USER, "other.py")
    for directory in (runs.directory, *runs.directory.parents[:2]):  # pytest's own are root's alone
        directory.chmod(0o711)
    process = runs.start_command([sys.executable, "other.py"])
    stdout, stderr = process.communicate(timeout=120)
    seen, status, refused = stdout.splitlines()
    assert (json.loads(seen)["state"], status, refused) == ("running", "0", "2")
    assert stderr.count("\n") == 1
    assert "Permission denied" in stderr
    (runs.directory / ".state").chmod(0o700)


POOL = """
import os, time
from scoop_hpc import Executor

def simulate(number):
    while not os.path.exists("go"):
        time.sleep(0.01)
    if number == 3:
        raise ValueError("no 3")

if __name__ == "__main__":
    with Executor(2, report="report.json") as executor:
        calls = [executor.submit(simulate, number) for number in range(6)]
        print(sum(call.exception() is not None for call in calls), executor.status())
"""


def test_a_pool_is_seen_as_a_run_is_and_its_report_is_kept(runs: Runs) -> None:
    process = runs.start_command([sys.executable, runs.write(POOL)])
    until(lambda: top(runs).returncode == 0 and look(runs)["totals"]["busy_workers"] == 2)
    seen = look(runs)
    assert (seen["state"], seen["program"], seen["job"]) == ("running", "Executor in program.py", None)
    assert [worker["task"] for worker in seen["workers"]] == ["simulate", "simulate"]
    assert top(runs).stdout.startswith("run: Executor in program.py running")
    (runs.directory / "go").touch()
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (0, "")
    assert stdout == "1 open, 2 workers: 0 queued, 0 under way, 6 done, 1 failed\n"
    seen = look(runs)
    assert (seen["state"], seen["status"], seen["totals"]["done"], seen["totals"]["failed"]) == ("ended", 0, 6, 1)
    assert [(each["function"], each["error"]) for each in seen["failures"]] == [("simulate", "ValueError: no 3")]
    told = runs.run("report.json", command=("report",))
    assert told.stdout.startswith("Executor in program.py, COMPLETED, exit status 0\n2 workers on 1 node for ")
    assert "simulate(3)" in runs.run("report.json", "--failed", command=("logs",)).stdout


def test_a_pool_works_where_it_cannot_be_seen(runs: Runs) -> None:
    runs.environ["SCOOP_HPC_STATE"] = str(runs.directory / runs.write("", "file") / "state")
    runs.write("from scoop_hpc import Executor\nwith Executor(2) as executor: print(executor.submit(abs, -1).result())")
    process = runs.start_command([sys.executable, "program.py"])
    assert process.communicate(timeout=120) == ("1\n", "")


def test_a_job_is_seen_by_its_id(runs: Runs) -> None:
    runs.write(PROGRAM)
    done = runs.run("--scheduler", "local", "--workers", "2", "program.py", command=("submit",))
    assert done.returncode == 0, done.stderr
    job_id = json.loads(runs.run("--json", command=("status",)).stdout)[0]["job_id"]
    until(lambda: len(list(runs.directory.glob("met-*"))) == 2)
    for words in ((job_id,), ()):
        seen = look(runs, *words)
        assert (seen["state"], seen["job"], seen["totals"]["busy_workers"]) == ("running", job_id, 2)
    (runs.directory / "go").touch()
    until(lambda: runs.run(job_id, command=("wait",)).returncode == 0)
    assert (look(runs, job_id)["state"], look(runs, job_id)["status"]) == ("ended", 0)


def test_a_run_in_a_job_of_another_script_is_seen_by_the_job_s_id(runs: Runs) -> None:
    runs.write(PROGRAM)
    runs.environ.update(SCOOP_HPC_LOCAL_JOB_ID="local-9", SCOOP_HPC_LOCAL_NODES="a:1,b:1")
    process = runs.start("program.py")
    until(lambda: len(list(runs.directory.glob("met-*"))) == 2)
    del runs.environ["SCOOP_HPC_LOCAL_JOB_ID"], runs.environ["SCOOP_HPC_LOCAL_NODES"]
    seen = look(runs, "local-9")
    assert (seen["job"], [(node["name"], node["workers"]) for node in seen["nodes"]]) == (
        "local-9",
        [("a", 1), ("b", 1)],
    )
    end(runs, process)


def test_a_job_that_has_not_begun_or_is_unknown_is_one_line(runs: Runs) -> None:
    done = top(runs, "12345")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "12345" in done.stderr
