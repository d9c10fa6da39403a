"""The client asks no more often than it must, and puts together what it hears; Slurm's words, no process."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from scoop_hpc.errors import (
    InputError,
    JobSpecError,
    PerhapsSubmittedError,
    SchedulerError,
    ScoopError,
    UnansweredError,
)
from scoop_hpc.fields.array import JobArray
from scoop_hpc.fields.spec import JobSpec, option_of
from scoop_hpc.jobs import directories
from scoop_hpc.jobs import record as records
from scoop_hpc.jobs.client import Client
from scoop_hpc.jobs.commands import check_present
from scoop_hpc.jobs.directories import Job
from scoop_hpc.jobs.record import Record
from scoop_hpc.jobs.report import Report, goes_on, is_queued
from scoop_hpc.jobs.status import is_unanswered
from scoop_hpc.schedulers.answers import Completed, JobStatus
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.registry import SCHEDULERS

SLURM = SCHEDULERS["slurm"]
SPEC = JobSpec(("pi.py",), "/home/me", "pi")
GONE = (1, "", "slurm_load_jobs error: Invalid job id specified")
NO_ACCOUNTS = (1, "", "Slurm accounting storage is disabled")

Answer = tuple[int, str, str] | SchedulerError


@dataclass
class Slurm:
    """Commands that answer as told: in turn, the last answer again and again."""

    answers: dict[str, list[Answer]]
    calls: list[tuple[str, ...]] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)
    pauses: list[float] = field(default_factory=list)

    def run(self, argv: Sequence[str], environ: Mapping[str, str]) -> Completed:
        self.calls.append(tuple(argv))
        self.environ = dict(environ)
        answers = self.answers[argv[0]]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, SchedulerError):
            raise answer
        return Completed(tuple(argv), *answer)

    def called(self) -> list[str]:
        return [call[0] for call in self.calls]


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def squeue(*lines: str) -> Answer:
    return (0, "".join(f"{line}\n" for line in lines), "")


def error_from(cause: BaseException) -> SchedulerError:
    error = SchedulerError("told so")
    error.__cause__ = cause
    return error


def client_of(slurm: Slurm, tmp_path: Path, **environ: str) -> Client:
    return Client(SCHEDULERS, environ, str(tmp_path), slurm.run, sleep=slurm.pauses.append)


def submitted(client: Client, slurm: Slurm, job_id: str = "7", now: float = 1.0) -> Job:
    slurm.answers["sbatch"] = [(0, f"{job_id}\n", "")]
    job = client.submit(SPEC, SLURM, lambda job: f"#!/bin/sh\nexec {job.record}\n", now)
    slurm.calls.clear()
    return job


def depending(field: str, job_id: str) -> JobSpec:
    """Return a job that waits for another, as *field* says."""
    changes: dict[str, Any] = {field: (job_id,)}
    return replace(SPEC, **changes)


def record_end(job: Job, state: JobState, exit_status: int | None, reason: str = "") -> None:
    records.write(job.record, Record(state, 1.0, ("n1",), "n1", 7, exit_status=exit_status, reason=reason))


def test_a_submitted_job_has_its_script_and_its_id_in_its_directory(tmp_path: Path) -> None:
    slurm = Slurm({"sbatch": [(0, "motd of the site\n12;cluster\n", "")]})
    job = client_of(slurm, tmp_path).submit(SPEC, SLURM, lambda job: f"exec {job.record}", 1.0)
    assert slurm.calls == [("sbatch", "--parsable", job.script)]
    assert Path(job.script).read_text() == f"exec {job.directory}/record.json"
    known = directories.read(job.directory)
    assert known == job
    assert job.job_id == "12"


def test_an_outer_jobs_variables_do_not_reach_the_submission(tmp_path: Path) -> None:
    slurm = Slurm({"sbatch": [(0, "12\n", "")]})
    client = client_of(slurm, tmp_path, SLURM_JOB_ID="1", SLURM_CONF="/etc/slurm.conf", HOME="/home/me")
    client.submit(SPEC, SLURM, lambda job: "", 1.0)
    assert slurm.environ == {"SLURM_CONF": "/etc/slurm.conf", "HOME": "/home/me"}


def test_a_refused_job_leaves_no_directory(tmp_path: Path) -> None:
    slurm = Slurm({"sbatch": [(1, "", "sbatch: error: Batch job submission failed: Invalid partition name specified")]})
    with pytest.raises(SchedulerError, match="--queue"):
        client_of(slurm, tmp_path).submit(SPEC, SLURM, lambda job: "", 1.0)
    assert os.listdir(tmp_path / "jobs") == []


def test_a_job_that_may_have_been_taken_keeps_its_directory(tmp_path: Path) -> None:
    timed_out = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    answers: list[Answer] = [UnansweredError("no answer"), (1, "", timed_out), (0, "welcome\n", "")]
    slurm = Slurm({"sbatch": answers})
    client = client_of(slurm, tmp_path)
    for number in range(1, 4):
        with pytest.raises(PerhapsSubmittedError):
            client.submit(SPEC, SLURM, lambda job: "", 1.0)
        assert len(os.listdir(tmp_path / "jobs")) == number
    (directory, *_) = sorted((tmp_path / "jobs").iterdir())
    records.write(str(directory / records.FILE), Record(JobState.RUNNING, 1.0, ("n1",), "n1", 7, job_id="12"))
    assert [job.job_id for job in client.recent(None)] == ["12"]


def test_a_job_that_was_taken_but_not_noted_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = Slurm({"sbatch": [(0, "12\n", "")]})
    write = directories.write

    def fail_once_taken(job: Job) -> None:
        if job.job_id:
            raise InputError("cannot write 'job.json': No space left on device")
        write(job)

    monkeypatch.setattr(directories, "write", fail_once_taken)
    with pytest.raises(ScoopError, match="job 12 was submitted to slurm, but: .*No space left"):
        client_of(slurm, tmp_path).submit(SPEC, SLURM, lambda job: "", 1.0)


def test_many_jobs_are_one_question(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [squeue("7|RUNNING|None|0|n[1-2]|", "8|PENDING|Resources|0||")]})
    client = client_of(slurm, tmp_path)
    submitted(client, slurm, "7"), submitted(client, slurm, "8")
    answers = client.status(client.find(["8", "7", "8"], SLURM))
    assert [(report.status.job_id, report.status.state) for report in answers] == [
        ("8", JobState.PENDING),
        ("7", JobState.RUNNING),
    ]
    assert answers[1].status.nodes == ("n1", "n2")
    assert slurm.called() == ["squeue"]


def test_what_one_command_has_forgotten_the_next_is_asked(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [GONE], "sacct": [squeue("7|FAILED|NonZeroExitCode|3:0|n1")]})
    client = client_of(slurm, tmp_path)
    submitted(client, slurm)
    (report,) = client.status(client.find(["7"], SLURM))
    assert (report.status.state, report.status.exit_status) == (JobState.FAILED, 3)


def test_a_site_without_sacct_is_no_error(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [GONE], "sacct": [error_from(FileNotFoundError("sacct"))]})
    client = client_of(slurm, tmp_path)
    job = submitted(client, slurm)
    record_end(job, JobState.FAILED, 4)
    (report,) = client.status(client.find(["7"], SLURM))
    assert (report.status.state, report.status.exit_status) == (JobState.FAILED, 4)


def test_a_forgotten_job_ends_as_the_scheduler_last_said(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [squeue("7|CANCELLED|None|0||"), GONE], "sacct": [NO_ACCOUNTS]})
    client = client_of(slurm, tmp_path)
    submitted(client, slurm)
    for _ in range(2):
        (report,) = client.status(client.find(["7"], SLURM))
        assert report.status.state is JobState.CANCELLED


def test_way_into_the_run_of_a_job_that_was_killed_is_removed_when_that_is_known(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [squeue("7|RUNNING|None|0|n1|"), GONE], "sacct": [squeue("7|TIMEOUT|None|0:0|n1")]})
    client = client_of(slurm, tmp_path)
    door = Path(submitted(client, slurm).directory, "join.json")
    door.touch()
    client.status(client.find(["7"], SLURM))
    assert door.exists()
    client.status(client.find(["7"], SLURM))
    assert not door.exists()


def test_of_two_jobs_with_one_id_the_later_is_meant(tmp_path: Path) -> None:
    slurm = Slurm({})
    client = client_of(slurm, tmp_path)
    submitted(client, slurm, now=1.0)
    later = submitted(client, slurm, now=2.0)
    assert [report.job for report in client.find(["7"], SLURM)] == [later]


def test_recent_jobs_end_with_the_newest(tmp_path: Path) -> None:
    slurm = Slurm({})
    client = client_of(slurm, tmp_path)
    for number in range(5):
        submitted(client, slurm, str(number), now=float(number))
    assert [job.job_id for job in client.recent(3)] == ["2", "3", "4"]


def test_a_job_submitted_by_hand_is_asked_for(tmp_path: Path) -> None:
    client = client_of(Slurm({"squeue": [squeue("9|RUNNING|None|0|n1|")]}), tmp_path)
    (report,) = client.status(client.find(["9"], SLURM))
    assert report.job is None
    assert report.status.state is JobState.RUNNING


def test_a_job_that_none_knows_is_named(tmp_path: Path) -> None:
    client = client_of(Slurm({"squeue": [GONE], "sacct": [squeue()]}), tmp_path)
    with pytest.raises(InputError, match="no job '4711'"):
        client.status(client.find(["4711"], SLURM))


def test_what_cannot_be_a_job_id_is_refused(tmp_path: Path) -> None:
    client = client_of(Slurm({}), tmp_path)
    reports = client.find(["pi.py"], SLURM)
    with pytest.raises(JobSpecError, match="'pi.py'"):
        client.status(reports)


def test_a_scheduler_of_another_version_is_named(tmp_path: Path) -> None:
    slurm = Slurm({})
    client = client_of(slurm, tmp_path)
    submitted(client, slurm)
    old = Client({"local": SCHEDULERS["local"]}, {}, str(tmp_path), slurm.run)
    reports = old.reports(old.recent(1))
    with pytest.raises(JobSpecError, match="'slurm'"):
        old.status(reports)
    troubles: list[SchedulerError] = []
    (report,) = old.status(reports, troubles.append)
    assert report.status.state is JobState.UNKNOWN
    assert "'slurm' is unknown here" in str(troubles[0])
    assert old.remembered(reports) == [report]


def test_a_silent_scheduler_makes_no_job_failed(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [SchedulerError("no controller")], "sacct": [SchedulerError("no database")]})
    client = client_of(slurm, tmp_path)
    record_end(submitted(client, slurm, "7", 1.0), JobState.RUNNING, None)
    record_end(submitted(client, slurm, "8", 2.0), JobState.FAILED, 3)
    troubles: list[SchedulerError] = []
    states = [report.status.state for report in client.status(client.reports(client.recent(9)), troubles.append)]
    assert states == [JobState.UNKNOWN, JobState.FAILED]
    assert len(troubles) == 1
    with pytest.raises(SchedulerError, match="no controller"):
        client.status(client.reports(client.recent(9)))


def test_a_job_cancelled_before_it_began_is_not_forgotten(tmp_path: Path) -> None:
    slurm = Slurm(
        {"squeue": [squeue("7|PENDING|Priority|0|(null)|"), GONE], "sacct": [NO_ACCOUNTS], "scancel": [(0, "", "")]}
    )
    client = client_of(slurm, tmp_path)
    submitted(client, slurm)
    client.cancel(client.status(client.find(["7"], SLURM)))
    (report,) = client.status(client.find(["7"], SLURM))
    assert (report.status.state, report.status.reason) == (JobState.CANCELLED, "cancelled before it began")


@pytest.mark.parametrize("then", [GONE, squeue("7|CANCELLED|None|0||")], ids=["forgotten", "told"])
def test_a_requeued_job_cancelled_while_it_waits_is_not_told_with_its_former_runs_end(
    tmp_path: Path, then: Answer
) -> None:
    slurm = Slurm({"squeue": [squeue("7|PENDING|BeginTime|0|(null)|"), then], "sacct": [NO_ACCOUNTS]})
    slurm.answers["scancel"] = [(0, "", "")]
    client = client_of(slurm, tmp_path)
    record_end(submitted(client, slurm), JobState.FAILED, 3, "origin died")
    client.cancel(client.status(client.find(["7"], SLURM)))
    for _ in range(2):
        (report,) = client.status(client.find(["7"], SLURM))
        status = report.status
        assert (status.state, status.nodes, status.exit_status) == (JobState.CANCELLED, (), None)
        assert status.reason == "cancelled before it began again"
        assert report.record is not None  # what it printed then can be shown


def test_cancelling_many_is_one_command(tmp_path: Path) -> None:
    slurm = Slurm({"scancel": [(0, "", "")]})
    client = client_of(slurm, tmp_path)
    submitted(client, slurm, "7"), submitted(client, slurm, "8")
    client.cancel(client.find(["7", "8"], SLURM))
    assert slurm.calls == [("scancel", "7", "8")]


def test_commands_that_are_missing_are_named() -> None:
    with pytest.raises(SchedulerError, match=r"'slurm' is not here: sbatch, scancel not found.*--scheduler local"):
        check_present(SLURM, {"squeue": "/usr/bin/squeue"}.get)


class Waiting:
    """A client that waits for job 7, by a clock that only sleeping moves."""

    def __init__(self, tmp_path: Path, *answers: Answer) -> None:
        self.slurm = Slurm({"squeue": list(answers), "sacct": [NO_ACCOUNTS]})
        self.client = client_of(self.slurm, tmp_path)
        self.job = submitted(self.client, self.slurm)
        self.clock = Clock()
        self.ticks: list[float] = []
        self.troubles: list[SchedulerError] = []

    def wait(self, timeout: float | None = None) -> Report:
        reports = self.client.find(["7"], SLURM)
        (report,) = self.client.wait(reports, self._tick, self.troubles.append, timeout, self.clock, self.clock.sleep)
        return report

    def _tick(self, reports: Sequence[Report]) -> None:
        self.ticks.append(self.clock.now)

    def questions(self) -> int:
        return self.slurm.called().count("squeue")


RUNNING, COMPLETED = squeue("7|RUNNING|None|0|n1|"), squeue("7|COMPLETED|None|0|n1|")


def test_waiting_ends_with_the_job(tmp_path: Path) -> None:
    waiting = Waiting(tmp_path, RUNNING, RUNNING, COMPLETED)
    assert waiting.wait().status.state is JobState.COMPLETED
    assert waiting.questions() == 3


def test_waiting_in_vain_for_an_answer_claims_nothing(tmp_path: Path) -> None:
    waiting = Waiting(tmp_path, (1, "", "slurm_load_jobs error: Unable to contact slurm controller\n"))
    told = waiting.wait(timeout=30)
    assert (told.status.state, told.status.reason) == (JobState.UNKNOWN, "no answer from slurm")
    assert is_unanswered(told)


def test_waiting_asks_ever_more_seldom(tmp_path: Path) -> None:
    waiting = Waiting(tmp_path, RUNNING)
    assert waiting.wait(timeout=3600).status.state is JobState.RUNNING
    assert waiting.clock.now == pytest.approx(1000 + 3600, abs=1)
    assert waiting.questions() < 3600 / 15 + 25


def test_waiting_for_thousands_keeps_to_its_timeout(tmp_path: Path) -> None:
    slurm = Slurm(
        {"squeue": [squeue(*(f"7_{i}|PENDING|Resources|0||" for i in range(3000)))], "sbatch": [(0, "7\n", "")]}
    )
    client, clock = client_of(slurm, tmp_path), Clock()
    client.submit(replace(SPEC, array=JobArray(0, 2999)), SLURM, lambda job: "", 1.0)
    ticks: list[float] = []
    client.wait(client.find(["7"], SLURM), lambda _: ticks.append(clock.now), print, 12.0, clock, clock.sleep)
    assert clock.now == 1012
    assert max(later - earlier for earlier, later in zip(ticks, ticks[1:])) <= 5


def test_a_record_of_the_end_is_a_reason_to_ask_at_once(tmp_path: Path) -> None:
    waiting = Waiting(tmp_path, RUNNING)
    ended_at: list[float] = []

    def tick(reports: Sequence[Report]) -> None:
        if waiting.clock.now > 2000 and not ended_at:
            ended_at.append(waiting.clock.now)
            record_end(waiting.job, JobState.FAILED, 3)
            waiting.slurm.answers["squeue"] = [RUNNING, squeue("7|FAILED|None|768|n1|")]

    reports = waiting.client.find(["7"], SLURM)
    (report,) = waiting.client.wait(reports, tick, waiting.troubles.append, None, waiting.clock, waiting.clock.sleep)
    assert (report.status.state, report.status.exit_status) == (JobState.FAILED, 3)
    assert waiting.clock.now - ended_at[0] < 1.5


def test_a_scheduler_that_is_away_for_a_while_does_not_end_the_waiting(tmp_path: Path) -> None:
    away = SchedulerError("no controller")
    waiting = Waiting(tmp_path, RUNNING, away, away, RUNNING, away, COMPLETED)
    assert waiting.wait().status.state is JobState.COMPLETED
    assert len(waiting.troubles) == 2  # one warning for each time that it was away


def test_a_scheduler_that_is_not_there_at_all_is_an_error(tmp_path: Path) -> None:
    missing = SchedulerError("no squeue")
    missing.__cause__ = FileNotFoundError()
    with pytest.raises(SchedulerError, match="no squeue"):
        Waiting(tmp_path, missing).wait()


def test_a_scheduler_that_is_away_at_first_does_not_end_the_waiting(tmp_path: Path) -> None:
    waiting = Waiting(tmp_path, SchedulerError("no controller"), COMPLETED)
    assert waiting.wait().status.state is JobState.COMPLETED


def test_a_job_that_nobody_has_ever_told_of_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [(1, "", "Socket timed out")], "sacct": [(1, "", "no database")]})
    client, clock = client_of(slurm, tmp_path), Clock()
    reports = client.find(["4711"], SLURM)
    with pytest.raises(SchedulerError, match="Socket timed out"):
        client.wait(reports, lambda reports: None, lambda error: None, None, clock, clock.sleep)
    assert clock.now - 1000 < 120


def test_an_end_that_cannot_be_kept_is_told_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_ends(job: Job, said: object) -> None:
        raise InputError("disk full")

    monkeypatch.setattr(directories, "write_ends", write_ends)
    assert Waiting(tmp_path, COMPLETED).wait().status.state is JobState.COMPLETED


def test_what_was_printed_last_is_seen_too(tmp_path: Path) -> None:
    waiting = Waiting(tmp_path, RUNNING, COMPLETED)
    waiting.wait()
    assert waiting.ticks[-1] == waiting.clock.now
    assert len(waiting.ticks) >= 2


def test_waiting_believes_accounts_that_come_late_rather_than_a_guess(tmp_path: Path) -> None:
    waiting = Waiting(tmp_path, RUNNING, RUNNING, GONE)
    records.write(waiting.job.record, Record(JobState.RUNNING, 1.0, ("n1",), "n1", 7))
    waiting.slurm.answers["sacct"] = [*[(0, "", "")] * 5, (0, "7|TIMEOUT|None|0:9|n1\n", "")]
    assert waiting.wait().status.state is JobState.TIMEOUT


def test_waiting_for_accounts_that_never_come_ends(tmp_path: Path) -> None:
    waiting = Waiting(tmp_path, RUNNING, RUNNING, GONE)
    records.write(waiting.job.record, Record(JobState.RUNNING, 1.0, ("n1",), "n1", 7))
    status = waiting.wait().status
    assert (status.state, status.reason) == (JobState.FAILED, "the driver ended without a word")
    assert 15 < waiting.clock.now - 1000 < 40


@pytest.mark.parametrize(("ago", "state"), [(1, JobState.TIMEOUT), (3600, JobState.FAILED)])
def test_a_driver_that_was_lost_just_now_may_have_been_put_back(tmp_path: Path, ago: int, state: JobState) -> None:
    waiting = Waiting(tmp_path, GONE, squeue("7|PENDING|None|0||"), squeue("7|TIMEOUT|None|15|n1|"))
    lost = Record(
        JobState.FAILED,
        1.0,
        ("n1",),
        "n1",
        7,
        ended=time.time() - ago,
        reason=f"x {records.DRIVER_LOST}",
    )
    records.write(waiting.job.record, lost)
    assert waiting.wait().status.state is state


@pytest.mark.parametrize("lost", [True, False], ids=["its agent told", "nobody told"])
def test_an_end_that_the_scheduler_has_told_of_is_not_waited_for_again(tmp_path: Path, lost: bool) -> None:
    waiting = Waiting(tmp_path, RUNNING, squeue("7|FAILED|None|265|n1|"))
    record = Record(JobState.RUNNING, 1.0, ("n1",), "n1", 7)
    if lost:
        record = replace(record, state=JobState.FAILED, ended=time.time(), reason=f"x {records.DRIVER_LOST}")
    records.write(waiting.job.record, record)
    assert waiting.wait().status.state is JobState.FAILED
    assert waiting.clock.now - 1000 < 5


def test_waiting_for_a_job_that_nobody_remembers_ends(tmp_path: Path) -> None:
    assert Waiting(tmp_path, GONE).wait().status.state is JobState.UNKNOWN


ARRAY = replace(SPEC, array=JobArray(0, 3), output="{job_id}.{array_index}")


def submitted_array(client: Client, slurm: Slurm) -> Job:
    slurm.answers["sbatch"] = [(0, "7\n", "")]
    job = client.submit(ARRAY, SLURM, lambda job: "#!/bin/sh\n", 1.0)
    slurm.calls.clear()
    return job


def test_an_array_stands_as_its_jobs_do(tmp_path: Path) -> None:
    lines = (
        "7_0|COMPLETED|None|0|n1|",
        "7_1|RUNNING|None|0|n2|",
        "7_2|PENDING|Resources|0||",
        "7_3|FAILED|None|768|n1|",
    )
    slurm = Slurm({"squeue": [squeue(*lines)]})
    client = client_of(slurm, tmp_path)
    submitted_array(client, slurm)
    (report,) = client.status(client.find(["7"], SLURM))
    assert report.status.state is JobState.RUNNING
    assert report.status.reason == "1 PENDING, 1 RUNNING, 1 COMPLETED, 1 FAILED"
    assert report.status.nodes == ("n1", "n2")
    assert [element.status.state.value for element in report.elements] == ["COMPLETED", "RUNNING", "PENDING", "FAILED"]
    assert slurm.called() == ["squeue"]


def test_one_job_of_an_array_has_its_own_end_output_and_record(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [squeue("7_3|FAILED|None|768|n1|")]})
    client = client_of(slurm, tmp_path)
    job = submitted_array(client, slurm)
    records.write(
        records.of_element(job.record, 3),
        Record(JobState.FAILED, 1.0, ("n1",), "n1", 7, exit_status=3, reason="origin died"),
    )
    (report,) = client.status(client.find(["7_3"], SLURM))
    assert (report.status.job_id, report.status.exit_status, report.status.reason) == ("7_3", 3, "origin died")
    assert report.output == "/home/me/7.3"
    assert slurm.calls[0][-2] == "--jobs=7_3"


def test_ends_of_an_array_s_jobs_are_kept_as_they_come(tmp_path: Path) -> None:
    answers = [
        squeue(
            "7_0|COMPLETED|None|0|n1|", "7_1|RUNNING|None|0|n2|", "7_2|RUNNING|None|0|n1|", "7_3|RUNNING|None|0|n1|"
        ),
        squeue("7_1|COMPLETED|None|0|n2|", "7_2|COMPLETED|None|0|n1|", "7_3|TIMEOUT|None|15|n1|"),
        GONE,
    ]
    slurm = Slurm({"squeue": answers, "sacct": [NO_ACCOUNTS]})
    client = client_of(slurm, tmp_path)
    submitted_array(client, slurm)
    for expected in (JobState.RUNNING, JobState.TIMEOUT, JobState.TIMEOUT):
        (report,) = client.status(client.find(["7"], SLURM))
        assert report.status.state is expected
    assert report.status.reason == "3 COMPLETED, 1 TIMEOUT"


@pytest.mark.parametrize("job_id", ["7_4", "8_0"])
def test_a_number_that_is_not_in_the_array_is_refused(tmp_path: Path, job_id: str) -> None:
    slurm = Slurm({})
    client = client_of(slurm, tmp_path)
    submitted_array(client, slurm)
    submitted(client, slurm, "8", 2.0)
    with pytest.raises(InputError, match=f"no job '{job_id}'"):
        client.find([job_id], SLURM)


def test_waiting_for_an_array_ends_with_its_last_job(tmp_path: Path) -> None:
    both = squeue(
        "7_0|COMPLETED|None|0|n1|", "7_1|COMPLETED|None|0|n1|", "7_2|COMPLETED|None|0|n1|", "7_3|PENDING|None|0||"
    )
    rest = squeue("7_3|COMPLETED|None|0|n1|")
    slurm = Slurm({"squeue": [both, both, rest], "sacct": [NO_ACCOUNTS]})
    client, clock = client_of(slurm, tmp_path), Clock()
    submitted_array(client, slurm)
    (report,) = client.wait(
        client.find(["7"], SLURM), lambda reports: None, lambda error: None, None, clock, clock.sleep
    )
    assert (report.status.state, report.status.exit_status) == (JobState.COMPLETED, 0)
    assert slurm.called().count("squeue") == 3


def test_an_answer_that_is_an_error_is_asked_for_again_and_not_for_ever(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [(1, "", "Socket timed out"), squeue("7|RUNNING|None|0|n1|")]})
    client = client_of(slurm, tmp_path)
    submitted(client, slurm)
    (report,) = client.status(client.find(["7"], SLURM))
    assert report.status.state is JobState.RUNNING
    assert slurm.pauses == [0.5]
    slurm.answers = {"squeue": [(1, "", "Socket timed out")], "sacct": [NO_ACCOUNTS]}
    with pytest.raises(SchedulerError, match="Socket timed out"):
        client.status(client.find(["7"], SLURM))
    assert slurm.called().count("squeue") == 2 + 3


def test_a_command_that_hangs_is_not_waited_for_again(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [error_from(subprocess.TimeoutExpired("squeue", 60))], "sacct": [NO_ACCOUNTS]})
    client = client_of(slurm, tmp_path)
    submitted(client, slurm)
    with pytest.raises(SchedulerError, match="told so"):
        client.status(client.find(["7"], SLURM))
    assert slurm.called().count("squeue") == 1


def test_who_cancelled_a_job_the_accounts_are_asked(tmp_path: Path) -> None:
    answers: dict[str, list[Answer]] = {
        "squeue": [squeue("7|CANCELLED|None|0||")],
        "sacct": [squeue("7|CANCELLED by 1000|None|0:0|None assigned")],
    }
    slurm = Slurm(answers)
    client = client_of(slurm, tmp_path)
    submitted(client, slurm)
    (report,) = client.status(client.find(["7"], SLURM))
    assert report.status.reason == "by user 1000"


def test_history_asks_only_for_what_has_not_ended(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [squeue("7|COMPLETED|None|0|n1|"), squeue("8|RUNNING|None|0|n1|")]})
    client = client_of(slurm, tmp_path)
    submitted(client, slurm, "7", 1.0)
    client.status(client.find(["7"], SLURM))
    submitted(client, slurm, "8", 2.0)
    states = [report.status.state for report in client.remembered(client.reports(client.recent(None)))]
    assert states == [JobState.COMPLETED, JobState.RUNNING]
    (call,) = slurm.calls
    assert "--jobs=8" in call


@pytest.mark.parametrize(
    ("answer", "field", "taken"),
    [
        (squeue("7|PENDING|Priority|0||"), "after", True),
        (squeue("7|COMPLETED|None|0|n1|"), "after", True),
        (squeue("7|FAILED|None|256|n1|"), "after", False),
        (squeue("7|CANCELLED|None|0||"), "after", False),
        (GONE, "after", False),
        (GONE, "after_any", True),
        (squeue("7|RUNNING|None|0|n1|"), "after_failure", True),
        (squeue("7|FAILED|None|256|n1|"), "after_failure", True),
        (squeue("7|COMPLETED|None|0|n1|"), "after_failure", False),
    ],
)
def test_a_dependency_that_slurm_would_forget_is_refused(
    tmp_path: Path, answer: Answer, field: str, taken: bool
) -> None:
    slurm = Slurm({"squeue": [answer], "sacct": [NO_ACCOUNTS]})
    client = client_of(slurm, tmp_path)
    submitted(client, slurm)
    spec = depending(field, "7")
    if taken:
        client.check_dependencies(spec, SLURM)
    else:
        with pytest.raises(JobSpecError, match=rf"{option_of(field)} 7: that job is [A-Z]+ already.*--after-any"):
            client.check_dependencies(spec, SLURM)


@pytest.mark.parametrize("field", ["after", "after_any", "after_failure"])
def test_a_dependency_on_a_job_that_nobody_knows_is_refused(tmp_path: Path, field: str) -> None:
    slurm = Slurm({"squeue": [GONE], "sacct": [NO_ACCOUNTS]})
    with pytest.raises(InputError, match="no job '7'"):
        client_of(slurm, tmp_path).check_dependencies(depending(field, "7"), SLURM)


def test_a_dependency_on_a_job_of_elsewhere_is_taken(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [squeue("7|RUNNING|None|0|n1|")]})
    client_of(slurm, tmp_path).check_dependencies(replace(SPEC, after_any=("7",)), SLURM)


def test_a_dependency_that_grid_engine_passes_over_is_told(tmp_path: Path) -> None:
    nothing = "<job_info><queue_info></queue_info><job_info></job_info></job_info>"
    sge = Slurm({"qstat": [(0, nothing, "")], "qacct": [(1, "", "error: job id 7 not found\n")]})
    warnings: list[str] = []
    client = Client(SCHEDULERS, {}, str(tmp_path), sge.run, warnings.append, sge.pauses.append)
    client.check_dependencies(replace(SPEC, after_any=("7",)), SCHEDULERS["sge"])
    (warning,) = warnings
    assert warning.startswith("--after-any: no job '7': unknown to sge")
    assert warning.endswith("; unless it is another user's, this one will not wait")


def test_a_dependency_on_an_array_one_of_which_has_failed_is_refused(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [squeue("7_0|FAILED|None|256|n1|", "7_1|RUNNING|None|0|n1|")], "sbatch": [(0, "7\n", "")]})
    client = client_of(slurm, tmp_path)
    client.submit(replace(SPEC, array=JobArray(0, 1)), SLURM, lambda job: "", 1.0)
    with pytest.raises(JobSpecError, match="--after 7"):
        client.check_dependencies(replace(SPEC, after=("7",)), SLURM)
    client.check_dependencies(replace(SPEC, after=("7_1",)), SLURM)


PBS = SCHEDULERS["pbs"]
FORGOTTEN = (153, "", "qstat: Unknown Job Id 7.head\n")
NO_HISTORY = (0, "", "qstat: PBS is not configured to maintain job history 7.head\n")
ENDED = (0, "Job Id: 7.head\n    job_state = F\n    substate = 93\n    exec_host = n1/0\n    Exit_status = {}\n", "")


@pytest.mark.parametrize("field", ["after", "after_any", "after_failure"])
def test_a_dependency_on_what_pbs_has_forgotten_is_refused(tmp_path: Path, field: str) -> None:
    pbs = Slurm({"qstat": [FORGOTTEN, NO_HISTORY], "qsub": [(0, "7.head\n", "")]})
    client = client_of(pbs, tmp_path)
    job = client.submit(replace(SPEC, workers_per_node=1), PBS, lambda job: "", 1.0)
    record_end(job, JobState.COMPLETED, 0)
    with pytest.raises(JobSpecError, match=rf"{option_of(field)} 7\.head: pbs knows of no such job any more"):
        client.check_dependencies(depending(field, "7.head"), PBS)


@pytest.mark.parametrize(("status", "refused"), [(0, ["after_failure"]), (3, ["after"])])
def test_a_dependency_for_which_pbs_would_remove_the_job_is_refused(
    tmp_path: Path, status: int, refused: list[str]
) -> None:
    code, text, stderr = ENDED
    pbs = Slurm({"qstat": [(code, text.format(status), stderr)], "qsub": [(0, "7.head\n", "")]})
    client = client_of(pbs, tmp_path)
    client.submit(replace(SPEC, workers_per_node=1), PBS, lambda job: "", 1.0)
    for option in ("after", "after_any", "after_failure"):
        spec = depending(option, "7.head")
        if option in refused:
            with pytest.raises(JobSpecError, match="already, so this one would never begin"):
                client.check_dependencies(spec, PBS)
        else:
            client.check_dependencies(spec, PBS)


def test_a_job_to_depend_on_is_named_as_its_scheduler_does(tmp_path: Path) -> None:
    pbs = Slurm({"qsub": [(0, "7[].head\n", "")]})
    client = client_of(pbs, tmp_path)
    array = JobArray(0, 1)
    client.submit(replace(SPEC, workers_per_node=1, array=array), PBS, lambda job: "", 1.0)
    prepared = client.prepare(replace(SPEC, workers_per_node=1, after=("7", "7[1]"), after_any=("9",)), PBS)
    assert (prepared.after, prepared.after_any) == (("7[].head", "7[1].head"), ("9",))


def test_a_job_that_was_put_back_has_not_ended(tmp_path: Path) -> None:
    answers = [squeue("7|NODE_FAIL|None|0|n1|"), squeue("7|PENDING|BeginTime|0||"), squeue("7|RUNNING|None|0|n1|")]
    slurm = Slurm({"squeue": answers})
    client = client_of(slurm, tmp_path)
    submitted(client, slurm)
    for _ in range(2):
        client.status(client.find(["7"], SLURM))
    (report,) = client.remembered(client.reports(client.recent(None)))
    assert report.status.state is JobState.RUNNING


def test_a_job_that_has_ended_is_submitted_again_with_a_record_of_its_own(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [squeue("7|FAILED|None|768|n1|")]})
    client = client_of(slurm, tmp_path)
    old = submitted(client, slurm)
    (report,) = client.status(client.find(["7"], SLURM))
    slurm.answers["sbatch"] = [(0, "8\n", "")]
    again = client.submit_again(report, 2.0)
    assert (again.job_id, again.spec) == ("8", SPEC)
    assert Path(again.script).read_text() == f"#!/bin/sh\nexec {again.record}\n"
    assert again.record != old.record


def test_a_job_that_waits_is_explained(tmp_path: Path) -> None:
    slurm = Slurm(
        {
            "squeue": [squeue("7|PENDING|PartitionTimeLimit|0||")],
            "scontrol": [(0, "JobId=7 JobState=PENDING StartTime=2026-11-22T17:20:00 EndTime=Unknown\n", "")],
        }
    )
    client = client_of(slurm, tmp_path)
    submitted(client, slurm)
    (report,) = client.status(client.find(["7"], SLURM))
    why, when, what = client.explain(report)
    assert "longer than its queue allows" in why
    assert "2026-11-22T17:20:00" in when
    assert "--walltime" in what


def test_what_a_scheduler_thinks_of_a_job_leaves_no_trace(tmp_path: Path) -> None:
    words = "sbatch: Job 41 to start at 2026-11-22T17:20:00 using 2 processors on nodes n1 in partition normal\n"
    slurm = Slurm({"sbatch": [(0, "", words)]})
    client = client_of(slurm, tmp_path)
    opinion = client.try_out(SPEC, SLURM, lambda job: "#!/bin/sh\n", 1.0)
    assert opinion == words[len("sbatch: ") :].strip()
    assert slurm.calls[0][:2] == ("sbatch", "--test-only")
    slurm.answers["sbatch"] = [(1, "", "sbatch: error: Batch job submission failed: Invalid partition name specified")]
    with pytest.raises(SchedulerError, match="--queue"):
        client.try_out(SPEC, SLURM, lambda job: "#!/bin/sh\n", 1.0)
    assert os.listdir(tmp_path / "jobs") == []


# odd lines in answers, and answers that are missing


ODD = "7|NEWSTATE|None|0|n1|"
UNREAD = f"cannot read what squeue says of it: {ODD!r}"


def warned_client(slurm: Slurm, tmp_path: Path, warnings: list[str]) -> Client:
    return Client(SCHEDULERS, {}, str(tmp_path), slurm.run, warnings.append, slurm.pauses.append)


def test_a_notice_costs_no_answer_and_is_said_once(tmp_path: Path) -> None:
    notices = ["Notice: maintenance on Tuesday", "Notice: your quota is nearly used up"]
    slurm = Slurm({"squeue": [squeue(notices[0], "7|RUNNING|None|0|n1|", notices[1])]})
    warnings: list[str] = []
    client = warned_client(slurm, tmp_path, warnings)
    submitted(client, slurm)
    for _ in range(2):
        (report,) = client.status(client.find(["7"], SLURM))
        assert report.status == JobStatus("7", JobState.RUNNING, "", ("n1",))
    assert warnings == [f"passed over what squeue printed about no job: {notices[0]!r}, and 1 more such lines"]


def test_one_odd_job_costs_no_other_its_answer(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [squeue(ODD, "8|RUNNING|None|0|n2|")], "sacct": [NO_ACCOUNTS]})
    client = client_of(slurm, tmp_path)
    submitted(client, slurm, "7"), submitted(client, slurm, "8")
    odd, other = client.status(client.find(["7", "8"], SLURM))
    assert odd.status == JobStatus("7", JobState.UNKNOWN, UNREAD, unread=True)
    assert other.status.state is JobState.RUNNING
    (by_hand,) = client_of(slurm, tmp_path / "nobody").status(client.find(["7"], SLURM))
    assert by_hand.status.reason == UNREAD


def test_of_an_odd_job_the_accounts_or_its_driver_may_know_more(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [squeue(ODD)], "sacct": [squeue("7|TIMEOUT|None|0:0|n1"), NO_ACCOUNTS]})
    client = client_of(slurm, tmp_path)
    job = submitted(client, slurm)
    assert [report.status.state for report in client.status(client.find(["7"], SLURM))] == [JobState.TIMEOUT]
    assert [report.status.state for report in client.status(client.find(["7"], SLURM))] == [JobState.TIMEOUT]  # kept
    other = client_of(slurm, tmp_path / "other")
    record_end(submitted(other, slurm), JobState.FAILED, 3)
    assert [report.status.exit_status for report in other.status(other.find(["7"], SLURM))] == [3]
    assert job.job_id == "7"


def test_an_array_of_which_nothing_can_be_read_has_not_ended(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [squeue("7_0|COMPLETED|None|0|n1|", "7_1|NEWSTATE|None|0|n1|")], "sacct": [NO_ACCOUNTS]})
    client = client_of(slurm, tmp_path)
    slurm.answers["sbatch"] = [(0, "7\n", "")]
    client.submit(replace(SPEC, array=JobArray(0, 1)), SLURM, lambda job: "", 1.0)
    for line in ("7_[x]|NEWSTATE|None|0|n1|", "7_[0-1]|NEWSTATE|None|0||"):
        (report,) = client.status(client.find(["7"], SLURM))
        assert (report.status.state, report.status.unread) == (JobState.UNKNOWN, True)
        slurm.answers["squeue"] = [squeue(line)]


def test_an_odd_job_is_waited_for_and_can_be_cancelled(tmp_path: Path) -> None:
    waiting = Waiting(tmp_path, squeue(ODD), RUNNING, squeue(ODD), squeue(ODD), COMPLETED)
    assert waiting.wait().status.state is JobState.COMPLETED
    assert [str(error) for error in waiting.troubles] == [f"job 7: {UNREAD}"] * 2  # each time that it became odd
    waiting.slurm.answers["squeue"] = [squeue(ODD)]
    other = client_of(waiting.slurm, tmp_path / "other")
    submitted(other, waiting.slurm)
    (report,) = other.status(other.find(["7"], SLURM))
    assert is_queued(report)
    assert not goes_on(report)


def test_answers_that_came_are_told_where_others_did_not(tmp_path: Path) -> None:
    slurm = Slurm({"squeue": [squeue("7|RUNNING|None|0|n1|")], "sacct": [SchedulerError("no database")]})
    client = client_of(slurm, tmp_path)
    submitted(client, slurm, "7"), submitted(client, slurm, "8")
    troubles: list[SchedulerError] = []
    known, unknown = client.status(client.find(["7", "8"], SLURM), troubles.append)
    assert known.status.state is JobState.RUNNING
    assert unknown.status == JobStatus("8", JobState.UNKNOWN, "no answer from slurm")
    (by_hand,) = client.status(client.find(["9"], SLURM), troubles.append)
    assert by_hand.status.reason == "no answer from slurm"
    assert len(troubles) == 2
