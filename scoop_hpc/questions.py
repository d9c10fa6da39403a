"""Asking schedulers how jobs stand, and putting together what is known of them.

A job's end is known to three: the scheduler, which forgets; the driver's record, which is missing where the driver was
killed or never started; and the job's directory, where the scheduler's last word is kept: `scoop_hpc.jobend`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Callable, Optional

from scoop_hpc import jobdirectory
from scoop_hpc.commands import Run, run_command
from scoop_hpc.errors import InputError, JobSpecError, SchedulerError, ScoopError
from scoop_hpc.jobdirectory import Job
from scoop_hpc.jobend import settle
from scoop_hpc.jobspec import JobState
from scoop_hpc.record import Record
from scoop_hpc.reports import Report, aggregate, unasked
from scoop_hpc.schedulers.base import Completed, JobKey, JobStatus, Scheduler, Site, at_site

PAUSES = (0.5, 2.0)  # seconds before a question that was answered by an error is asked again
NOT_BEGUN = "cancelled before it began"  # the reason of an end that no scheduler may tell of

Place = tuple[str, Optional[Site]]  # a scheduler's name, and which of its clusters


class Questions:
    """What one asks *schedulers* by their commands."""

    def __init__(
        self,
        schedulers: Mapping[str, Scheduler],
        environ: Mapping[str, str],
        run: Run = run_command,
        warn: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._schedulers = schedulers
        self._environ = environ
        self._run = run
        self._warn = warn  # of what does not keep from the answer
        self._sleep = sleep

    def scheduler(self, name: str) -> Scheduler:
        """Return the scheduler of that name; raise JobSpecError."""
        if name not in self._schedulers:
            raise JobSpecError(f"the job's scheduler {name!r} is unknown to this version of scoop-hpc")
        return self._schedulers[name]

    def status(
        self,
        reports: Sequence[Report],
        on_trouble: Optional[Callable[[SchedulerError], None]] = None,
        pauses: Sequence[float] = PAUSES,
    ) -> list[Report]:
        """Ask how the jobs stand, each scheduler once for all of its jobs.

        Raise InputError for a job that none knows. A scheduler that does not answer is an error, or, if *on_trouble*
        is given, told to it; what is known here has to do then. An answer that is an error is asked for again after
        each of *pauses*, in seconds.
        """
        said: dict[Place, Mapping[JobKey, JobStatus]] = {}
        for place, of_place in by_place(reports).items():
            try:
                said[place] = self.known(self.scheduler(place[0]), of_place, pauses)
            except SchedulerError as error:
                if on_trouble is None:
                    raise
                on_trouble(error)
        answers = [self._settle(report, said.get(place_of(report))) for report in reports]
        unknown = [report for report in answers if report.job is None and report.status.state is JobState.UNKNOWN]
        if unknown:
            ids_text = ", ".join(repr(report.label) for report in unknown)
            raise InputError(
                f"no job {ids_text}: unknown to {unknown[0].scheduler}, and not submitted from here; "
                "`scoop-hpc history` lists those that were"
            )
        return answers

    def remembered(self, reports: Sequence[Report]) -> list[Report]:
        """Return how the jobs stand; only those whose end was not heard of yet are asked for."""
        ended = {
            position: self._settle(report, {})
            for position, report in enumerate(reports)
            if report.job is not None and self._is_settled(report.job)
        }
        asked = [report for position, report in enumerate(reports) if position not in ended]
        answers = iter(self.status(asked, lambda error: self._warn(str(error))) if asked else [])
        return [ended[position] if position in ended else next(answers) for position in range(len(reports))]

    def _is_settled(self, job: Job) -> bool:
        indices = [None] if job.spec.array is None else job.spec.array.indices
        ends = jobdirectory.read_ends(job)
        return all(index in ends for index in indices)

    def known(
        self, scheduler: Scheduler, reports: Sequence[Report], pauses: Sequence[float] = PAUSES
    ) -> dict[JobKey, JobStatus]:
        """Return what *scheduler* knows of jobs that are all of one cluster; a later command is asked only for jobs
        that are missing from the earlier."""
        known: dict[JobKey, JobStatus] = {}
        troubles: list[SchedulerError] = []
        wanted = [key for report in reports for key in _keys_of(scheduler, report)]
        ids = [report.status.job_id for report in reports]
        for number, argv in enumerate(scheduler.status_argv(ids)):
            if all(_is_told(known.get(key)) for key in wanted):
                break
            try:
                answer = self._query(scheduler, argv, reports[0].site, pauses)
                known.update({key: status for key, status in answer.items() if not _is_told(known.get(key))})
            except SchedulerError as error:
                if number == 0 or not isinstance(error.__cause__, FileNotFoundError):  # else a site without sacct
                    troubles.append(error)
        if troubles and not all(key in known for key in wanted):
            raise troubles[0]
        return known

    def ask(self, scheduler: Scheduler, argv: Sequence[str], site: Optional[Site]) -> Completed:
        """Run one of *scheduler*'s commands for a cluster, whichever the shell of now would ask."""
        cluster = "" if site is None else site.cluster
        environ = at_site(scheduler.query_environ(self._environ), site)
        return self._run(scheduler.directed(argv, cluster) if cluster else argv, environ)

    def _query(
        self, scheduler: Scheduler, argv: Sequence[str], site: Optional[Site], pauses: Sequence[float]
    ) -> dict[JobKey, JobStatus]:
        """Ask, and ask again while the answer is an error; one that does not come at all is not waited for again."""
        for pause in (*pauses, None):
            done = self.ask(scheduler, argv, site)
            try:
                return {scheduler.key(status.job_id): status for status in scheduler.parse_status(done)}
            except SchedulerError:
                if pause is None:
                    raise
                self._sleep(pause)
        raise AssertionError("the last question is answered or raises")

    def _settle(self, report: Report, answer: Optional[Mapping[JobKey, JobStatus]]) -> Report:
        """Put together what is known of a job; *answer* is its cluster's, None if there was none."""
        job, said, silent = report.job, answer or {}, answer is None
        key = self.scheduler(report.scheduler).key(report.status.job_id)
        if job is None:
            status = said.get(key)
            parts = [each for other, each in said.items() if other.job == key.job]
            if status is None and parts:
                status = aggregate(report.status.job_id, parts)
            return replace(report, status=status or JobStatus(report.status.job_id, JobState.UNKNOWN))
        earlier = jobdirectory.read_ends(job)
        whole = job.spec.array is not None and report.index is None
        elements = self.elements(report) if whole else [report]
        heard = dict(earlier)
        settled = []
        for each in elements:
            status = said.get(JobKey(key.job, each.index))
            if status is not None and status.state.ended:
                heard[each.index] = status
            elif status is not None and each.index in heard and heard[each.index].reason != NOT_BEGUN:
                del heard[each.index]  # it was put back into its queue
            settled.append(_settle_one(each, status or earlier.get(each.index), silent))
        if heard != earlier:
            try:
                jobdirectory.write_ends(job, heard)
            except InputError as error:
                self._warn(f"the end of job {report.status.job_id} is known, but not kept: {error}")
        if not whole:
            return settled[0]
        statuses = [each.status for each in settled]
        return replace(report, status=aggregate(report.status.job_id, statuses), elements=tuple(settled))

    def elements(self, report: Report) -> list[Report]:
        """Return the jobs of an array, their status still to be asked."""
        job = report.job
        assert job is not None
        assert job.spec.array is not None
        scheduler = self.scheduler(report.scheduler)
        return [
            replace(unasked(report.scheduler, scheduler.element_id(report.status.job_id, index), job), index=index)
            for index in job.spec.array.indices
        ]


