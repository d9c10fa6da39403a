"""What the commands around jobs read and print, without any job."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from scoop_hpc.cli.follow import Delay, Tail, describe, exit_status
from scoop_hpc.cli.hosts import hosts
from scoop_hpc.cli.jobs import as_dict, fitted, logs, status, table, why
from scoop_hpc.cli.submit import render, submit
from scoop_hpc.cli.templates import template_directories
from scoop_hpc.errors import InputError, JobSpecError, ProgramError, SchedulerError
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.jobs.client import Client
from scoop_hpc.jobs.directories import Job
from scoop_hpc.jobs.record import Record
from scoop_hpc.jobs.report import Report
from scoop_hpc.schedulers.answers import JobStatus
from scoop_hpc.schedulers.job_state import JobState


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCOOP_HPC_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", str(tmp_path))  # no scheduler is found
    for name in ("SLURM_JOB_ID", "SCOOP_HPC_LOCAL_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "pi.py").write_text("print(3)\n")


@dataclass(frozen=True)
class Printed:
    stdout: str
    stderr: str


def call(command: click.Command, *words: str) -> Printed:
    """Run *command*; let its errors through."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        command.main(words, "scoop-hpc", standalone_mode=False)
    return Printed(stdout.getvalue(), stderr.getvalue())


def report(state: JobState, exit_status: Any = None, reason: str = "") -> Report:
    return Report("slurm", JobStatus("7", state, reason, ("n1",), exit_status))


# render


def test_the_script_ends_in_the_driver_and_the_programs_own_words() -> None:
    last = call(render, "--scheduler", "slurm", "pi.py", "--nodes", "a b", "--", "-x").stdout.splitlines()[-1]
    driver = ["exec", sys.executable, "-m", "scoop_hpc", "run", "--allocation", "slurm"]
    assert shlex.split(last) == [*driver, "--", "pi.py", "--nodes", "a b", "--", "-x"]


def test_two_dashes_end_our_options() -> None:
    (Path.cwd() / "--nodes").write_text("")
    last = call(render, "--nodes", "2", "--", "--nodes", "9").stdout.splitlines()[-1]
    assert shlex.split(last)[-3:] == ["--", "--nodes", "9"]


def test_every_option_reaches_the_script(tmp_path: Path) -> None:
    words = shlex.split(
        "--scheduler slurm --nodes 4 --workers-per-node 2 --cpus-per-worker 3 --walltime 90 --memory 8G --queue q "
        "--account a --name 'n m' --output o-{job_id} --directive=--qos=high --directive -H pi.py"
    )
    directives = [
        line[len("#SBATCH ") :] for line in call(render, *words).stdout.splitlines() if line.startswith("#SBATCH")
    ]
    assert {
        "--nodes=4", "--ntasks-per-node=2", "--cpus-per-task=3", "--time=1:30:00", "--mem=8192M", "--partition=q",
        "--account=a", '--job-name="n m"', "--qos=high", "-H", f"--chdir={tmp_path}",
    } <= set(directives)  # fmt: skip
    assert [word for word in directives if word.startswith("--output=") and word.endswith("o-%j")]


def test_a_job_is_named_after_its_program() -> None:
    assert "#LOCAL --job-name=pi\n" in call(render, "pi.py").stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--walltime", "soon", "pi.py"], "'soon'"),
        (["--memory", "much", "pi.py"], "'much'"),
        (["--name", "a\nb", "pi.py"], r"a\\nb"),
        (["--scheduler", "nosuch", "pi.py"], "'nosuch'.*slurm, pbs, sge, local"),
        (["nosuch.py"], "'nosuch.py'.*No such file"),
        (["."], "'.'.*directory"),
    ],
)
def test_bad_words_are_refused(words: list[str], complaint: str) -> None:
    for command in (render, submit):
        with pytest.raises(InputError, match=complaint):
            call(command, *words)


@pytest.mark.parametrize("text", ["def f(:\n", "print 'two'\n", "a = '\0'\n", "# coding: nosuch\n"])
def test_a_program_that_is_not_python_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(ProgramError, match=r"'bad.py' is not Python"):
        call(submit, "bad.py")


