"""A user's jobs: submitted, found again by their ids, followed, ended, as the directories under one state know them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from scoop_hpc.errors import (
    InputError,
    JobSpecError,
    PerhapsSubmittedError,
    SchedulerError,
    ScoopError,
    UnansweredError,
    about,
)
from scoop_hpc.fields.spec import JobSpec, option_of
from scoop_hpc.files import private
from scoop_hpc.jobs import directories, former_output, look
from scoop_hpc.jobs.commands import PAUSES, Answer, Commands, Run, run_command
from scoop_hpc.jobs.directories import Job
from scoop_hpc.jobs.door import door_beside, remove_door
from scoop_hpc.jobs.record import Record, of_element
from scoop_hpc.jobs.report import Report, goes_on, unasked
from scoop_hpc.jobs.status import (
    NOT_BEGUN,
    NOT_BEGUN_AGAIN,
    Known,
    Place,
    by_place,
    elements_of,
    keys_of,
    place_of,
    stand,
    stand_elsewhere,
)
from scoop_hpc.jobs.waiting import Waiting
from scoop_hpc.schedulers.answers import Completed, JobKey, JobStatus
from scoop_hpc.schedulers.base import Scheduler
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.readers import outside_jobs
from scoop_hpc.schedulers.site import Site

# the fields of JobSpec that name other jobs, and whether these shall succeed
_DEPENDENCIES: Mapping[str, bool | None] = MappingProxyType({"after": True, "after_any": None, "after_failure": False})


class Client:
    """The jobs of all *schedulers*; those submitted from here have a directory under *state*."""

    def __init__(
        self,
        schedulers: Mapping[str, Scheduler],
        environ: Mapping[str, str],
        state: str,
        run: Run = run_command,
        warn: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._schedulers = schedulers
        self._environ = environ
        self._state = state
        self._warn = warn  # of what does not keep from the answer
        self._commands = Commands(schedulers, environ, run, warn, sleep)

    # submitting

    def prepare(self, spec: JobSpec, scheduler: Scheduler) -> JobSpec:
        """Return *spec* with what only the site can tell; raise JobSpecError for what cannot be said to *scheduler*."""
        spec = self._with_whole_ids(spec, scheduler)
        prepared = scheduler.prepare(spec, lambda argv: self._commands.ask(scheduler, argv, None))
        scheduler.check(prepared)
        return prepared

    def _with_whole_ids(self, spec: JobSpec, scheduler: Scheduler) -> JobSpec:
        """Return *spec* with the jobs that it depends on named as their scheduler does: PBS knows no ``7`` for ``7[]``,
        and says so to nobody."""
        named: dict[str, Any] = {
            field: tuple(report.status.job_id for report in self._wanted_before(spec, field, scheduler))
            for field in _DEPENDENCIES
            if getattr(spec, field)
        }
        return replace(spec, **named)

    def check_dependencies(self, spec: JobSpec, scheduler: Scheduler) -> None:
        """Raise InputError if *spec* depends on a job that nobody knows, or that has ended otherwise, where *scheduler*
        would begin all the same because it has forgotten that job, or remove the new one without a word.

        Only warn of a job that nobody knows where it may have just ended, and *scheduler*'s accounts are late.
        """
        if scheduler.forgotten_is_fulfilled or scheduler.removes_unfulfillable:
            for field, wanted in _DEPENDENCIES.items():
                reports = self._wanted_before(spec, field, scheduler)
                self._check_dependency(option_of(field), reports, wanted, scheduler)
        elif scheduler.ignores_unknown:
            for field in _DEPENDENCIES:
                reports = self._wanted_before(spec, field, scheduler)
                try:
                    self._check_known(reports)
                except InputError as error:
                    self._warn(f"{option_of(field)}: {error}; unless it is another user's, this one will not wait")

    def _check_known(self, reports: Sequence[Report]) -> None:
        """Raise InputError for a job that was not submitted from here, and that its scheduler does not know."""
        self.remembered([report for report in reports if report.job is None])

    def _check_dependency(
        self, option: str, reports: Sequence[Report], wanted: bool | None, scheduler: Scheduler
    ) -> None:
        if scheduler.removes_unfulfillable and reports:
            answer = self._ask(scheduler, reports)
            if answer.trouble is not None:
                raise answer.trouble
            known = {key.job for key in answer.said}
            for report in reports:
                if scheduler.key(report.status.job_id).job not in known:
                    raise JobSpecError(
                        f"{option} {report.status.job_id}: {scheduler.name} knows of no such job any more, and would "
                        f"remove this one without a word: see how that one ended, and leave {option} out",
                        option,
                    )
        if wanted is None:
            self._check_known(reports)
            return
        for report in self.remembered(reports):
            status = report.status
            unknown = status.state is JobState.UNKNOWN and not status.unread
            if unknown or _has_succeeded(report) is (not wanted):
                raise JobSpecError(
                    f"{option} {status.job_id}: that job is {status.state.value} already, so this one would never "
                    "begin, or begin without that; submit it again, or use --after-any",
                    option,
                )

    def _wanted_before(self, spec: JobSpec, field: str, scheduler: Scheduler) -> list[Report]:
        """Return the jobs that *spec* depends on by *field*, all of them of the cluster that it will be sent to."""
        job_ids, here = getattr(spec, field), scheduler.site(self._environ, spec)
        with about(option_of(field)):
            found = self.find(job_ids, scheduler, here)
        reports = [
            report if report.scheduler == scheduler.name else unasked(scheduler.name, text, None)
            for text, report in zip(dict.fromkeys(job_ids), found)
        ]
        for report in reports:
            if report.site is not None and not report.site.agrees_with(here):
                there = f"the cluster {report.site.cluster!r}" if report.site.cluster else "the cluster of its shell"
                goal = f"the cluster {here.cluster!r}" if here.cluster else "the cluster of this shell"
                raise JobSpecError(
                    f"{option_of(field)} {report.label}: that job was sent to {there}, and this one would be sent to "
                    f"{goal}, while a dependency holds within one cluster: name the same one",
                    option_of(field),
                )
        return reports

    def submit(
        self,
        spec: JobSpec,
        scheduler: Scheduler,
        render: Callable[[Job], str],
        now: float,
        within: Site | None = None,
    ) -> Job:
        """Submit the prepared job *spec*, whose script *render* writes; return it with its id.

        It goes to the cluster *within*, or to the one that the shell of now chooses.
        """
        scheduler.check(spec)
        job = directories.create(self._state, spec, scheduler.name, now)
        try:
            private.write_text(job.script, render(job))
            directories.write(job)
            self._note_former(job, scheduler)
            done = self._run_submission(scheduler, spec, job.script, within)
            job_id = scheduler.parse_job_id(done)
        except PerhapsSubmittedError:  # the job may run, and write its record there
            raise
        except ScoopError:
            directories.remove(job)
            raise
        job = replace(job, job_id=job_id, site=within or scheduler.site(self._environ, spec, done))
        try:
            directories.write(job)
            self._note_former(job, scheduler)
            directories.note_site(self._state, job)
        except InputError as error:
            raise ScoopError(f"job {job_id} was submitted to {scheduler.name}, but: {error}") from error
        return job

    def _run_submission(self, scheduler: Scheduler, spec: JobSpec, script: str, within: Site | None) -> Completed:
        environ = scheduler.submit_environ(outside_jobs(self._environ), spec)
        try:
            return self._commands.submit(scheduler, scheduler.submit_argv(script), environ, within)
        except UnansweredError as error:
            raise PerhapsSubmittedError(str(error)) from error

    def _note_former(self, job: Job, scheduler: Scheduler) -> None:
        """Keep which output files are there already: what is in them is not the job's."""
        site = job.site or scheduler.site(self._environ, job.spec)
        former_output.note(
            job,
            lambda: scheduler.appends(job.spec, self._environ, lambda argv: self._commands.ask(scheduler, argv, site)),
        )

    def submit_again(self, report: Report, now: float) -> Job:
        """Submit a job that has ended once more, by its own script; return the new one."""
        old = report.job
        if old is None:
            raise InputError(f"the job {report.status.job_id!r} was not submitted from here: submit it again yourself")
        if report.index is not None:
            raise InputError(
                f"the job {report.status.job_id!r} is one of an array: only all of them can be submitted again"
            )
        text = directories.read_script(old)
        # the script names the directory of the job that it was made for, where the new one's record would go
        return self.submit(
            old.spec,
            self._commands.scheduler(old.scheduler),
            lambda job: text.replace(os.path.basename(old.directory), os.path.basename(job.directory)),
            now,
            old.site,
        )

    def try_out(self, spec: JobSpec, scheduler: Scheduler, render: Callable[[Job], str], now: float) -> str | None:
        """Return what *scheduler* thinks of the prepared job *spec*, None where it cannot be asked; submit nothing."""
        job = directories.create(self._state, spec, scheduler.name, now)
        try:
            private.write_text(job.script, render(job))
            argv = scheduler.test_argv(job.script)
            if argv is None:
                return None
            environ = scheduler.submit_environ(outside_jobs(self._environ), spec)
            return scheduler.parse_test(self._commands.submit(scheduler, argv, environ, None))
        finally:
            directories.remove(job)

    # finding

    def recent(self, count: int | None) -> list[Job]:
        """Return the jobs submitted last, the newest last; all, if *count* is None."""
        every = directories.newest_first(self._state, self._warn)
        newest = list(every) if count is None else [job for _, job in zip(range(count), every)]
        return newest[::-1]

    def find(self, job_ids: Iterable[str], fallback: Scheduler, preferred: Site | None = None) -> list[Report]:
        """Return the jobs of these ids, their status still to be asked; *fallback* may know what is not known here.

        An id may be that of one job of an array, and written in whatever way its scheduler takes; ``ID@CLUSTER`` is
        that of one cluster. The name of a job's directory is the job's, too. Raise InputError for an id that jobs of
        several clusters have, unless one of them is of the *preferred* cluster.
        """
        found: dict[str, list[Job]] = {text: [] for text in job_ids}
        keys = {text: self._keys(_split(text)[0]) for text in found}
        several = directories.has_several_sites(self._state)
        for job in directories.newest_first(self._state, self._warn):
            own = self._keys(job.job_id or "").get(job.scheduler)
            for text, jobs in found.items():
                key = keys[text].get(job.scheduler)
                named = key is not None and own is not None and key.job == own.job and _is_of_cluster(job, text)
                if named or os.path.basename(text) == os.path.basename(job.directory):
                    jobs.append(job)
            if not several and all(found.values()):
                break
        return [self._chosen(text, jobs, keys[text], fallback, preferred) for text, jobs in found.items()]

    def _chosen(
        self,
        text: str,
        jobs: Sequence[Job],
        keys: Mapping[str, JobKey],
        fallback: Scheduler,
        preferred: Site | None,
    ) -> Report:
        """Return the job that *text* means: the newest of *jobs*, if they are all of one cluster."""
        if not jobs:
            owner, (job_id, cluster) = self._owner(text, fallback), _split(text)
            if not cluster or not owner.has_clusters:
                return unasked(owner.name, text, None)
            return unasked(owner.name, job_id, None, Site(cluster))
        here = [
            job for job in jobs if preferred is not None and job.site is not None and preferred.agrees_with(job.site)
        ]
        exact = [job for job in jobs if job.job_id == text]
        candidates = here or exact or jobs
        newest = candidates[0]
        others = [job for job in candidates if (job.scheduler, job.site) != (newest.scheduler, newest.site)]
        if others and not here:
            known = {place_of(report): report for report in self.reports([*others, newest])}
            names = " and ".join(
                f"{report.label} of {place.scheduler} ({os.path.basename(report.job.directory)})"
                for place, report in known.items()
                if report.job is not None
            )
            raise InputError(
                f"the job {text!r} is one of several clusters: {names}; write ID@CLUSTER, or the name in parentheses"
            )
        key = keys.get(newest.scheduler)
        return self._report_of(text, newest, key or JobKey(newest.job_id or ""))

    def _keys(self, text: str) -> dict[str, JobKey]:
        """Return what *text* means to each scheduler that could have written it."""
        keys = {}
        for name, scheduler in self._schedulers.items():
            try:
                keys[name] = scheduler.key(text)
            except JobSpecError:
                continue
        return keys

    def _report_of(self, text: str, job: Job, key: JobKey) -> Report:
        if key.index is None or job.job_id is None:
            return unasked(job.scheduler, job.job_id or "", job)
        if job.spec.array is None or key.index not in job.spec.array.indices:
            raise InputError(f"no job {text!r}: job {job.job_id} is no array, or not of that many jobs")
        job_id = self._commands.scheduler(job.scheduler).element_id(job.job_id, key.index)
        return replace(unasked(job.scheduler, job_id, job), index=key.index)

    def first_of(self, report: Report) -> str:
        """Return the id of an array's first job."""
        return elements_of(self._commands.scheduler(report.scheduler), report)[0].status.job_id

    def reports(self, jobs: Sequence[Job]) -> list[Report]:
        """Return *jobs* with their status still to be asked."""
        return [unasked(job.scheduler, job.job_id or "", job) for job in jobs]

    # asking

    def status(
        self,
        reports: Sequence[Report],
        on_trouble: Callable[[SchedulerError], None] | None = None,
        pauses: Sequence[float] = PAUSES,
    ) -> list[Report]:
        """Ask how the jobs stand, each cluster once for all of its jobs.

        Raise InputError for a job that none knows. A scheduler that does not answer, or that is unknown here, is an
        error, or, if *on_trouble* is given, told to it; what is known here has to do then. An answer that is an error
        is asked for again after each of *pauses*, in seconds.
        """
        answers: dict[Place, Answer] = {}
        for place, own in by_place(reports).items():
            try:
                scheduler = self._commands.scheduler(place.scheduler)
            except JobSpecError as error:
                if on_trouble is None:
                    raise
                on_trouble(SchedulerError(str(error)))
                continue
            answers[place] = answer = self._ask(scheduler, own, pauses)
            if answer.trouble is not None:
                if on_trouble is None:
                    raise answer.trouble
                on_trouble(answer.trouble)
        told = [
            self._stand(report, answers[place_of(report)]) if place_of(report) in answers else _with_record(report)
            for report in reports
        ]
        whole = {place for place, answer in answers.items() if answer.trouble is None}
        unknown = [
            report
            for report in told
            if report.job is None and report.status.state is JobState.UNKNOWN and not report.status.unread
        ]
        unknown = [report for report in unknown if place_of(report) in whole]
        if unknown:
            ids_text = ", ".join(repr(report.label) for report in unknown)
            raise InputError(
                f"no job {ids_text}: unknown to {unknown[0].scheduler}, and not submitted from here; "
                "`scoop-hpc history` lists those that were"
            )
        return told

    def _ask(self, scheduler: Scheduler, reports: Sequence[Report], pauses: Sequence[float] = PAUSES) -> Answer:
        """Ask how jobs stand that are all of one cluster."""
        ids = [report.status.job_id for report in reports]
        wanted = [key for report in reports for key in keys_of(scheduler, report)]
        return self._commands.statuses(scheduler, ids, wanted, reports[0].site, pauses)

    def _stand(self, report: Report, answer: Answer) -> Report:
        """Return how a job stands in view of its cluster's *answer*, and keep what it says of the job's end."""
        scheduler, job = self._commands.scheduler(report.scheduler), report.job
        if job is None:
            return stand_elsewhere(scheduler, report, answer)
        ends = directories.read_ends(job)
        standing = stand(scheduler, report, answer, ends, Known(_record_of, _last_complaint))
        if standing.ends != ends:
            try:
                directories.write_ends(job, standing.ends)
            except InputError as error:
                self._warn(f"the end of job {report.status.job_id} is known, but not kept: {error}")
            for index in standing.ends:  # of a driver that was killed
                remove_door(door_beside(of_element(os.path.join(job.directory, look.FILE), index)))
        return standing.report

    def _unanswered(self, report: Report) -> Report:
        """Return what is known here of a job whose scheduler does not answer."""
        return self._stand(report, Answer({}, UnansweredError(f"no answer from {report.scheduler}")))

    def remembered(self, reports: Sequence[Report]) -> list[Report]:
        """Return how the jobs stand; only those whose end was not heard of yet are asked for."""
        ended = {
            position: self._stand(report, Answer({}))
            for position, report in enumerate(reports)
            if report.job is not None and report.scheduler in self._schedulers and _is_settled(report.job)
        }
        asked = [report for position, report in enumerate(reports) if position not in ended]
        answers = iter(self.status(asked, lambda error: self._warn(str(error))) if asked else [])
        return [ended[position] if position in ended else next(answers) for position in range(len(reports))]

    def wait(
        self,
        reports: Sequence[Report],
        on_tick: Callable[[Sequence[Report]], None],
        on_trouble: Callable[[SchedulerError], None],
        timeout: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        wall: Callable[[], float] = time.time,
    ) -> list[Report]:
        """Ask until no job goes on, or *timeout* seconds are over; return how they stand: see `scoop_hpc.jobs.waiting`.

        *on_tick* is given the reports now and then, *on_trouble* an error despite which the waiting goes on.
        """
        waiting = Waiting(reports, clock(), timeout)
        while waiting.goes_on():
            on_tick(waiting.reports)
            now = clock()
            if waiting.is_over(now):
                return waiting.reports if waiting.is_answered else [self._unanswered(each) for each in waiting.reports]
            if _is_news(waiting.reports):
                waiting.note_news(now)
            if waiting.is_due(now):
                try:
                    trouble = waiting.take(self.status(waiting.reports, pauses=()), now, wall())
                    if trouble is not None:
                        on_trouble(trouble)
                    continue
                except SchedulerError as error:
                    trouble = waiting.take_trouble(error, now)
                    if trouble is not None:
                        on_trouble(trouble)
                    waiting.reports = [_with_record(report) for report in waiting.reports]
            sleep(waiting.pause(clock()))
        on_tick(waiting.reports)
        return waiting.reports

    # acting

    def cancel(self, reports: Sequence[Report]) -> None:
        """End the jobs, each cluster's with one command."""
        for scheduler, site, ids in self._by_place(reports):
            scheduler.parse_cancel(self._commands.ask(scheduler, scheduler.cancel_argv(ids), site))
        for report in reports:
            self._keep_cancelled(report)

    def _keep_cancelled(self, report: Report) -> None:
        """Keep that a job was cancelled before it began: some schedulers have no accounts of it, others keep none."""
        waiting = [each for each in report.elements or (report,) if each.status.state is JobState.PENDING]
        if report.job is None or not waiting:
            return
        ends = {
            each.index: JobStatus(
                each.status.job_id, JobState.CANCELLED, NOT_BEGUN if each.record is None else NOT_BEGUN_AGAIN
            )
            for each in waiting
        }
        try:
            directories.write_ends(report.job, {**ends, **directories.read_ends(report.job)})
        except InputError as error:
            self._warn(f"job {report.status.job_id} is cancelled, but that is not kept: {error}")

    def requeue(self, reports: Sequence[Report]) -> None:
        """Put running jobs back into their queue, under the same id."""
        for scheduler, site, ids in self._by_place(reports):
            argv = scheduler.requeue_argv(ids)
            if argv is None:
                raise InputError(f"{scheduler.name} puts no job back into its queue: cancel it, and requeue it then")
            scheduler.parse_requeue(self._commands.ask(scheduler, argv, site))

    def explain(self, report: Report) -> list[str]:
        """Return why a job that waits does not run."""
        scheduler = self._commands.scheduler(report.scheduler)
        argv = scheduler.explain_argv(report.status.job_id)
        done = Completed((), 0, "", "") if argv is None else self._commands.ask(scheduler, argv, report.site)
        return scheduler.explain(report.status, done)

    def _by_place(self, reports: Sequence[Report]) -> list[tuple[Scheduler, Site | None, list[str]]]:
        return [
            (self._commands.scheduler(place.scheduler), place.site, [report.status.job_id for report in each])
            for place, each in by_place(reports).items()
        ]

    def _owner(self, job_id: str, fallback: Scheduler) -> Scheduler:
        return next((each for each in self._schedulers.values() if each.owns(job_id)), fallback)