def place_of(report: Report) -> Place:
    return report.scheduler, report.site


def by_place(reports: Sequence[Report]) -> dict[Place, list[Report]]:
    """Return *reports* by whom they have to be asked of."""
    places: dict[Place, list[Report]] = {}
    for report in reports:
        places.setdefault(place_of(report), []).append(report)
    return places


def _is_told(status: Optional[JobStatus]) -> bool:
    """Return whether there is no more to hear of a job: who cancelled it, its scheduler's accounts may know."""
    return status is not None and (status.state is not JobState.CANCELLED or bool(status.reason))


def _keys_of(scheduler: Scheduler, report: Report) -> list[JobKey]:
    key = scheduler.key(report.status.job_id)
    array = None if report.job is None else report.job.spec.array
    return [key] if array is None or key.index is not None else [JobKey(key.job, index) for index in array.indices]


def _settle_one(report: Report, said: Optional[JobStatus], silent: bool) -> Report:
    record = record_of(report)
    if silent and said is None and (record is None or not record.state.ended):
        unknown = JobStatus(report.status.job_id, JobState.UNKNOWN, f"no answer from {report.scheduler}")
        return replace(report, status=unknown, record=record)
    return replace(report, status=settle(report.status.job_id, said, record), record=record)


def with_record(report: Report) -> Report:
    """Return *report* with what its driver has recorded until now."""
    if report.elements:
        return replace(report, elements=tuple(map(with_record, report.elements)))
    return replace(report, record=record_of(report))


def record_of(report: Report) -> Optional[Record]:
    """Return the driver's record, None if it cannot be read now: the scheduler may know all the same."""
    try:
        return None if report.job is None else jobdirectory.read_record(report.job, report.index)
    except ScoopError:
        return None
