"""Jobs of the built-in scheduler: from their submission to their end, and whatever end they come to."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import without_delays

HOLD = "import sys, time\nif __name__ == '__main__':\n    print('holding', flush=True)\n    time.sleep(300)\n"


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until *condition* holds; fail if it does not within *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Return whether there is such a process, zombies apart."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Machine:
    """The local scheduler, with its state in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.environ = {**os.environ, "SCOOP_HPC_STATE": str(self.state)}
        self.started: list[subprocess.Popen[str]] = []

    def call(self, module: str, *words: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*before, sys.executable, "-m", module, *words],
            cwd=self.directory,
            env=self.environ,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def scoop_hpc(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Call ``scoop-hpc``."""
        done = self.call("scoop_hpc", *words)
        done.stdout = without_delays(done.stdout)  # of a job, for which `logs` asks: both its streams are one
        return done

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start ``scoop-hpc`` in a session of its own."""
        argv = [sys.executable, "-m", "scoop_hpc", *words]
        process = subprocess.Popen(
            argv,
            cwd=self.directory,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def write(self, name: str, text: str) -> str:
        (self.directory / name).write_text(text)
        return name

    def submit_script(self, text: str) -> subprocess.CompletedProcess[str]:
        """Submit a job script as the adapter does."""
        return self.call("scoop_hpc.schedulers.local", "submit", self.write("job.sh", text))

    def run_script(self, body: str, *directives: str) -> str:
        """Submit a script of sh; return the job's id."""
        done = self.submit_script("#!/bin/sh\n" + "".join(f"#LOCAL {line}\n" for line in directives) + body + "\n")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def cancel(self, *jobs: str) -> subprocess.CompletedProcess[str]:
        return self.call("scoop_hpc.schedulers.local", "cancel", *jobs)

    def statuses(self, job: str) -> list[dict[str, Any]]:
        """Return the status of a job, of an array those of its jobs."""
        done = self.call("scoop_hpc.schedulers.local", "status", job)
        assert done.returncode == 0, done.stderr
        answers = json.loads(done.stdout)
        assert isinstance(answers, list)
        return answers

    def status(self, job: str) -> dict[str, Any]:
        (answer,) = self.statuses(job)
        return answer

    def ended(self, job: str) -> bool:
        return not {"PENDING", "RUNNING"} & {each["state"] for each in self.statuses(job)}

    def end(self, job: str, seconds: float = 120) -> dict[str, Any]:
        """Wait for a job's end; return its status."""
        until(lambda: self.ended(job), seconds)
        return self.status(job)

    def output(self, job: str) -> str:
        path = self.directory / f"scoop-{job}.out"
        return without_delays(path.read_text()) if path.exists() else ""

    def pid(self, name: str) -> int:
        """Return the pid that a script left in the file *name*."""
        until(lambda: (self.directory / name).exists() and (self.directory / name).read_text().endswith("\n"))
        return int((self.directory / name).read_text())

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()
        for home in (self.state / "local").glob("*"):
            (home / "cancel").touch()
        for home in (self.state / "local").glob("*"):
            until(lambda job=f"local-{home.name}": self.ended(job))  # type: ignore[misc]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """The local scheduler without jobs; those of the test are ended."""
    machine = Machine(tmp_path)
    yield machine
    machine.close()


# what a job is given


def test_a_script_runs_in_its_directory_without_input(machine: Machine) -> None:
    (machine.directory / "a b").mkdir()
    job = machine.run_script("pwd; cat; echo oops >&2; exit 3", f'--chdir="{machine.directory}/a b"', "--output=../out")
    status = machine.end(job)
    assert (machine.directory / "out").read_text() == f"{machine.directory}/a b\noops\n"
    assert (status["state"], status["exit_status"]) == ("FAILED", 3)


def test_a_job_knows_its_nodes(machine: Machine) -> None:
    job = machine.run_script(
        f"exec {sys.executable} -m scoop_hpc hosts --json", "--nodes=3", "--workers-per-node=2 --cpus-per-worker=4"
    )
    assert machine.end(job)["nodes"] == ["local1", "local2", "local3"]
    told = json.loads(machine.output(job))
    assert told["job_id"] == job
    assert told["nodes"][2] == {"name": "local3", "slots": 2, "cpus": 8}


def test_whole_nodes_have_a_slot_for_each_cpu(machine: Machine) -> None:
    job = machine.run_script("echo $SCOOP_HPC_LOCAL_NODES")
    machine.end(job)
    assert machine.output(job) == f"local1:{len(os.sched_getaffinity(0))}\n"


def test_a_script_runs_by_its_first_line(machine: Machine) -> None:
    done = machine.submit_script(f"#!{sys.executable} -I\nimport sys; print(sys.flags.isolated)\n")
    job = done.stdout.strip()
    machine.end(job)
    assert machine.output(job) == "1\n"


def test_a_script_is_as_it_was_when_submitted(machine: Machine) -> None:
    job = machine.run_script("until [ -e go ]; do sleep 0.05; done\necho as submitted")
    machine.write("job.sh", "#!/bin/sh\nsleep 0\nsleep 0; sleep 0; sleep 0; sleep 0;\necho changed\n" * 5)
    machine.write("go", "")
    machine.end(job)
    assert machine.output(job) == "as submitted\n"


def test_modules_in_the_users_directory_are_not_the_librarys(machine: Machine) -> None:
    for name in ("json", "psutil", "secrets", "select", "shutil"):
        machine.write(f"{name}.py", "raise SystemExit('a trap')\n")
    job = machine.run_script("true")
    assert machine.end(job)["state"] == "COMPLETED"


def test_no_two_jobs_have_one_id(machine: Machine) -> None:
    machine.write("job.sh", "#!/bin/sh\n#LOCAL --output=out.{job_id}\ntrue\n")
    argv = [sys.executable, "-m", "scoop_hpc.schedulers.local", "submit", "job.sh"]
    submissions = [
        subprocess.Popen(argv, cwd=machine.directory, env=machine.environ, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    jobs = {process.communicate(timeout=120)[0].strip() for process in submissions}
    assert jobs == {f"local-{number}" for number in range(1, 7)}
    assert {machine.end(job)["state"] for job in jobs} == {"COMPLETED"}


def test_state_is_for_its_owner_only(machine: Machine) -> None:
    machine.end(machine.run_script("true"))
    for path in machine.state.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


# how a job ends


def test_walltime_ends_a_job(machine: Machine) -> None:
    job = machine.run_script("trap 'echo ending; exit 7' TERM; sleep 300 & wait", "--walltime=4s")
    status = machine.end(job)
    assert (status["state"], status["exit_status"]) == ("TIMEOUT", 7)
    assert "0:00:04" in status["reason"]
    assert "ending\n" in machine.output(job)


def test_cancel_ends_a_job_and_all_its_processes(machine: Machine) -> None:
    job = machine.run_script("setsid sh -c 'echo $$ >away; exec sleep 300' & sleep 300 & echo $! >near; wait")
    pids = [machine.pid("away"), machine.pid("near")]
    assert machine.cancel(job).returncode == 0
    assert machine.end(job)["state"] == "CANCELLED"
    assert not any(alive(pid) for pid in pids)


def test_cancel_ends_what_ignores_sigterm(machine: Machine) -> None:
    job = machine.run_script("trap '' TERM; echo $$ >pid; while :; do sleep 1; done")
    pid = machine.pid("pid")
    machine.cancel(job)
    status = machine.end(job)
    assert (status["state"], status["exit_status"]) == ("CANCELLED", 137)
    assert not alive(pid)


def test_cancel_of_an_ended_job_changes_nothing(machine: Machine) -> None:
    job = machine.run_script("exit 3")
    ended = machine.end(job)
    assert machine.cancel(job, job).returncode == 0
    assert machine.status(job) == ended


def test_what_a_script_leaves_behind_is_ended(machine: Machine) -> None:
    job = machine.run_script("setsid sh -c 'echo $$ >pid; exec sleep 300' & until [ -s pid ]; do sleep 0.05; done")
    pid = machine.pid("pid")
    assert machine.end(job)["state"] == "COMPLETED"
    assert not alive(pid)


def test_a_job_does_not_outlive_its_supervisor(machine: Machine) -> None:
    job = machine.run_script("echo $PPID >supervisor; echo $$ >pid; exec sleep 300")
    pid = machine.pid("pid")
    os.kill(machine.pid("supervisor"), signal.SIGKILL)
    until(lambda: not alive(pid))
    status = machine.end(job)
    assert (status["state"], status["exit_status"]) == ("FAILED", None)
    assert "supervisor was killed" in status["reason"]


def test_a_supervisor_that_is_told_to_end_ends_its_job(machine: Machine) -> None:
    job = machine.run_script("echo $PPID >supervisor; echo $$ >pid; exec sleep 300")
    pid = machine.pid("pid")
    os.kill(machine.pid("supervisor"), signal.SIGTERM)
    status = machine.end(job)
    assert status["state"] == "FAILED"
    assert "SIGTERM" in status["reason"]
    assert not alive(pid)


def test_a_script_that_a_signal_ends_says_so(machine: Machine) -> None:
    status = machine.end(machine.run_script("kill -SEGV $$"))
    assert (status["state"], status["exit_status"], status["reason"]) == ("FAILED", 139, "ended by SIGSEGV")


def test_an_interpreter_that_is_missing_makes_a_failed_job(machine: Machine) -> None:
    job = machine.submit_script("#!/no/such/shell\n").stdout.strip()
    assert machine.end(job)["exit_status"] == 127
    assert "/no/such/shell" in machine.output(job)


# error files, workers, signals


def test_standard_error_has_a_file_of_its_own(machine: Machine) -> None:
    job = machine.run_script("echo out; echo err >&2; exec sleep 300", "--error={job_id}.err", "--walltime=1s")
    machine.end(job)
    assert machine.output(job) == "out\n"
    err = (machine.directory / f"{job}.err").read_text().splitlines()
    assert err == ["err", f"scoop-hpc: {job} TIMEOUT: its walltime of 0:00:01 is over"]


def test_workers_in_all_are_spread_over_the_nodes(machine: Machine) -> None:
    job = machine.run_script("echo $SCOOP_HPC_LOCAL_NODES", "--nodes=3 --workers=7")
    assert machine.end(job)["nodes"] == ["local1", "local2", "local3"]
    assert machine.output(job) == "local1:3,local2:2,local3:2\n"


def test_a_signal_comes_before_the_walltime_is_over(machine: Machine) -> None:
    body = "trap 'echo warned; exit 0' USR1; while :; do sleep 0.1; done"
    job = machine.run_script(body, "--walltime=300s", "--signal=299")
    status = machine.end(job)
    assert (status["state"], status["exit_status"]) == ("COMPLETED", 0)
    assert machine.output(job) == "warned\n"


# what waits


def hold(machine: Machine, then: str = "") -> str:
    """Submit a job that goes on until there is the file ``go``."""
    return machine.run_script(f"until [ -e go ]; do sleep 0.05; done\n{then}")


@pytest.mark.parametrize(
    ("kind", "exit_status", "verb"), [("afterok", 0, "succeed"), ("afternotok", 3, "fail"), ("afterany", 3, "end")]
)
def test_a_job_begins_after_another(machine: Machine, kind: str, exit_status: int, verb: str) -> None:
    first = hold(machine, f"echo first >>order; exit {exit_status}")
    second = machine.run_script("echo second >>order", f"--dependency={kind}:{first}")
    status = machine.status(second)
    assert (status["state"], status["reason"], status["nodes"]) == ("PENDING", f"it waits for {first} to {verb}", [])
    machine.write("go", "")
    assert machine.end(second)["state"] == "COMPLETED"
    assert (machine.directory / "order").read_text() == "first\nsecond\n"


@pytest.mark.parametrize(("kind", "exit_status"), [("afterok", 3), ("afternotok", 0)])
def test_a_job_that_can_never_begin_is_cancelled(machine: Machine, kind: str, exit_status: int) -> None:
    first = hold(machine, f"exit {exit_status}")
    second = machine.run_script("true", f"--dependency={kind}:{first}")
    third = machine.run_script("true", f"--dependency=afterok:{second}")
    assert machine.status(second)["state"] == "PENDING"
    machine.write("go", "")
    status = machine.end(second)
    assert (status["state"], status["exit_status"]) == ("CANCELLED", None)
    assert f"once {first} had " in status["reason"]
    assert machine.end(third)["state"] == "CANCELLED"
    late = machine.run_script("true", f"--dependency={kind}:{first}")
    assert machine.status(late) == {**status, "job_id": late}


def test_a_job_begins_in_time(machine: Machine) -> None:
    past = machine.run_script("true", "--begin=2020-01-31T08:00:00")
    assert machine.end(past)["state"] == "COMPLETED"
    soon, seconds = datetime.now(), 2
    while datetime.now() >= soon:  # a busy machine takes seconds to submit it and to ask
        soon, seconds = datetime.now() + timedelta(seconds=seconds), 2 * seconds
        (machine.directory / "begun").unlink(missing_ok=True)
        job = machine.run_script("date +%s >begun", f"--begin={soon.isoformat()}")
        state = machine.status(job)["state"]
    assert state == "PENDING"
    assert machine.end(job)["state"] == "COMPLETED"
    assert int((machine.directory / "begun").read_text()) >= int(soon.timestamp())


def test_a_job_that_waits_leaves_its_output_file_alone(machine: Machine) -> None:
    machine.write("out", "an earlier job's\n")
    job = machine.run_script("echo mine", "--begin=2100-01-31T08:00:00", "--output=out")
    assert machine.status(job)["reason"] == "its time has not come: it begins at 2100-01-31T08:00:00"
    machine.cancel(job)
    assert machine.end(job)["state"] == "CANCELLED"
    assert (machine.directory / "out").read_text() == "an earlier job's\n"


def test_an_output_that_is_gone_when_the_job_begins_fails_it(machine: Machine) -> None:
    (machine.directory / "logs").mkdir()
    first = hold(machine)
    job = machine.run_script("true", f"--dependency=afterok:{first}", "--output=logs/out")
    (machine.directory / "logs").rmdir()
    machine.write("go", "")
    status = machine.end(job)
    assert status["state"] == "FAILED"
    assert "logs/out" in status["reason"]


# arrays


def elements(machine: Machine, job: str) -> dict[str, str]:
    """Return the states of an array's jobs."""
    return {each["job_id"]: each["state"] for each in machine.statuses(job)}


def end_of_array(machine: Machine, job: str) -> dict[str, str]:
    until(lambda: machine.ended(job))
    return elements(machine, job)


def test_an_array_is_a_job_for_each_number(machine: Machine) -> None:
    body = (
        "i=$SCOOP_HPC_LOCAL_ARRAY_INDEX\n"
        "echo $SCOOP_HPC_LOCAL_JOB_ID $i $SCOOP_HPC_LOCAL_NODES; echo e >&2; exit 1$((i % 2))"
    )
    job = machine.run_script(body, "--array=3-8:5 --workers=2", "--error={array_index}.err")
    end_of_array(machine, job)
    codes = {each["job_id"]: each["exit_status"] for each in machine.statuses(job)}
    assert codes == {f"{job}_3": 11, f"{job}_8": 10}
    assert machine.output(f"{job}_3") == f"{job}_3 3 local1:2\n"
    assert (machine.directory / "8.err").read_text() == "e\n"
    assert machine.status(f"{job}_8")["nodes"] == ["local1"]
    assert machine.statuses(f"{job}_4") == machine.statuses(f"{job}_9") == []


def test_an_array_keeps_its_limit(machine: Machine) -> None:
    job = machine.run_script("until [ -e go$SCOOP_HPC_LOCAL_ARRAY_INDEX ]; do sleep 0.05; done", "--array=0-3%2")
    until(lambda: list(elements(machine, job).values()) == ["RUNNING", "RUNNING", "PENDING", "PENDING"])
    machine.write("go1", "")
    until(lambda: list(elements(machine, job).values()) == ["RUNNING", "COMPLETED", "RUNNING", "PENDING"])
    for index in (0, 2, 3):
        machine.write(f"go{index}", "")
    assert set(end_of_array(machine, job).values()) == {"COMPLETED"}


def test_no_job_of_an_array_is_run_twice_or_left_out(machine: Machine) -> None:
    job = machine.run_script("echo $SCOOP_HPC_LOCAL_ARRAY_INDEX >>ran", "--array=0-39%8")
    assert set(end_of_array(machine, job).values()) == {"COMPLETED"}
    assert sorted(map(int, (machine.directory / "ran").read_text().split())) == list(range(40))


def test_the_walltime_is_that_of_each_job_of_an_array(machine: Machine) -> None:
    body = "echo $$ >pid$SCOOP_HPC_LOCAL_ARRAY_INDEX; [ $SCOOP_HPC_LOCAL_ARRAY_INDEX = 2 ] || exec sleep 300"
    job = machine.run_script(body, "--array=1-2%1", "--walltime=1s")
    assert end_of_array(machine, job) == {f"{job}_1": "TIMEOUT", f"{job}_2": "COMPLETED"}
    assert not alive(machine.pid("pid1"))


def test_one_job_of_an_array_is_cancelled(machine: Machine) -> None:
    body = "echo $$ >pid$SCOOP_HPC_LOCAL_ARRAY_INDEX; until [ -e go ]; do sleep 0.05; done"
    job = machine.run_script(body, "--array=1-3%2")
    pid = machine.pid("pid1")
    machine.cancel(f"{job}_1", f"{job}_3")
    assert machine.status(f"{job}_3")["state"] == "CANCELLED"
    assert machine.end(f"{job}_1")["state"] == "CANCELLED"
    assert not alive(pid)
    machine.write("go", "")
    assert end_of_array(machine, job) == {f"{job}_1": "CANCELLED", f"{job}_2": "COMPLETED", f"{job}_3": "CANCELLED"}
    assert not (machine.directory / "pid3").exists()


def test_a_whole_array_is_cancelled_and_leaves_nothing(machine: Machine) -> None:
    body = "setsid sh -c 'echo $$ >pid$SCOOP_HPC_LOCAL_ARRAY_INDEX; exec sleep 300' & sleep 300"
    job = machine.run_script(body, "--array=1-9%2")
    pids = [machine.pid("pid1"), machine.pid("pid2")]
    machine.cancel(job)
    assert set(end_of_array(machine, job).values()) == {"CANCELLED"}
    assert not any(alive(pid) for pid in pids)
    ended = machine.statuses(job)
    machine.cancel(job, f"{job}_9")
    assert machine.statuses(job) == ended


def test_an_array_that_waits_is_cancelled(machine: Machine) -> None:
    job = machine.run_script("true", "--array=1-2", "--begin=2100-01-31T08:00:00")
    assert set(elements(machine, job).values()) == {"PENDING"}
    machine.cancel(f"{job}_1")
    assert elements(machine, job) == {f"{job}_1": "CANCELLED", f"{job}_2": "PENDING"}
    machine.cancel(job)
    assert set(end_of_array(machine, job).values()) == {"CANCELLED"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_array_does_not_outlive_its_supervisor(machine: Machine, number: signal.Signals) -> None:
    body = "echo $$ >pid$SCOOP_HPC_LOCAL_ARRAY_INDEX; ps -o ppid= $PPID >supervisor; exec sleep 300"
    job = machine.run_script(body, "--array=1-4%2")
    pids = [machine.pid("pid1"), machine.pid("pid2")]
    os.kill(machine.pid("supervisor"), number)
    until(lambda: not any(alive(pid) for pid in pids))
    assert set(end_of_array(machine, job).values()) == {"FAILED"}
    assert all("supervisor was" in each["reason"] for each in machine.statuses(job))


def test_the_supervisor_of_one_job_of_an_array_is_killed(machine: Machine) -> None:
    body = "i=$SCOOP_HPC_LOCAL_ARRAY_INDEX; echo $$ >pid$i\n[ $i = 2 ] || { echo $PPID >supervisor; exec sleep 300; }"
    job = machine.run_script(body, "--array=1-2%1")
    os.kill(machine.pid("supervisor"), signal.SIGKILL)
    assert end_of_array(machine, job) == {f"{job}_1": "FAILED", f"{job}_2": "COMPLETED"}
    assert not alive(machine.pid("pid1"))


@pytest.mark.parametrize(
    ("kind", "ends"), [("afterok", "CANCELLED"), ("afternotok", "COMPLETED"), ("afterany", "COMPLETED")]
)
def test_a_job_waits_for_all_jobs_of_an_array(machine: Machine, kind: str, ends: str) -> None:
    body = "[ $SCOOP_HPC_LOCAL_ARRAY_INDEX = 1 ] && exit 3; until [ -e go ]; do sleep 0.05; done"
    array = machine.run_script(body, "--array=1-2%2")
    element = machine.run_script("true", f"--dependency=afternotok:{array}_1")
    job = machine.run_script("true", f"--dependency={kind}:{array}")
    assert machine.end(element)["state"] == "COMPLETED"
    assert machine.status(job)["state"] == "PENDING"
    machine.write("go", "")
    assert machine.end(job)["state"] == ends


# what is refused


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo\n", "#!"),
        ("#!/bin/sh\n#LOCAL --colour=red\n", "--colour"),
        ("#!/bin/sh\n#LOCAL --nodes=many\n", "many"),
        ("#!/bin/sh\n#LOCAL --nodes=0\n", "0"),
        ("#!/bin/sh\n#LOCAL --walltime=soon\n", "soon"),
        ('#!/bin/sh\n#LOCAL --job-name="a\n', '\\"a'),
        ("#!/bin/sh\n#LOCAL --chdir=/no/such\n", "/no/such"),
        ("#!/bin/sh\n#LOCAL --output=no/such/out\n", "no/such/out"),
        ("#!/bin/sh\n#LOCAL --error=no/such/err\n", "no/such/err"),
        ("#!/bin/sh\n#LOCAL --dependency=afterok:local-99\n", "no local job 'local-99'"),
        ("#!/bin/sh\n#LOCAL --dependency=afterany:local-99_1\n", "no local job 'local-99_1'"),
        ("#!/bin/sh\n#LOCAL --array=3-1\n", "3-1"),
        ("#!/bin/sh\n#LOCAL --signal=9\n", "--signal 9"),
    ],
)
def test_what_is_refused_is_one_line_and_leaves_nothing(machine: Machine, script: str, complaint: str) -> None:
    done = machine.submit_script(script)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert complaint.replace("\\", "") in done.stderr.replace("\\", "")
    assert not list((machine.state / "local").glob("*"))


def test_directives_end_with_the_comments(machine: Machine) -> None:
    job = machine.run_script("echo $SCOOP_HPC_LOCAL_NODES\n#LOCAL --nodes=7\n", "--workers-per-node=1 # --nodes=3")
    machine.end(job)
    assert machine.output(job) == "local1:1\n"


def test_a_full_disk_is_one_line(machine: Machine) -> None:
    machine.write("program.py", "")
    words = ("submit", "--scheduler", "local", "program.py")
    done = machine.call("scoop_hpc", *words, before=["sh", "-c", 'ulimit -f 0; exec "$@"', "sh"])
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "File too large" in done.stderr
    assert not list((machine.state / "jobs").glob("*"))


def test_a_state_directory_that_cannot_be_is_one_line(machine: Machine) -> None:
    machine.environ["SCOOP_HPC_STATE"] = machine.write("file", "") + "/state"
    machine.write("program.py", "")
    done = machine.scoop_hpc("submit", "--scheduler", "local", "program.py")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "SCOOP_HPC_STATE" in done.stderr


# scoop-hpc and its local jobs


def submit(machine: Machine, program: str, *options: str) -> str:
    """Submit a program by ``scoop-hpc submit``; return the job's id."""
    words = ["--scheduler", "local", "--workers-per-node", "1", "--parsable", *options]
    done = machine.scoop_hpc("submit", *words, machine.write("program.py", program))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_was_in_the_output_before_a_job_began_is_not_its_own(machine: Machine) -> None:
    program = "import sys\nif __name__ == '__main__':\n    print(sys.argv[1:])\n"
    machine.write("fixed.out", "the former run's, and longer than the new one\n")
    first = hold(machine, "true")
    job = submit(machine, program, "--after", first, "--output", "fixed.out")
    refused = machine.scoop_hpc("logs", job)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"fixed.out' was there before: job {job} is PENDING" in refused.stderr
    following = machine.start("logs", "--follow", job)
    machine.write("go", "")
    assert following.communicate(timeout=120)[0] == "[]\n"
    assert machine.scoop_hpc("logs", job).stdout == "[]\n"


def test_output_that_a_template_does_not_name_is_missed_in_a_line(machine: Machine) -> None:
    machine.write("p.py", "print(1)\n")
    machine.write(
        "own.sh.j2",
        """{% extends "scoop_hpc/local.sh.j2" %}
{% block directives %}
#LOCAL --output=elsewhere.out
{% endblock %}
""",
    )
    options = ["--scheduler", "local", "--template", "own.sh.j2", "--output", "here.out"]
    done = machine.scoop_hpc("submit", *options, "--wait", "p.py")
    why = f"there is no output file '{machine.directory}/here.out' (nodes may have a directory of that name that "
    assert (done.returncode, done.stdout) == (0, "")
    assert f"scoop-hpc: warning: {why}" in done.stderr
    assert "; a template without the directive for it leaves that to the scheduler)" in done.stderr
    job = re.search(r"Submitted job (\S+) ", done.stderr)
    assert job is not None
    told = machine.scoop_hpc("logs", job[1])
    assert (told.returncode, told.stderr.count("\n")) == (1, 1)
    assert told.stderr.startswith(f"scoop-hpc: error: {why}")


def test_a_job_that_never_began_has_no_output(machine: Machine) -> None:
    machine.write("fixed.out", "the former run's\n")
    job = submit(machine, "print(1)\n", "--begin", "2100-01-31T08:00:00", "--output", "fixed.out")
    assert machine.scoop_hpc("cancel", job).returncode == 0
    machine.scoop_hpc("wait", job)  # a job is cancelled by its supervisor, a moment after it was told to
    done = machine.scoop_hpc("logs", job)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"was there before: job {job} is CANCELLED" in done.stderr
    told = machine.scoop_hpc("report", job)
    assert (told.returncode, f"no report of the job '{job}': it is CANCELLED" in told.stderr) == (1, True)


def test_a_job_from_its_submission_to_its_end(machine: Machine) -> None:
    job = submit(
        machine, "import sys\nif __name__ == '__main__':\n    print('hello')\n    sys.exit(3)\n", "--nodes", "2"
    )
    assert machine.scoop_hpc("wait", job).returncode == 3
    assert machine.scoop_hpc("logs", job).stdout == "hello\n"
    assert machine.scoop_hpc("logs", "--follow", job).stdout == "hello\n"
    (told,) = json.loads(machine.scoop_hpc("status", "--json", job).stdout)
    assert (told["job_id"], told["state"], told["exit_status"]) == (job, "FAILED", 3)
    assert told["nodes"] == ["local1", "local2"]
    assert told["output"] == str(machine.directory / f"scoop-{job}.out")
    assert told["submitted"] <= told["started"] <= told["ended"]
    head, row = machine.scoop_hpc("status").stdout.splitlines()
    assert head.split()[:4] == ["JOB", "STATE", "EXIT", "NAME"]
    assert row.split()[:5] == [job, "FAILED", "3", "program", "local[1-2]"]


def test_submit_says_where_the_output_is(machine: Machine) -> None:
    done = machine.scoop_hpc("submit", "--scheduler", "local", machine.write("program.py", ""))
    assert done.stdout == f"Submitted job local-1 to local; output: {machine.directory}/scoop-local-1.out\n"
    done = machine.scoop_hpc("submit", "--json", "--output=a b", "--scheduler", "local", "program.py")
    told = json.loads(done.stdout)
    assert (told["job_id"], told["scheduler"], told["output"]) == ("local-2", "local", f"{machine.directory}/a b")


def test_waiting_prints_what_the_job_prints_as_it_comes(machine: Machine) -> None:
    machine.write("program.py", HOLD)
    process = machine.start("submit", "--scheduler", "local", "--workers-per-node", "1", "--wait", "program.py")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "holding\n"
    assert "Submitted job local-1 " in process.stderr.readline()
    assert machine.scoop_hpc("cancel", "local-1").stdout == "Cancelled job local-1\n"
    assert process.wait(120) == 143
    assert "local-1 ended CANCELLED" in process.stderr.read()


def test_ctrl_c_while_waiting_leaves_the_job_alone(machine: Machine) -> None:
    machine.write("program.py", HOLD)
    process = machine.start("submit", "--scheduler", "local", "--workers-per-node", "1", "--wait", "program.py")
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert stderr.splitlines()[1:] == ["scoop-hpc: job local-1 goes on; scoop-hpc cancel local-1 ends it"]
    assert machine.status("local-1")["state"] == "RUNNING"


def test_cancel_twice(machine: Machine) -> None:
    job = submit(machine, HOLD)
    until(lambda: machine.output(job))
    assert machine.scoop_hpc("cancel", job).stdout == f"Cancelled job {job}\n"
    assert machine.scoop_hpc("wait", job).returncode == 143
    done = machine.scoop_hpc("cancel", job)
    assert (done.returncode, done.stdout.startswith(f"Job {job} is CANCELLED")) == (0, True)
    (told,) = json.loads(machine.scoop_hpc("cancel", "--json", job).stdout)
    assert (told["state"], told["cancelled"]) == ("CANCELLED", False)


def test_waiting_is_given_up_in_time(machine: Machine) -> None:
    job = submit(machine, HOLD)
    done = machine.scoop_hpc("wait", "--timeout", "0.5", job)
    assert done.returncode == 124
    assert f"job {job} is RUNNING" in done.stderr


def test_a_driver_that_was_killed_leaves_a_failed_job(machine: Machine) -> None:
    job = submit(machine, HOLD)
    until(lambda: machine.output(job))
    (record,) = machine.state.glob("jobs/*/record.json")
    os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
    done = machine.scoop_hpc("wait", job)
    assert done.returncode == 137
    assert f"job {job} ended FAILED with exit status 137: the driver " in done.stderr


def test_a_reader_that_is_gone_is_no_traceback(machine: Machine) -> None:
    job = submit(machine, "if __name__ == '__main__':\n    print('x' * 1_000_000)\n")
    machine.scoop_hpc("wait", job)
    process = machine.start("logs", job)
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(120) == 141


def test_a_job_of_slurms_is_not_taken_for_one_of_ours(machine: Machine) -> None:
    machine.environ.update(SLURM_JOB_ID="1", SLURM_JOB_NODELIST="far[1-9]", SLURM_NTASKS_PER_NODE="2")
    program = (
        "import os\nif __name__ == '__main__':\n    print([name for name in os.environ if name.startswith('SLURM')])\n"
    )
    job = submit(machine, program)
    assert machine.scoop_hpc("wait", job).returncode == 0
    assert machine.output(job) == "[]\n"


def test_two_jobs_are_waited_for_and_the_worse_tells(machine: Machine) -> None:
    good, bad = submit(machine, ""), submit(machine, "import sys\nif __name__ == '__main__':\n    sys.exit(5)\n")
    assert machine.scoop_hpc("wait", good, bad).returncode == 5


INDEXED = """
import os, sys
if __name__ == "__main__":
    index = os.environ["SCOOP_HPC_JOB_ARRAY_INDEX"]
    print("I am", index)
    sys.exit(4 if index == "2" else 0)
"""


def test_an_array_from_its_submission_to_its_end(machine: Machine) -> None:
    job = submit(machine, INDEXED, "--array", "1-3%2")
    after = submit(machine, INDEXED, "--array", "7-8", "--after-any", job)
    never = submit(machine, INDEXED, "--after", f"{job}_2")
    assert machine.scoop_hpc("wait", job).returncode == 4
    assert machine.scoop_hpc("wait", f"{job}_1").returncode == 0
    assert machine.scoop_hpc("logs", f"{job}_2").stdout == "I am 2\n"
    (told,) = json.loads(machine.scoop_hpc("status", "--json", job).stdout)
    assert (told["state"], told["reason"]) == ("FAILED", "2 COMPLETED, 1 FAILED")
    assert [(each["job_id"], each["exit_status"]) for each in told["elements"]] == [
        (f"{job}_1", 0),
        (f"{job}_2", 4),
        (f"{job}_3", 0),
    ]
    assert all(each["started"] <= each["ended"] for each in told["elements"])
    assert machine.scoop_hpc("wait", after).returncode == 0
    assert machine.scoop_hpc("logs", "--follow", f"{after}_8").stdout == "I am 8\n"
    done = machine.scoop_hpc("wait", never)
    assert done.returncode == 1
    assert f"once {job}_2 had succeeded, but that ended FAILED" in done.stderr


def test_jobs_of_an_array_are_cancelled_by_name(machine: Machine) -> None:
    job = submit(machine, HOLD, "--array", "1-3%1")
    until(lambda: machine.output(f"{job}_1"))
    assert machine.scoop_hpc("cancel", f"{job}_2").stdout == f"Cancelled job {job}_2\n"
    assert machine.scoop_hpc("cancel", job).stdout == f"Cancelled job {job}\n"
    assert machine.scoop_hpc("wait", job).returncode == 143
    assert "3 CANCELLED" in machine.scoop_hpc("status", job).stdout


def test_why_a_job_waits_is_explained(machine: Machine) -> None:
    first = submit(machine, HOLD)
    job = submit(machine, HOLD, "--after", first)
    state, what = machine.scoop_hpc("explain", job).stdout.splitlines()
    assert state == f"Job {job} is PENDING: it waits for {first} to succeed"
    assert what == "  wait, or cancel it and submit it again without that dependency"
    done = machine.scoop_hpc("logs", job)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"it waits for {first}" in done.stderr


def test_a_program_hears_the_signal_before_its_end(machine: Machine) -> None:
    program = (
        "import signal, sys, time\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGUSR1, lambda number, frame: sys.exit('warned'))\n"
        "    open('ready', 'w').close()\n"
        "    time.sleep(300)\n"
    )
    job = submit(machine, program, "--walltime", "1h", "--signal", "3590s", "--error", "err")
    assert machine.scoop_hpc("wait", job).returncode == 1
    assert (machine.directory / "err").read_text() == "warned\n"


def test_what_cannot_be_waited_for_is_one_line(machine: Machine) -> None:
    machine.write("program.py", "")
    for options, words in (
        (["--after", "local-99"], "no local job 'local-99' to wait for"),
        (["--after-any", "99"], "'99' is no job id"),
        (["--array", "9-1"], "9-1"),
        (["--signal", "10"], "--walltime"),
        (["--begin", "soon"], "soon"),
    ):
        done = machine.scoop_hpc("submit", "--scheduler", "local", *options, "program.py")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert words in done.stderr
    assert not list((machine.state / "local").glob("*"))
    assert not list((machine.state / "jobs").glob("*"))


def test_an_unknown_job_is_one_line(machine: Machine) -> None:
    for command in ("status", "wait", "cancel", "logs"):
        done = machine.scoop_hpc(command, "local-99")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), command
        assert "local-99" in done.stderr
