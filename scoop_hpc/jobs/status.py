"""Put together how jobs stand: from what their cluster says now and said before, and what their drivers recorded.

A job's end is known to three: the scheduler, which forgets; the driver's record, which is missing where the driver was
killed or never started; and the job's directory, where the scheduler's last word is kept. Nothing is asked or written
here: `scoop_hpc.jobs.client` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from scoop_hpc.jobs.commands import Answer
from scoop_hpc.jobs.reconcile import settle
from scoop_hpc.jobs.record import Record
from scoop_hpc.jobs.report import Report, aggregate, unasked
from scoop_hpc.schedulers.answers import JobKey, JobStatus
from scoop_hpc.schedulers.base import Scheduler
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.site import Site

# the reasons of an end that no scheduler may tell of
NOT_BEGUN = "cancelled before it began"
NOT_BEGUN_AGAIN = f"{NOT_BEGUN} again"

_NO_ANSWER = "no answer from"  # the beginning of a reason

Ends = Mapping[int | None, JobStatus]  # how a job ended, or the jobs of an array, by their indices


@dataclass(frozen=True, slots=True)
class Place:
    """A scheduler, by name, and which of its clusters has a job."""

    scheduler: str
    site: Site | None


@dataclass(frozen=True, slots=True)
class Known:
    """Ways to look at what jobs left here: the driver's record, and the last error that the script has printed."""

    record: Callable[[Report], Record | None]
    complaint: Callable[[Report], str]


@dataclass(frozen=True, slots=True)
class Standing:
    """A job's report, and the ends to keep for the time when its scheduler has forgotten it."""

    report: Report
    ends: Ends


def is_unanswered(report: Report) -> bool:
    """Return whether how a job stands is not known only because its scheduler does not answer."""
    return any(each.status.reason.startswith(_NO_ANSWER) for each in report.elements or (report,))


def place_of(report: Report) -> Place:
    return Place(report.scheduler, report.site)


def by_place(reports: Sequence[Report]) -> dict[Place, list[Report]]:
    """Return *reports* by the cluster that has to be asked."""
    places: dict[Place, list[Report]] = {}
    for report in reports:
        places.setdefault(place_of(report), []).append(report)
    return places


def elements_of(scheduler: Scheduler, report: Report) -> list[Report]:
    """Return the jobs of an array, their status still to be asked."""
    job = report.job
    assert job is not None
    assert job.spec.array is not None
    return [
        replace(unasked(report.scheduler, scheduler.element_id(report.status.job_id, index), job), index=index)
        for index in job.spec.array.indices
    ]


def keys_of(scheduler: Scheduler, report: Report) -> list[JobKey]:
    """Return what an answer about *report* should hold: the job, or each of an array."""
    key = scheduler.key(report.status.job_id)
    array = None if report.job is None else report.job.spec.array
    return [key] if array is None or key.index is not None else [JobKey(key.job, index) for index in array.indices]


def stand_elsewhere(scheduler: Scheduler, report: Report, answer: Answer) -> Report:
    """Return how a job stands that was not submitted from here: only its cluster knows of it."""
    key, job_id = scheduler.key(report.status.job_id), report.status.job_id
    status = answer.said.get(key)
    parts = [each for other, each in answer.said.items() if other.job == key.job]
    if status is None and parts:
        status = aggregate(job_id, parts)
    reason = f"{_NO_ANSWER} {report.scheduler}" if answer.trouble is not None else ""
    return replace(report, status=status or JobStatus(job_id, JobState.UNKNOWN, reason))


def stand(scheduler: Scheduler, report: Report, answer: Answer, ends: Ends, known: Known) -> Standing:
    """Return how a job stands that was submitted from here: in view of its cluster's *answer*, of the *ends* that were
    heard of before, and of what is *known* of it."""
    assert report.job is not None
    key = scheduler.key(report.status.job_id)
    is_array = report.job.spec.array is not None and report.index is None
    unread_array = answer.said.get(JobKey(key.job)) if is_array else None
    unread_array = unread_array if unread_array is not None and unread_array.unread else None
    heard = dict(ends)
    settled = []
    for each in elements_of(scheduler, report) if is_array else [report]:
        status, told = answer.said.get(JobKey(key.job, each.index), unread_array), ends.get(each.index)
        if status is not None and told is not None and (status.unread or status.with_its_array):
            status = None  # what was said before is better
        has_not_begun = told is not None and told.reason in (NOT_BEGUN, NOT_BEGUN_AGAIN)
        if told is not None and has_not_begun and (status is None or status.state is JobState.CANCELLED):
            # a record is that of a run before the job was put back into its queue: the end is not that one's
            end = replace(told, reason=(status or told).reason or told.reason)
            settled.append(replace(each, status=end, record=known.record(each)))
            continue
        if status is not None and status.state.ended:
            heard[each.index] = status
        elif status is not None and told is not None and not has_not_begun:
            del heard[each.index]  # it was put back into its queue
        settled.append(_stand_one(each, status or told, answer, known))
    if not is_array:
        return Standing(settled[0], heard)
    whole = aggregate(report.status.job_id, [each.status for each in settled])
    return Standing(replace(report, status=whole, elements=tuple(settled)), heard)


def _stand_one(report: Report, said: JobStatus | None, answer: Answer, known: Known) -> Report:
    record = known.record(report)
    has_ended = record is not None and record.state.ended
    if said is not None and said.unread:
        if not has_ended:
            return replace(report, status=replace(said, job_id=report.status.job_id), record=record)
        said = None
    if answer.trouble is not None and said is None and not has_ended:
        unknown = JobStatus(report.status.job_id, JobState.UNKNOWN, f"{_NO_ANSWER} {report.scheduler}")
        return replace(report, status=unknown, record=record)
    status = settle(report.status.job_id, said, record)
    if status.state is JobState.FAILED and record is None:  # its script had more to say
        status = replace(status, reason="; ".join(filter(None, (known.complaint(report), status.reason))))
    return replace(report, status=status, record=record)
