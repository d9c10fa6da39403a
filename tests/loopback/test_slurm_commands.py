"""Slurm's commands are found on PATH, called once for many jobs, and believed; a fake plays each of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scoop_hpc.errors import SchedulerError
from scoop_hpc.jobs.commands import run_command

FAKES = Path(__file__).parents[1] / "fakes" / "slurm"
GONE = "slurm_load_jobs error: Invalid job id specified\n"


class FakeSlurm:
    """What the fakes answer, and how they were called."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.answers = directory / "answers"
        self.answers.mkdir()
        self.environ = {
            **os.environ,
            "PATH": f"{FAKES}:{os.environ['PATH']}",
            "FAKE_ANSWERS": str(self.answers),
            "SCOOP_HPC_STATE": str(directory / "state"),
        }
        (directory / "program.py").touch()

    def answer(self, command: str, out: str = "", err: str = "", status: int = 0) -> None:
        for name, text in (("out", out), ("err", err), ("rc", str(status))):
            (self.answers / f"{command}.{name}").write_text(text)

    def scoop_hpc(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "scoop_hpc", *words]
        return subprocess.run(
            argv, cwd=self.directory, env=self.environ, check=False, capture_output=True, text=True, timeout=120
        )

    def calls(self) -> list[str]:
        """Return the commands that were called since the last time."""
        path = self.answers / "calls"
        calls = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return calls

    def submit(self, job_id: int) -> None:
        self.answer("sbatch", f"{job_id}\n")
        done = self.scoop_hpc("submit", "--nodes", "2", "--parsable", "program.py")
        assert (done.returncode, done.stdout) == (0, f"{job_id}\n"), done.stderr

    def record(self) -> Path:
        """Return the file for the driver's record of the one job."""
        (job,) = (self.directory / "state" / "jobs").iterdir()
        return job / "record.json"


@pytest.fixture
def slurm(tmp_path: Path) -> FakeSlurm:
    """A Slurm of fakes, with no job in it."""
    return FakeSlurm(tmp_path)


def test_a_job_s_cluster_is_asked_from_a_shell_that_names_another(slurm: FakeSlurm) -> None:
    slurm.environ["SLURM_CLUSTERS"] = "slaking"
    slurm.answer("sbatch", "700;slaking\n")
    done = slurm.scoop_hpc("submit", "--json", "--workers", "1", "program.py")
    assert json.loads(done.stdout)["cluster"] == "slaking", done.stderr
    slurm.environ["SLURM_CLUSTERS"] = "home"
    slurm.answer("squeue", "CLUSTER: slaking\n700|RUNNING|None|0|n7|\n")
    slurm.calls()
    told = json.loads(slurm.scoop_hpc("status", "--json", "700").stdout)
    assert [(each["job_id"], each["cluster"], each["state"]) for each in told] == [("700", "slaking", "RUNNING")]
    assert slurm.scoop_hpc("cancel", "700").stdout == "Cancelled job 700@slaking\n"
    calls = slurm.calls()
    assert [call.split()[0] for call in calls] == ["squeue", "squeue", "scancel"]
    assert all("--clusters=slaking" in call.split() for call in calls)


def test_slurm_is_taken_where_it_is_found(slurm: FakeSlurm) -> None:
    slurm.answer("sbatch", "12;cluster\n", "sbatch: welcome\n")
    done = slurm.scoop_hpc("submit", "program.py")
    assert done.stdout == f"Submitted job 12 to slurm, cluster cluster; output: {slurm.directory}/scoop-12.out\n"
    (call,) = slurm.calls()
    script = Path(call.split()[-1])
    command = f"run --allocation slurm --record {script.parent}/record.json -- program.py"
    assert script.read_text().splitlines()[-1].endswith(command)


def test_another_scheduler_can_be_forced(slurm: FakeSlurm) -> None:
    done = slurm.scoop_hpc("submit", "--scheduler", "local", "--wait", "program.py")
    assert done.returncode == 0
    assert slurm.calls() == []