def test_warnings_of_the_programs_syntax_are_left_to_its_run(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("a = '\\d'\nassert (a, 1)\n")
    assert call(render, "odd.py").stderr == ""


# submit, before there is a job


def test_a_scheduler_that_is_not_here_is_refused() -> None:
    with pytest.raises(SchedulerError, match=r"sbatch, squeue, scancel not found on PATH"):
        call(submit, "--scheduler", "slurm", "pi.py")


@pytest.mark.parametrize(
    ("output", "complaint"),
    [("none/out", "no directory '.*none'"), ("state", "is a directory"), ("{name}.out", "no directory '.*/a'")],
)
def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path, output: str, complaint: str) -> None:
    (tmp_path / "state").mkdir()
    with pytest.raises(InputError, match=complaint):
        call(submit, "--output", output, "--name", "a/b", "pi.py")


@pytest.mark.parametrize(
    ("option", "file", "complaint"),
    [
        ("--trace", "none/pi.json", "no directory '.*none' for the trace: make it, or change --trace"),
        ("--trace", "state", "the trace '.*state' is a directory"),
        ("--metrics", "none/pi.prom", "no directory '.*none' for the metrics"),
    ],
)
def test_a_file_that_the_run_would_fail_to_write_is_refused(
    tmp_path: Path, option: str, file: str, complaint: str
) -> None:
    (tmp_path / "state").mkdir()
    with pytest.raises(InputError, match=complaint):
        call(submit, option, file, "pi.py")


def test_a_directory_with_a_python_alone_is_no_virtual_environment(tmp_path: Path) -> None:
    (tmp_path / "conda" / "bin").mkdir(parents=True)
    (tmp_path / "conda" / "bin" / "python").touch()
    with pytest.raises(InputError, match="--venv 'conda' holds no bin/activate: name the directory of a virtual"):
        call(render, "--venv", "conda", "pi.py")


def test_a_port_for_metrics_is_no_file() -> None:
    printed = call(submit, "--scheduler", "local", "--dry-run", "--metrics", "0.0.0.0:9100", "pi.py")
    assert "--metrics 0.0.0.0:9100" in printed.stdout


def test_refused_jobs_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(JobSpecError, match="--qos"):
        call(submit, "--directive", "--qos=high", "pi.py")
    assert not (tmp_path / "state").exists()


def test_templates_that_cannot_be_read_are_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scoop_hpc" / "templates").mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(InputError, match="cannot read the templates in '.*/scoop_hpc/templates'"):
        template_directories({"XDG_CONFIG_HOME": str(tmp_path)})


# status, logs


def test_no_jobs_are_no_error() -> None:
    assert call(status, "--json").stdout == "[]\n"
    assert call(status).stdout == ""


def test_what_is_no_job_id_is_refused() -> None:
    with pytest.raises(InputError, match=r"'1\[2-4\]'"):
        call(status, "1[2-4]")


def test_logs_of_a_job_submitted_elsewhere_are_not_known() -> None:
    with pytest.raises(InputError, match="'7' was not submitted from here"):
        call(logs, "7")


def test_json_tells_what_is_known() -> None:
    job = Job("/state/jobs/1", JobSpec(("pi.py",), "/home/me", "pi"), "slurm", 5.0, "7")
    told = as_dict(Report("slurm", JobStatus("7", JobState.FAILED, "why", ("n1", "n2"), 3), job))
    assert json.loads(json.dumps(told)) == {
        "job_id": "7",
        "scheduler": "slurm",
        "cluster": None,
        "name": "pi",
        "state": "FAILED",
        "reason": "why",
        "exit_status": 3,
        "nodes": ["n1", "n2"],
        "submitted": 5.0,
        "started": None,
        "ended": None,
        "output": "/home/me/scoop-7.out",
        "directory": "/state/jobs/1",
    }


ROWS = [("JOB", "STATE", "EXIT", "NAME", "NODES", "SUBMITTED", "REASON"), ("7", "PENDING", "", "x" * 230, "", "", "r")]


