"""The client of the schedulers: runs the phrase books' commands, and puts together what is known of jobs.

A job's end is known to three: the scheduler, which forgets; the driver's record, which is missing where the driver was
killed or never started; and the job's directory, where the scheduler's last word is kept: `scoop_hpc.jobend`.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Callable, Optional

from scoop_hpc import jobdirectory
from scoop_hpc.errors import InputError, JobSpecError, SchedulerError, ScoopError
from scoop_hpc.jobdirectory import Job
from scoop_hpc.jobend import settle
from scoop_hpc.jobspec import JobSpec, JobState
from scoop_hpc.record import Record
from scoop_hpc.schedulers.base import Completed, JobStatus, Scheduler

PATIENCE = 60.0  # seconds for one command: those of a busy Slurm take tens of them

_TICK = 0.2  # seconds between two looks at what costs a scheduler nothing
_SOONEST, _LATEST = 0.5, 15.0  # seconds between two questions to a scheduler

Run = Callable[[Sequence[str], Mapping[str, str]], Completed]


@dataclass(frozen=True)
class Report:
    """One job, from all that know of it. ``job`` is None for a job that was not submitted from here."""

    scheduler: str
    status: JobStatus
    job: Optional[Job] = None
    record: Optional[Record] = None


def run_command(argv: Sequence[str], environ: Mapping[str, str], patience: float = PATIENCE) -> Completed:
    """Run a scheduler's command, without input."""
    try:
        done = subprocess.run(
            argv,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SchedulerError(f"no answer from {argv[0]!r} within {patience:g} s: is the scheduler well?") from error
    except OSError as error:
        raise SchedulerError(
            f"cannot run {argv[0]!r}: {error.strerror}; --scheduler local runs jobs on this machine"
        ) from error
    return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)


def check_present(scheduler: Scheduler, which: Callable[[str], Optional[str]]) -> None:
    """Raise SchedulerError for a scheduler whose commands are not here."""
    missing = [command for command in scheduler.commands if which(command) is None]
    if missing:
        raise SchedulerError(
            f"the scheduler {scheduler.name!r} is not here: {', '.join(missing)} not found on PATH; "
            "--scheduler local runs jobs on this machine"
        )