def _split(text: str) -> tuple[str, str]:
    """Return the id and the cluster in ``ID@CLUSTER``, or in ``ID;CLUSTER`` as sbatch --parsable has it."""
    job_id, _, cluster = text.replace(";", "@", 1).partition("@")
    return job_id, cluster


def _is_of_cluster(job: Job, text: str) -> bool:
    """Return whether *job* is of the cluster that *text* names, or of the scheduler where no cluster has a name."""
    cluster = _split(text)[1]
    named = "" if job.site is None else job.site.cluster
    return not cluster or cluster == (named or job.scheduler)


def _has_succeeded(report: Report) -> bool | None:
    """Return whether a job, or each of an array, has succeeded; None while that may turn out either way."""
    states = [each.status.state for each in report.elements or (report,)]
    if any(state.ended and state is not JobState.COMPLETED for state in states):
        return False
    return True if all(state.ended for state in states) else None


def _is_settled(job: Job) -> bool:
    """Return whether the end of a job, or of each of an array, was heard of."""
    indices = [None] if job.spec.array is None else job.spec.array.indices
    ends = directories.read_ends(job)
    return all(index in ends for index in indices)


def _is_news(reports: Sequence[Report]) -> bool:
    """Return whether a driver has recorded something since it was last looked at."""
    each = [element for report in reports for element in report.elements or (report,)]
    return any(goes_on(report) and _record_of(report) != report.record for report in each)


def _with_record(report: Report) -> Report:
    """Return *report* with what its driver has recorded until now."""
    if report.elements:
        return replace(report, elements=tuple(map(_with_record, report.elements)))
    return replace(report, record=_record_of(report))


def _record_of(report: Report) -> Record | None:
    """Return the driver's record, None if it cannot be read now: the scheduler may know all the same."""
    try:
        return None if report.job is None else directories.read_record(report.job, report.index)
    except ScoopError:
        return None


def _last_complaint(report: Report) -> str:
    return "" if report.job is None else directories.last_complaint(report.job, report.index)
