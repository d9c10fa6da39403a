"""Who may write the record of a job that runs more than once."""

from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import pytest

from scoop_hpc.events import CommandStarted, RunFailing, RunOver, Warned
from scoop_hpc.jobs import record as records
from scoop_hpc.jobs.record import Record, Recorder
from scoop_hpc.schedulers.job_state import JobState

FIRST = Record(JobState.RUNNING, 1.0, ("n1",), "n1", 7, job_id="12", attempt="a")
SECOND = replace(FIRST, started=2.0, pid=8, attempt="b")


def ended(record: Record, state: JobState = JobState.COMPLETED) -> Record:
    return replace(record, state=state, ended=9.0, exit_status=0)


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / records.FILE)
    records.begin(path, FIRST)
    return path


def test_a_run_that_begins_replaces_the_one_before(path: str) -> None:
    assert records.end(path, ended(FIRST))
    records.begin(path, SECOND)
    assert records.read(path) == SECOND


@pytest.mark.parametrize("later", [SECOND, ended(SECOND)], ids=["runs", "has ended"])
def test_a_former_run_does_not_write_over_a_newer_one(path: str, later: Record) -> None:
    records.begin(path, later)
    assert not records.end(path, ended(FIRST, JobState.FAILED))
    assert not records.end_lost(path, "a", "the driver died", 9.0)
    assert records.read(path) == later


def test_agent_ends_the_record_of_its_own_dead_driver(path: str) -> None:
    assert records.end_lost(path, "a", "the driver died", 9.0)
    assert records.read(path) == replace(FIRST, state=JobState.FAILED, ended=9.0, reason="the driver died")


def test_what_the_driver_said_of_the_end_counts_more_than_the_agents_guess(path: str) -> None:
    records.end(path, ended(FIRST))
    assert not records.end_lost(path, "a", "the driver died", 9.0)
    assert records.read(path) == ended(FIRST)


def test_a_driver_that_was_only_slow_has_the_last_word(path: str) -> None:
    records.end_lost(path, "a", "the driver died", 9.0)
    assert records.end(path, ended(FIRST))
    assert records.read(path) == ended(FIRST)


def test_a_damaged_record_is_written_over(path: str) -> None:
    Path(path).write_text("{")
    assert not records.end_lost(path, "a", "the driver died", 9.0)
    assert records.end(path, ended(FIRST))
    assert records.read(path) == ended(FIRST)


def test_record_of_an_earlier_version_can_be_read(path: str) -> None:
    text = records.to_json(FIRST).replace(', "attempt": "a"', "")
    assert records.from_json(text) == replace(FIRST, attempt="")


def test_record_of_a_later_version_can_be_read(path: str) -> None:
    text = records.to_json(FIRST).replace("{", '{"mood": "good", ', 1)
    assert records.from_json(text) == FIRST


def test_a_lock_that_is_not_to_be_had_keeps_nobody_from_the_record(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_PATIENCE", 0.02)

    def refuse(descriptor: int, how: int) -> None:
        raise BlockingIOError

    monkeypatch.setattr(fcntl, "lockf", refuse)
    records.begin(path, SECOND)
    assert records.read(path) == SECOND
    assert sorted(os.listdir(os.path.dirname(path))) == [records.FILE, records.LOCK]


STARTED = CommandStarted(("srun",), "n[1-2]", 9)


def test_a_record_is_written_from_the_drivers_events(path: str) -> None:
    recorder = Recorder(path, "b", ("n1", "n2"), "12", 8)
    recorder(Warned("more workers than CPUs"))
    assert records.read(path) == FIRST  # nothing of this run's has started
    recorder(STARTED)
    recorder(STARTED)
    begun = records.read(path)
    assert begun is not None
    assert (begun.state, begun.nodes, begun.pid, begun.attempt) == (JobState.RUNNING, ("n1", "n2"), 8, "b")
    recorder(RunOver("TIMEOUT", 143, "ended by SIGTERM: its walltime was over"))
    over = records.read(path)
    assert over == replace(
        begun,
        state=JobState.TIMEOUT,
        ended=over.ended if over else None,
        exit_status=143,
        reason="ended by SIGTERM: its walltime was over",
    )


def test_a_failure_is_recorded_before_the_run_is_over(path: str) -> None:
    recorder = Recorder(path, "b", ("n1",), "12", 8)
    recorder(STARTED)
    recorder(RunFailing(1, "qrsh (pid 9) on n1 died: killed by SIGKILL"))
    failing = records.read(path)
    assert failing is not None
    assert (failing.state, failing.exit_status, failing.reason[:4]) == (JobState.FAILED, 1, "qrsh")
    recorder(RunOver("FAILED", 3, "what is known at last"))
    over = records.read(path)
    assert over is not None
    assert (over.exit_status, over.reason) == (3, "what is known at last")


def test_a_run_that_ends_before_anything_has_started_is_recorded_too(path: str) -> None:
    Recorder(path, "b", ("n1",), None, 8)(RunOver("FAILED", 2, "no such launcher"))
    over = records.read(path)
    assert over is not None
    assert (over.state, over.attempt, over.reason) == (JobState.FAILED, "b", "no such launcher")


def test_a_record_that_cannot_be_written_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "nowhere" / "record.json")
    recorder = Recorder(path, "b", ("n1",), None, 8)
    recorder(STARTED)
    recorder(STARTED)
    recorder(RunOver("COMPLETED", 0, ""))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"scoop-hpc: warning: cannot write the record {path!r}: No such file or directory; ")