def test_table_is_no_wider_than_the_terminal() -> None:
    assert [len(line) for line in fitted(ROWS, 80)] == [80, 75]
    assert "x..." in fitted(ROWS, 80)[1]


def test_names_are_whole_where_a_program_reads_them() -> None:
    assert fitted(ROWS, None) == table(ROWS)
    assert "x" * 230 in fitted(ROWS, None)[1]


def test_long_reason_is_cut_when_the_names_are_short() -> None:
    rows = [ROWS[0], ("7", "PENDING", "", "short", "", "", ("no room " * 20).strip())]
    assert max(map(len, fitted(rows, 80))) == 80
    assert "short" in fitted(rows, 80)[1]


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    assert table([("A", "B", "C"), ("long", "", "x"), ("1", "2", "")]) == ["A     B  C", "long     x", "1     2"]


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([report(JobState.COMPLETED, 0)], 0),
        ([report(JobState.COMPLETED)], 0),
        ([report(JobState.FAILED, 3)], 3),
        ([report(JobState.FAILED)], 1),
        ([report(JobState.UNKNOWN)], 1),
        ([report(JobState.CANCELLED, 143), report(JobState.FAILED, 3), report(JobState.COMPLETED, 0)], 143),
    ],
)
def test_exit_status_is_the_highest(reports: list[Report], expected: int) -> None:
    assert exit_status(reports) == expected


def test_a_reason_is_one_line() -> None:
    assert describe(report(JobState.FAILED, 3, "a\nb")) == "FAILED with exit status 3: a b"


# hosts


def test_hosts_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOOP_HPC_LOCAL_JOB_ID", "local-7")
    monkeypatch.setenv("SCOOP_HPC_LOCAL_NODES", "a:2,b:3")
    assert call(hosts).stdout == "a 2\nb 3\n"
    told = json.loads(call(hosts, "--json").stdout)
    assert told["job_id"] == "local-7"
    assert told["nodes"][1] == {"name": "b", "slots": 3, "cpus": 3}


def test_hosts_outside_a_job_is_an_error() -> None:
    with pytest.raises(InputError, match="not in a job"):
        call(hosts)


# why a job has ended


@pytest.mark.parametrize(
    ("scheduler", "record", "words"),
    [
        ("slurm", None, "its run never began: somebody cancelled it, or Slurm did"),
        ("sge", None, "its run never began: somebody cancelled it, or the scheduler did"),
        ("slurm", Record(JobState.CANCELLED, 1.0, ("n1",), "n1", 7), "somebody, or the scheduler, ended it"),
    ],
)
def test_a_job_that_was_cancelled_unstarted_is_told_so(scheduler: str, record: Record | None, words: str) -> None:
    client = Client({}, {}, "/state")
    (line,) = why(client, Report(scheduler, JobStatus("7", JobState.CANCELLED), record=record))
    assert line.startswith(words)


# following a file


def test_only_what_is_new_is_shown(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    path = tmp_path / "out"
    tail = Tail(str(path))
    assert not tail.show()
    shown = []
    for text in (b"one\n", b"one\ntw", b"one\ntw\xff\n", b"new\n"):
        path.write_bytes(text)
        assert tail.show()
        shown.append(capfdbinary.readouterr().out)
    assert shown == [b"one\n", b"tw", b"\xff\n", b"new\n"]


def test_why_a_job_has_not_begun_is_said_once_and_late() -> None:
    said: list[str] = []
    now = 100.0
    delay = Delay(said.append, lambda: now)
    held = report(JobState.PENDING, reason="JobHeldUser")
    delay.look([held])
    assert said == []
    now = 110.0
    delay.look([report(JobState.RUNNING), held, held])
    now = 200.0
    delay.look([held])
    assert said == ["waiting for job 7, which is PENDING: JobHeldUser, and 1 more; scoop-hpc explain 7 says more"]


def test_nothing_is_said_of_a_job_that_has_begun_in_time() -> None:
    said: list[str] = []
    now = 100.0
    delay = Delay(said.append, lambda: now)
    now = 111.0
    delay.look([report(JobState.RUNNING)])
    delay.look([report(JobState.PENDING)])
    assert said == []
