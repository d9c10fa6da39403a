"""Asking schedulers how jobs stand, and putting together what is known of them.

A job's end is known to three: the scheduler, which forgets; the driver's record, which is missing where the driver was
killed or never started; and the job's directory, where the scheduler's last word is kept: `scoop_hpc.jobs.reconcile`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from scoop_hpc.errors import InputError, JobSpecError, SchedulerError, ScoopError
from scoop_hpc.fields.spec import JobState
from scoop_hpc.jobs import directories
from scoop_hpc.jobs.commands import Run, run_command
from scoop_hpc.jobs.directories import Job
from scoop_hpc.jobs.reconcile import settle
from scoop_hpc.jobs.record import Record
from scoop_hpc.jobs.report import Report, aggregate, unasked
from scoop_hpc.schedulers.answers import Completed, JobKey, JobStatus, short
from scoop_hpc.schedulers.base import LOCAL_RUNS, OR_LOCAL, Scheduler
from scoop_hpc.schedulers.site import Site, at_site

PAUSES = (0.5, 2.0)  # seconds before a question that was answered by an error is asked again
NOT_BEGUN = "cancelled before it began"  # the reason of an end that no scheduler may tell of

Place = tuple[str, Site | None]  # a scheduler's name, and which of its clusters


_NO_ANSWER = "no answer from"  # the beginning of a reason


def is_unanswered(report: Report) -> bool:
    """Return whether how a job stands is not known only because its scheduler does not answer."""
    return any(each.status.reason.startswith(_NO_ANSWER) for each in report.elements or (report,))


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
        self._passed_over: set[str] = set()

    def scheduler(self, name: str) -> Scheduler:
        """Return the scheduler of that name; raise JobSpecError."""
        if name not in self._schedulers:
            raise JobSpecError(f"the job's scheduler {name!r} is unknown to this version of scoop-hpc")
        return self._schedulers[name]

    def status(
        self,
        reports: Sequence[Report],
        on_trouble: Callable[[SchedulerError], None] | None = None,
        pauses: Sequence[float] = PAUSES,
    ) -> list[Report]:
        """Ask how the jobs stand, each cluster once for all of its jobs.

        Raise InputError for a job that none knows. A scheduler that does not answer is an error, or, if *on_trouble*
        is given, told to it; what is known here has to do then. An answer that is an error is asked for again after
        each of *pauses*, in seconds.
        """
        said: dict[Place, Mapping[JobKey, JobStatus]] = {}
        silent: set[Place] = set()
        for place, own in by_place(reports).items():
            said[place], trouble = self._ask(self.scheduler(place[0]), own, pauses)
            if trouble is not None:
                if on_trouble is None:
                    raise trouble
                on_trouble(trouble)
                silent.add(place)
        answers = [self._settle(each, said[place_of(each)], place_of(each) in silent) for each in reports]
        unknown = [
            report
            for report in answers
            if report.job is None and report.status.state is JobState.UNKNOWN and not report.status.unread
        ]
        unknown = [report for report in unknown if place_of(report) not in silent]
        if unknown:
            ids_text = ", ".join(repr(report.label) for report in unknown)
            raise InputError(
                f"no job {ids_text}: unknown to {unknown[0].scheduler}, and not submitted from here; "
                "`scoop-hpc history` lists those that were"
            )
        return answers

    def unanswered(self, report: Report) -> Report:
        """Return what is known here of a job whose scheduler does not answer."""
        return self._settle(report, {}, True)

    def remembered(self, reports: Sequence[Report]) -> list[Report]:
        """Return how the jobs stand; only those whose end was not heard of yet are asked for."""
        ended = {
            position: self._settle(report, {}, False)
            for position, report in enumerate(reports)
            if report.job is not None and self._is_settled(report.job)
        }
        asked = [report for position, report in enumerate(reports) if position not in ended]
        answers = iter(self.status(asked, lambda error: self._warn(str(error))) if asked else [])
        return [ended[position] if position in ended else next(answers) for position in range(len(reports))]

    def _is_settled(self, job: Job) -> bool:
        indices = [None] if job.spec.array is None else job.spec.array.indices
        ends = directories.read_ends(job)
        return all(index in ends for index in indices)

    def known(
        self, scheduler: Scheduler, reports: Sequence[Report], pauses: Sequence[float] = PAUSES
    ) -> dict[JobKey, JobStatus]:
        """Return what *scheduler* knows of jobs that are all of one cluster; raise SchedulerError where one is missing,
        perhaps for want of an answer."""
        known, trouble = self._ask(scheduler, reports, pauses)
        if trouble is not None:
            raise trouble
        return known

    def _ask(
        self, scheduler: Scheduler, reports: Sequence[Report], pauses: Sequence[float]
    ) -> tuple[dict[JobKey, JobStatus], SchedulerError | None]:
        """Return what *scheduler* knows, and why there may be more; None if there is not.

        A later command is asked only for jobs that are missing from the earlier.
        """
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
        return known, troubles[0] if troubles and not all(key in known for key in wanted) else None

    def ask(self, scheduler: Scheduler, argv: Sequence[str], site: Site | None) -> Completed:
        """Run one of *scheduler*'s commands for a cluster, whichever the shell of now would ask."""
        cluster = "" if site is None else site.cluster
        environ = at_site(scheduler.query_environ(self._environ), site)
        return self._run(scheduler.directed(argv, cluster) if cluster else argv, environ)

    def _query(
        self, scheduler: Scheduler, argv: Sequence[str], site: Site | None, pauses: Sequence[float]
    ) -> dict[JobKey, JobStatus]:
        """Ask, and ask again while the answer is an error; one that does not come at all is not waited for again."""
        for pause in (*pauses, None):
            done = self.ask(scheduler, argv, site)
            odd: list[str] = []
            try:
                jobs = scheduler.parse_status(done, odd.append)
                self._say_passed_over(os.path.basename(argv[0]), odd)
                return {scheduler.key(status.job_id): status for status in jobs}
            except SchedulerError as error:
                if pause is None:
                    raise type(error)(_without_others(str(error))) from error.__cause__
                self._sleep(pause)
        raise AssertionError("the last question is answered or raises")

    def _say_passed_over(self, command: str, lines: Sequence[str]) -> None:
        """Warn of *lines* of an answer that are about no job, once of each."""
        new = [line for line in lines if line not in self._passed_over]
        self._passed_over.update(new)
        if new:
            more = f", and {len(new) - 1} more such lines" if len(new) > 1 else ""
            self._warn(f"passed over what {command} printed about no job: {short(new[0].strip())}{more}")

    def _settle(self, report: Report, said: Mapping[JobKey, JobStatus], silent: bool) -> Report:
        """Put together what is known of a job; *said* is its cluster's answer, which is not whole if *silent*."""
        name, job = report.scheduler, report.job
        key = self.scheduler(name).key(report.status.job_id)
        if job is None:
            status = said.get(key)
            parts = [each for other, each in said.items() if other.job == key.job]
            if status is None and parts:
                status = aggregate(report.status.job_id, parts)
            reason = f"no answer from {name}" if silent else ""
            return replace(report, status=status or JobStatus(report.status.job_id, JobState.UNKNOWN, reason))
        earlier = directories.read_ends(job)
        whole = job.spec.array is not None and report.index is None
        elements = self.elements(report) if whole else [report]
        heard = dict(earlier)
        settled = []
        unread_array = said.get(JobKey(key.job)) if whole else None
        unread_array = unread_array if unread_array is not None and unread_array.unread else None
        for each in elements:
            status = said.get(JobKey(key.job, each.index), unread_array)
            if status is not None and status.unread and each.index in earlier:
                status = None  # what was heard before has to do
            if status is not None and status.with_its_array and each.index in heard:
                status = None  # what was said before is better
            told = earlier.get(each.index)
            if told is not None and told.reason == NOT_BEGUN and (status is None or status.state is JobState.CANCELLED):
                # a record is that of a run before the job was put back into its queue
                settled.append(replace(each, status=replace(told, reason=(status or told).reason or NOT_BEGUN)))
                continue
            if status is not None and status.state.ended:
                heard[each.index] = status
            elif status is not None and told is not None and told.reason != NOT_BEGUN:
                del heard[each.index]  # it was put back into its queue
            settled.append(_settle_one(each, status or told, silent))
        if heard != earlier:
            try:
                directories.write_ends(job, heard)
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