def test_a_refusal_is_one_line_and_leaves_nothing(slurm: FakeSlurm) -> None:
    words = "sbatch: error: invalid partition specified: nosuch\n"
    words += "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
    slurm.answer("sbatch", "", words, 1)
    done = slurm.scoop_hpc("submit", "program.py")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "--queue" in done.stderr
    assert not list((slurm.directory / "state" / "jobs").iterdir())


def test_a_submission_without_a_clear_answer_is_no_bad_input(slurm: FakeSlurm) -> None:
    slurm.answer("sbatch", "", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", 1)
    done = slurm.scoop_hpc("submit", "program.py")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "look for it with squeue before you submit it again" in done.stderr
    assert len(list((slurm.directory / "state" / "jobs").iterdir())) == 1  # where it would write its record


def test_many_jobs_are_one_call(slurm: FakeSlurm) -> None:
    slurm.submit(12)
    slurm.submit(13)
    slurm.calls()
    slurm.answer("squeue", "12|RUNNING|None|0|n[1-2]|\n13|PENDING|Resources|0||\n")
    rows = [line.split() for line in slurm.scoop_hpc("status").stdout.splitlines()[1:]]
    assert [row[:2] for row in rows] == [["12", "RUNNING"], ["13", "PENDING"]]
    assert [call.split()[0] for call in slurm.calls()] == ["squeue"]
    assert slurm.scoop_hpc("cancel", "12", "13").stdout == "Cancelled job 12\nCancelled job 13\n"
    assert slurm.calls()[1:] == ["scancel 12 13"]


@pytest.mark.parametrize(
    ("record", "state", "exit_status"),
    [
        (None, "UNKNOWN", None),
        ({"state": "FAILED", "exit_status": 4}, "FAILED", 4),
        ({"state": "RUNNING"}, "FAILED", None),
    ],
)
def test_a_job_that_slurm_has_forgotten_ends_as_its_driver_recorded(
    slurm: FakeSlurm, record: dict[str, object] | None, state: str, exit_status: int | None
) -> None:
    slurm.submit(12)
    if record is not None:
        about = {"started": 1.0, "nodes": ["n1"], "host": "n1", "pid": 7, **record}
        slurm.record().write_text(json.dumps(about))
    slurm.answer("squeue", "", GONE, 1)
    slurm.answer("sacct", "", "Slurm accounting storage is disabled\n", 1)
    (told,) = json.loads(slurm.scoop_hpc("status", "--json", "12").stdout)
    assert (told["state"], told["exit_status"]) == (state, exit_status)
    assert slurm.scoop_hpc("wait", "12").returncode == (exit_status or 1)


def test_a_job_that_nobody_knows_is_one_line(slurm: FakeSlurm) -> None:
    slurm.answer("squeue", "", GONE, 1)
    slurm.answer("sacct")
    done = slurm.scoop_hpc("status", "4711")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "no job '4711'" in done.stderr


def test_jobs_are_listed_also_where_their_scheduler_is_silent(slurm: FakeSlurm) -> None:
    slurm.submit(12)
    slurm.answer("squeue", "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n", 1)
    done = slurm.scoop_hpc("status")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split()[:2] == ["12", "UNKNOWN"]
    (warning,) = done.stderr.splitlines()
    assert "Unable to contact slurm controller (connect failure) (try again later); what is shown is" in warning


def test_of_jobs_that_are_named_all_that_is_known_is_told(slurm: FakeSlurm) -> None:
    slurm.submit(12)
    slurm.submit(13)
    slurm.answer("squeue", "12|RUNNING|None|0|n1|\n")
    slurm.answer("sacct", "", "sacct: error: slurm_persist_conn_open: Connection refused\n", 1)
    done = slurm.scoop_hpc("status", "12", "13")
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [["12", "RUNNING"], ["13", "UNKNOWN"]]
    assert done.stdout.splitlines()[2].endswith("no answer from slurm")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_colours_notices_and_words_around_cost_nothing(slurm: FakeSlurm) -> None:
    slurm.answer("sbatch", "\x1b[1mWelcome\x1b[0m: 7 hours left\n\x1b[32mSubmitted batch job 12\x1b[0m (project pi)\n")
    assert slurm.scoop_hpc("submit", "--parsable", "program.py").stdout == "12\n"
    slurm.answer("squeue", "\x1b[33mNotice: maintenance\x1b[0m\n\x1b[32m12|RUNNING|None|0|n1|\x1b[0m\n")
    done = slurm.scoop_hpc("status", "12")
    assert done.stdout.splitlines()[1].split()[:2] == ["12", "RUNNING"]
    assert done.stderr == "scoop-hpc: warning: passed over what squeue printed about no job: 'Notice: maintenance'\n"


def test_a_job_whose_id_cannot_be_read_is_no_success(slurm: FakeSlurm) -> None:
    slurm.answer("sbatch", "job accepted\n")
    done = slurm.scoop_hpc("submit", "--parsable", "program.py")
    assert (done.returncode, done.stdout) == (1, "")
    assert "it may have been taken all the same: look for it with squeue" in done.stderr


def test_a_job_that_cannot_be_read_is_cancelled_but_not_submitted_again(slurm: FakeSlurm) -> None:
    slurm.submit(12)
    slurm.answer("squeue", "12|NEWSTATE|None|0|n1|\n")
    slurm.answer("sacct")
    slurm.calls()
    done = slurm.scoop_hpc("requeue", "12")
    assert done.returncode == 2
    assert "job 12 may be running: cannot read what squeue says of it: '12|NEWSTATE|None|0|n1|'" in done.stderr
    assert "sbatch" not in {call.split()[0] for call in slurm.calls()}
    slurm.answer("scancel")
    assert slurm.scoop_hpc("cancel", "12").stdout == "Cancelled job 12\n"
    assert slurm.calls()[-1] == "scancel 12"


def test_a_command_that_hangs_is_named(slurm: FakeSlurm) -> None:
    (slurm.answers / "squeue.hang").touch()
    with pytest.raises(SchedulerError, match=r"no answer from '.*squeue' within 0.5 s"):
        run_command([str(FAKES / "squeue")], slurm.environ, 0.5)


def test_a_command_that_is_missing_is_named() -> None:
    with pytest.raises(SchedulerError, match="cannot run 'no-such-sbatch': No such file.*--scheduler local"):
        run_command(["no-such-sbatch"], dict(os.environ))


def test_the_job_of_an_array_that_failed_is_the_one_whose_output_to_see(slurm: FakeSlurm) -> None:
    slurm.answer("sbatch", "12\n")
    assert slurm.scoop_hpc("submit", "--array", "0-1", "program.py").returncode == 0
    slurm.answer("squeue", "12_0|COMPLETED|None|0|n1|\n12_1|FAILED|NonZeroExitCode|256|n1|\n")
    told = slurm.scoop_hpc("explain", "12").stdout.splitlines()
    assert told == [
        "Job 12 is FAILED with exit status 1: 1 COMPLETED, 1 FAILED",
        "  what it printed may say why: scoop-hpc logs 12_1",
    ]


@pytest.mark.parametrize("option", ["--memory=40M", "--memory-per-cpu=20M"])
def test_memory_that_idle_workers_would_not_fit_into_is_told_beforehand(slurm: FakeSlurm, option: str) -> None:
    slurm.answer("sbatch", "7\n")
    said = slurm.scoop_hpc("submit", "--workers-per-node=2", option, "program.py").stderr
    name = option.partition("=")[0]
    assert said == (
        f"scoop-hpc: warning: 2 workers on a node need 56 MiB at least, {name} grants 40 MiB: give more by {name}, or "
        "the job will end when it begins\n"
    )
