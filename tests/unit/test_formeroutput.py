"""What was in a file before a job began is not its output."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from scoop_hpc.cli import follow
from scoop_hpc.cli.follow import Tail, has_begun, tail_of
from scoop_hpc.cli.jobs import logs
from scoop_hpc.errors import SchedulerError, ScoopError
from scoop_hpc.fields.array import JobArray
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.jobs import directories, former_output
from scoop_hpc.jobs import record as records
from scoop_hpc.jobs.client import Client
from scoop_hpc.jobs.directories import Job
from scoop_hpc.jobs.record import Record
from scoop_hpc.jobs.report import Report
from scoop_hpc.schedulers.answers import Completed, JobStatus
from scoop_hpc.schedulers.base import Scheduler
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.registry import SCHEDULERS

SLURM = SCHEDULERS["slurm"]
NOON = 1795348800.0
FORMER = b"the former run's\n"


def spec_in(directory: Path, output: str = "fixed.out", array: JobArray | None = None) -> JobSpec:
    return JobSpec(("pi.py",), str(directory), "pi", workers=1, output=output, array=array)


def submitted(tmp_path: Path, spec: JobSpec, scheduler: str = "slurm", **environ: str) -> Job:
    """Submit to a scheduler that takes everything; return the job."""

    def run(argv: Sequence[str], environ: Mapping[str, str]) -> Completed:
        taken = "7.server\n" if scheduler == "pbs" else "7\n"
        answers = {"sbatch": taken, "qsub": taken, "scontrol": "JobFileAppend           = 0\n"}
        return Completed(tuple(argv), 0, answers[argv[0]], "")

    client = Client(SCHEDULERS, environ, str(tmp_path / "state"), run)
    return client.submit(spec, SCHEDULERS[scheduler], lambda job: "", NOON)


def report_of(job: Job, state: JobState = JobState.RUNNING, record: Record | None = None) -> Report:
    return Report(job.scheduler, JobStatus("7", state), job, record)


def tail(job: Job, index: int | None = None) -> Tail:
    made = tail_of(replace(report_of(job), index=index))
    assert made is not None
    return made


def record(state: JobState) -> Record:
    return Record(state, NOON, ("n1",), "n1", 7)


@pytest.mark.parametrize("scheduler", ["slurm", "pbs"])
def test_a_file_of_before_is_not_shown_until_the_job_has_begun_it_anew(
    tmp_path: Path, scheduler: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    output = tmp_path / "fixed.out"
    output.write_bytes(FORMER)
    own = tail(submitted(tmp_path, spec_in(tmp_path), scheduler))
    assert not own.show()
    output.write_bytes(b"")
    assert own.show()
    output.write_bytes(FORMER + b"and more: this run printed the same, and went on\n")
    assert own.show()
    assert capfdbinary.readouterr().out == FORMER + b"and more: this run printed the same, and went on\n"


def test_what_is_put_behind_a_file_of_before_is_shown_alone(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    output = tmp_path / "fixed.out"
    output.write_bytes(FORMER)
    own = tail(submitted(tmp_path, spec_in(tmp_path), "sge"))
    assert own.show()
    assert capfdbinary.readouterr().out == b""
    with output.open("ab") as file:
        file.write(b"own\n")
    assert own.show()
    assert capfdbinary.readouterr().out == b"own\n"


@pytest.mark.parametrize("text", [b"own\n", b"another's, longer than the former\n"])
def test_a_file_that_took_the_place_of_the_former_is_shown_from_its_beginning(
    tmp_path: Path, text: bytes, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    output = tmp_path / "fixed.out"
    output.write_bytes(FORMER)
    own = tail(submitted(tmp_path, spec_in(tmp_path), "sge"))
    output.unlink()
    output.write_bytes(text)
    assert own.show()
    assert capfdbinary.readouterr().out == text


def test_each_job_of_an_array_has_its_own_former_file(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "out.2").write_bytes(FORMER)
    job = submitted(tmp_path, spec_in(tmp_path, "out.{array_index}", JobArray(1, 3)))
    for index in (1, 3):
        (tmp_path / f"out.{index}").write_bytes(b"own\n")
    assert [tail(job, index).show() for index in (1, 2, 3)] == [True, False, True]
    assert capfdbinary.readouterr().out == b"own\nown\n"


def test_a_file_named_by_the_id_is_of_before_if_it_is_older_than_the_job(tmp_path: Path) -> None:
    output = tmp_path / "scoop-7.out"
    output.write_bytes(FORMER)
    for age, former in ((3600, True), (1, False), (-5, False)):  # the last two: it may have begun it already
        os.utime(output, (NOON - age, NOON - age))
        job = submitted(tmp_path, spec_in(tmp_path, "scoop-{job_id}.out"))
        assert (former_output.read(job, str(output)) is not None) is former


def test_nothing_is_kept_or_asked_where_no_file_was(tmp_path: Path) -> None:
    job = directories.create(str(tmp_path), spec_in(tmp_path), "slurm", NOON)
    former_output.note(job, lambda: pytest.fail("asked for nothing"))
    assert os.listdir(job.directory) == []


def test_a_device_is_no_former_output(tmp_path: Path) -> None:
    job = submitted(tmp_path, spec_in(tmp_path, "/dev/null"))
    assert former_output.read(job, "/dev/null") is None


def test_a_note_that_cannot_be_understood_is_named(tmp_path: Path) -> None:
    job = submitted(tmp_path, spec_in(tmp_path))
    (Path(job.directory) / "former.json").write_text("{")
    with pytest.raises(ScoopError, match="former.json"):
        tail(job)


@pytest.mark.parametrize(
    ("directives", "environ", "config", "appends"),
    [
        ((), {}, "JobFileAppend           = 0\n", False),
        ((), {}, "JobFileAppend           = 1\n", True),
        (("--open-mode=append",), {}, "", True),
        (("--open-mode append",), {}, "", True),
        (("--open-mode=truncate",), {"SBATCH_OPEN_MODE": "append"}, "JobFileAppend           = 1\n", False),
        ((), {"SBATCH_OPEN_MODE": "append"}, "", True),
        ((), {"SBATCH_OPEN_MODE": "truncate"}, "JobFileAppend           = 1\n", False),
    ],
)
def test_slurm_appends_where_the_job_the_shell_or_the_site_says_so(
    directives: tuple[str, ...], environ: dict[str, str], config: str, appends: bool
) -> None:
    spec = replace(spec_in(Path("/home/me")), directives=directives)
    assert SLURM.appends(spec, environ, lambda argv: Completed(tuple(argv), 0, config, "")) is appends


def test_slurm_truncates_where_its_settings_cannot_be_asked() -> None:
    def ask(argv: Sequence[str]) -> Completed:
        raise SchedulerError("no scontrol")

    assert not SLURM.appends(spec_in(Path("/home/me")), {}, ask)


def test_a_file_that_is_begun_again_is_shown_from_its_beginning_however_long_it_is(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    output = tmp_path / "out"
    own = Tail(str(output))
    for text in (b"first run\n", b"the second run, which printed more\n"):
        output.write_bytes(text)
        own.show()
    assert capfdbinary.readouterr().out == b"first run\nthe second run, which printed more\n"


def test_a_job_that_was_put_back_into_its_queue_has_not_begun(tmp_path: Path) -> None:
    job = submitted(tmp_path, spec_in(tmp_path))
    assert not has_begun(report_of(job, JobState.PENDING, record(JobState.FAILED)))
    assert has_begun(report_of(job, JobState.RUNNING, record(JobState.FAILED)))


class Known:
    """A client that has been told how one job stands."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def find(self, job_ids: Sequence[str], fallback: Scheduler) -> list[Report]:
        return [self._report]

    def status(self, reports: Sequence[Report], on_trouble: Callable[[SchedulerError], None]) -> list[Report]:
        return [self._report]