class Client:
    """The schedulers, as the jobs under one state directory know them."""

    def __init__(
        self,
        schedulers: Mapping[str, Scheduler],
        environ: Mapping[str, str],
        state: str,
        run: Run = run_command,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._schedulers = schedulers
        self._environ = environ
        self._state = state
        self._run = run
        self._warn = warn  # of what does not keep from the answer

    def submit(self, spec: JobSpec, scheduler: Scheduler, render: Callable[[Job], str], now: float) -> Job:
        """Submit a job whose script *render* writes; return it with its id."""
        scheduler.check(spec)
        job = jobdirectory.create(self._state, spec, scheduler.name, now)
        try:
            jobdirectory.write_text(job.script, render(job))
            jobdirectory.write(job)
            environ = scheduler.submit_environ(self._environ, spec)
            job_id = scheduler.parse_job_id(self._run(scheduler.submit_argv(job.script), environ))
        except ScoopError as error:
            if not isinstance(error.__cause__, subprocess.TimeoutExpired):  # it may have been taken all the same
                jobdirectory.remove(job)
            raise
        job = replace(job, job_id=job_id)
        try:
            jobdirectory.write(job)
        except InputError as error:
            raise ScoopError(f"job {job_id} was submitted to {scheduler.name}, but: {error}") from error
        return job

    def recent(self, count: int) -> list[Job]:
        """Return the jobs submitted last, the newest last."""
        newest = [job for _, job in zip(range(count), jobdirectory.newest_first(self._state, self._warn))]
        return newest[::-1]

    def find(self, job_ids: Iterable[str], fallback: Scheduler) -> list[Report]:
        """Return the jobs of these ids, their status still to be asked; *fallback* may know what is not known here."""
        wanted = dict.fromkeys(job_ids)
        found: dict[str, Job] = {}
        for job in jobdirectory.newest_first(self._state, self._warn):
            if job.job_id in wanted:
                found.setdefault(job.job_id, job)
                if len(found) == len(wanted):
                    break
        return [
            _unasked(found[job_id].scheduler, job_id, found[job_id])
            if job_id in found
            else _unasked(self._owner(job_id, fallback).name, job_id, None)
            for job_id in wanted
        ]

    def reports(self, jobs: Sequence[Job]) -> list[Report]:
        """Return *jobs* with their status still to be asked."""
        return [_unasked(job.scheduler, job.job_id or "", job) for job in jobs]

    def status(
        self, reports: Sequence[Report], on_trouble: Optional[Callable[[SchedulerError], None]] = None
    ) -> list[Report]:
        """Ask how the jobs stand, each scheduler once for all of its jobs.

        Raise InputError for a job that none knows. A scheduler that does not answer is an error, or, if *on_trouble*
        is given, told to it; what is known here has to do then.
        """
        said: dict[tuple[str, str], JobStatus] = {}
        silent: set[str] = set()
        for name in dict.fromkeys(report.scheduler for report in reports):
            ids = [report.status.job_id for report in reports if report.scheduler == name]
            try:
                known = self._ask(self._scheduler(name), ids)
            except SchedulerError as error:
                if on_trouble is None:
                    raise
                on_trouble(error)
                silent.add(name)
            else:
                said.update({(name, job_id): status for job_id, status in known.items()})
        answers = [
            self._settle(report, said.get((report.scheduler, report.status.job_id)), report.scheduler in silent)
            for report in reports
        ]
        unknown = [report for report in answers if report.job is None and report.status.state is JobState.UNKNOWN]
        if unknown:
            ids_text = ", ".join(repr(report.status.job_id) for report in unknown)
            raise InputError(
                f"no job {ids_text}: unknown to {unknown[0].scheduler}, and not submitted from here; "
                "`scoop-hpc status` lists those that were"
            )
        return answers

    def wait(
        self,
        reports: Sequence[Report],
        on_tick: Callable[[Sequence[Report]], None],
        on_trouble: Callable[[SchedulerError], None],
        timeout: Optional[float] = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> list[Report]:
        """Ask until no job goes on, or *timeout* seconds are over; return how they stand.

        Schedulers are asked ever more seldom, but at once when a driver's record tells news. One that does not answer
        for a while does not end the waiting.
        """
        began = heard = clock()
        asked = float("-inf")
        # as if they were to begin, until somebody knows better
        answers = [replace(each, status=replace(each.status, state=JobState.PENDING)) for each in reports]
        troubled = False
        while any(goes_on(report) for report in answers):
            on_tick(answers)
            now = clock()
            if timeout is not None and now - began >= timeout and asked > float("-inf"):
                return answers
            if self._is_news(answers):
                heard, asked = now, float("-inf")
            if now - asked >= min(max(_SOONEST, (now - heard) / 4), _LATEST):
                asked = now
                try:
                    answers = self.status(answers)
                    troubled = False
                    continue
                except SchedulerError as error:
                    if isinstance(error.__cause__, FileNotFoundError):
                        raise
                    if not troubled:
                        on_trouble(error)
                    troubled = True
                    answers = [replace(report, record=_record_of(report)) for report in answers]
            sleep(_TICK + len(answers) / 500)
        on_tick(answers)
        return answers

    def _is_news(self, reports: Sequence[Report]) -> bool:
        return any(goes_on(report) and _record_of(report) != report.record for report in reports)

    def cancel(self, reports: Sequence[Report]) -> None:
        """End the jobs, each scheduler's with one command."""
        for name in dict.fromkeys(report.scheduler for report in reports):
            scheduler = self._scheduler(name)
            ids = [report.status.job_id for report in reports if report.scheduler == name]
            scheduler.parse_cancel(self._run(scheduler.cancel_argv(ids), scheduler.query_environ(self._environ)))

    def _ask(self, scheduler: Scheduler, job_ids: Sequence[str]) -> dict[str, JobStatus]:
        """Return what *scheduler* knows; a later command is asked only for jobs that are missing from the earlier."""
        known: dict[str, JobStatus] = {}
        environ = scheduler.query_environ(self._environ)
        troubles: list[SchedulerError] = []
        for number, argv in enumerate(scheduler.status_argv(job_ids)):
            if all(job_id in known for job_id in job_ids):
                break
            try:
                known = {**scheduler.parse_status(self._run(argv, environ)), **known}
            except SchedulerError as error:
                if number == 0 or not isinstance(error.__cause__, FileNotFoundError):  # else a site without sacct
                    troubles.append(error)
        if troubles and not all(job_id in known for job_id in job_ids):
            raise troubles[0]
        return known

    def _settle(self, report: Report, said: Optional[JobStatus], silent: bool) -> Report:
        if report.job is None:
            status = said or JobStatus(report.status.job_id, JobState.UNKNOWN)
            return replace(report, status=status)
        earlier = jobdirectory.read_end(report.job)
        if said is not None and said.state.ended and said != earlier:
            try:
                jobdirectory.write_end(report.job, said)
            except InputError as error:
                self._warn(f"the end of job {said.job_id} is known, but not kept: {error}")
        record = _record_of(report)
        if silent and earlier is None and (record is None or not record.state.ended):
            unknown = JobStatus(report.status.job_id, JobState.UNKNOWN, f"no answer from {report.scheduler}")
            return replace(report, status=unknown, record=record)
        return replace(report, status=settle(report.status.job_id, said or earlier, record), record=record)

    def _scheduler(self, name: str) -> Scheduler:
        if name not in self._schedulers:
            raise JobSpecError(f"the job's scheduler {name!r} is unknown to this version of scoop-hpc")
        return self._schedulers[name]

    def _owner(self, job_id: str, fallback: Scheduler) -> Scheduler:
        return self._schedulers["local"] if job_id.startswith("local-") else fallback


def goes_on(report: Report) -> bool:
    """Return whether there is more to come of a job."""
    return not report.status.state.ended and report.status.state is not JobState.UNKNOWN


def _record_of(report: Report) -> Optional[Record]:
    """Return the driver's record, None if it cannot be read now: the scheduler may know all the same."""
    try:
        return None if report.job is None else jobdirectory.read_record(report.job)
    except ScoopError:
        return None


def _unasked(scheduler: str, job_id: str, job: Optional[Job]) -> Report:
    return Report(scheduler, JobStatus(job_id, JobState.UNKNOWN), job)