def _without_others(message: str) -> str:
    """Return *message* without the advice to use another scheduler: that does not know the job."""
    return message.replace(OR_LOCAL, "").replace(LOCAL_RUNS, "")


def place_of(report: Report) -> Place:
    return report.scheduler, report.site


def by_place(reports: Sequence[Report]) -> dict[Place, list[Report]]:
    """Return *reports* by whom they have to be asked of."""
    places: dict[Place, list[Report]] = {}
    for report in reports:
        places.setdefault(place_of(report), []).append(report)
    return places


def _is_told(status: JobStatus | None) -> bool:
    """Return whether there is no more to hear of a job: what cannot be read, or who cancelled it, accounts may know."""
    if status is None or status.unread:
        return False
    return status.state is not JobState.CANCELLED or bool(status.reason)


def _keys_of(scheduler: Scheduler, report: Report) -> list[JobKey]:
    key = scheduler.key(report.status.job_id)
    array = None if report.job is None else report.job.spec.array
    return [key] if array is None or key.index is not None else [JobKey(key.job, index) for index in array.indices]


def _settle_one(report: Report, said: JobStatus | None, silent: bool) -> Report:
    record = record_of(report)
    if said is not None and said.unread:
        if record is None or not record.state.ended:
            return replace(report, status=replace(said, job_id=report.status.job_id), record=record)
        said = None
    if silent and said is None and (record is None or not record.state.ended):
        unknown = JobStatus(report.status.job_id, JobState.UNKNOWN, f"{_NO_ANSWER} {report.scheduler}")
        return replace(report, status=unknown, record=record)
    status = settle(report.status.job_id, said, record)
    if status.state is JobState.FAILED and record is None and report.job is not None:  # its script had more to say
        words = (directories.last_complaint(report.job, report.index), status.reason)
        status = replace(status, reason="; ".join(filter(None, words)))
    return replace(report, status=status, record=record)


def with_record(report: Report) -> Report:
    """Return *report* with what its driver has recorded until now."""
    if report.elements:
        return replace(report, elements=tuple(map(with_record, report.elements)))
    return replace(report, record=record_of(report))


def record_of(report: Report) -> Record | None:
    """Return the driver's record, None if it cannot be read now: the scheduler may know all the same."""
    try:
        return None if report.job is None else directories.read_record(report.job, report.index)
    except ScoopError:
        return None