def test_logs_show_what_a_job_printed_before_it_was_put_back_into_its_queue(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted(tmp_path, spec_in(tmp_path))
    waits = report_of(job, JobState.PENDING, record(JobState.FAILED))
    monkeypatch.setattr(follow, "open_client", lambda environ: Known(waits))
    with pytest.raises(ScoopError, match=r"there is no output file .*fixed.out': job 7 is PENDING"):
        logs.main(["7"], standalone_mode=False)
    (tmp_path / "fixed.out").write_text("half of it\n")
    logs.main(["7"], standalone_mode=False)
    printed = capfd.readouterr()
    assert printed.out == "half of it\n"
    assert printed.err == (
        "scoop-hpc: job 7 is PENDING; that is what it printed before it was put back into its queue\n"
    )


def test_the_file_of_a_chain_is_the_earlier_job_s_until_the_driver_runs(tmp_path: Path) -> None:
    chained = replace(spec_in(tmp_path), after_any=("6",))
    job = submitted(tmp_path, chained)
    assert not has_begun(report_of(job))
    assert has_begun(report_of(job, record=record(JobState.RUNNING)))
    assert has_begun(report_of(submitted(tmp_path, replace(chained, output="{job_id}.out"))))


def test_a_record_that_the_driver_left_makes_a_silent_scheduler_s_job_shown(tmp_path: Path) -> None:
    job = submitted(tmp_path, spec_in(tmp_path))
    records.write(job.record, record(JobState.RUNNING))
    assert has_begun(report_of(job, JobState.PENDING, directories.read_record(job)))
