"""What `scoop-hpc web` knows of a run: its looks, also when it falls silent, and the files that it prints to."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as changed

from scoop_hpc.cli.look.find import Found, look_once
from scoop_hpc.cli.look.web import Looks, outputs
from scoop_hpc.errors import ScoopError
from scoop_hpc.fields.array import JobArray
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.jobs import directories, former_output, look
from scoop_hpc.jobs.directories import Job
from scoop_hpc.jobs.report import Report
from scoop_hpc.jobs.snapshot import VERSION, Snapshot
from scoop_hpc.schedulers.answers import JobStatus
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.web.search import Output

SEEN = Snapshot(VERSION, "ab", "41", "p.py", "elsewhere", 7, "", 1000.0, 1000.0, 0.0, None, "running")
NOON = 1795348800.0


class Time:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


class Run:
    """A run whose driver writes when the test does; *found* is what a search for its job finds."""

    def __init__(self, directory: Path) -> None:
        self.time = Time()
        self.path = str(directory / look.FILE)
        self.found = Found(self.path, "job 41")
        self.searches = 0

    def looks(self) -> Looks:
        return Looks(self.found, self._search, self.time)

    def _search(self) -> Found:
        self.searches += 1
        return self.found

    def end(self) -> None:
        """Let the scheduler say that the job was cancelled."""
        self.found = replace(self.found, ended=Report("slurm", JobStatus("41", JobState.CANCELLED)))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_nothing_is_known_before_the_run_begins(run: Run) -> None:
    assert run.looks().look() is None


def test_newest_look_is_what_is_known(run: Run) -> None:
    looks = run.looks()
    for elapsed in (1.0, 2.0):
        seen = changed(SEEN, time=1000 + elapsed, elapsed_s=elapsed)
        look.write(run.path, seen)
        assert looks.look() == seen


def test_driver_that_is_silent_is_complained_of_until_it_answers(run: Run) -> None:
    look.write(run.path, SEEN)
    looks = run.looks()
    looks.look()
    run.time.now += 12
    with pytest.raises(ScoopError, match="no news for 12 s: the driver .* on elsewhere does not answer"):
        looks.look()
    look.write(run.path, changed(SEEN, time=1012.0))
    assert looks.look() == changed(SEEN, time=1012.0)


def test_scheduler_is_asked_now_and_then_about_a_silent_run(run: Run) -> None:
    look.write(run.path, SEEN)
    looks = run.looks()
    looks.look()
    for _ in range(60):
        run.time.now += 1
        try:
            looks.look()
        except ScoopError:
            continue
    assert run.searches == 1
    run.end()
    run.time.now += 31
    with pytest.raises(ScoopError):
        looks.look()  # it is asked here
    ended = looks.look()
    assert ended is not None
    assert (ended.state, ended.reason) == ("ended", "CANCELLED")


def test_job_that_ended_before_its_run_began_is_said(run: Run) -> None:
    run.end()
    with pytest.raises(ScoopError, match="nothing is known of what the job 41 did"):
        run.looks().look()


def submitted(tmp_path: Path, **fields: object) -> Job:
    spec = JobSpec(("pi.py",), str(tmp_path), "pi", workers=1, output="fixed.out")
    job = directories.create(str(tmp_path / "state"), replace(spec, **fields), "slurm", NOON)  # type: ignore[arg-type]
    job = replace(job, job_id="7")
    directories.write(job)
    return job


def outputs_of(job: Job, name: str = look.FILE) -> list[Output]:
    return outputs(os.path.join(job.directory, name))


def test_run_without_a_job_has_no_known_output(tmp_path: Path) -> None:
    assert outputs(str(tmp_path / look.FILE)) == []


def test_output_and_error_are_searched(tmp_path: Path) -> None:
    job = submitted(tmp_path, error="{job_id}.err")
    assert [each.path for each in outputs_of(job)] == [f"{tmp_path}/fixed.out", f"{tmp_path}/7.err"]


def test_job_of_an_array_has_its_own_output(tmp_path: Path) -> None:
    job = submitted(tmp_path, array=JobArray(3, 4), output="{job_id}-{array_index}.out")
    assert outputs_of(job, "look-3.json") == [Output(f"{tmp_path}/7-3.out")]


def test_what_was_in_the_file_before_is_not_searched(tmp_path: Path) -> None:
    output = tmp_path / "fixed.out"
    output.write_text("old\n")
    job = submitted(tmp_path)
    former_output.note(replace(job, job_id=None), lambda: False)
    assert outputs_of(job) == []
    output.write_text("new, and longer\n")
    assert outputs_of(job) == [Output(str(output), 0)]


def test_what_the_scheduler_appends_to_is_searched_from_there_on(tmp_path: Path) -> None:
    output = tmp_path / "fixed.out"
    output.write_text("old\n")
    job = submitted(tmp_path)
    former_output.note(replace(job, job_id=None), lambda: True)
    assert outputs_of(job) == [Output(str(output), 4)]


def test_files_of_workers_are_searched(tmp_path: Path) -> None:
    job = submitted(tmp_path, worker_logs="logs-{job_id}[a]")
    directory = tmp_path / "logs-7[a]"
    directory.mkdir()
    for name in ("worker-0.1.log", "worker-0.2.log", "notes.txt"):
        (directory / name).touch()
    names = [os.path.basename(each.path) for each in outputs_of(job)]
    assert names == ["fixed.out", "worker-0.1.log", "worker-0.2.log"]


def test_run_that_has_not_begun_names_the_command_that_says_why(tmp_path: Path) -> None:
    time = Time()

    def sleep(seconds: float) -> None:
        time.now += seconds

    with pytest.raises(ScoopError, match="^the run of job 41 has not begun: scoop-hpc explain 41 says why$"):
        look_once(Found(str(tmp_path / look.FILE), "job 41"), time, sleep)


def test_job_that_is_pending_is_said_to_be_before_its_run_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / look.FILE)
    told: list[str] = []

    def sleep(seconds: float) -> None:
        assert told == ["job 41 is PENDING: Priority; waiting for its run, 10 s at most"]
        look.write(path, SEEN)

    pending = Report("slurm", JobStatus("41", JobState.PENDING, reason="Priority"))
    found = Found(path, "job 41", may_begin_again=True, pending=pending)
    assert look_once(found, Time(), sleep, told.append) == (SEEN, True)
    look.write(path, changed(SEEN, state="ended"))
    assert look_once(found, Time(), sleep, pytest.fail)[1]  # there is something to see: its run before
