"""A report on a job: how it stands, and what is known of it here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scoop_hpc.jobs.directories import Job
from scoop_hpc.jobs.record import Record
from scoop_hpc.schedulers.answers import JobStatus
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.site import Site

# of jobs that have ended, the first that one of them has is the array's
_WORST = (
    JobState.NODE_FAIL,
    JobState.OUT_OF_MEMORY,
    JobState.TIMEOUT,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.UNKNOWN,
    JobState.COMPLETED,
)


@dataclass(frozen=True, slots=True)
class Report:
    """One job, or one of an array, whose *index* that is. *job* is None for a job that was not submitted from here."""

    scheduler: str
    status: JobStatus
    job: Job | None = None
    record: Record | None = None
    index: int | None = None
    elements: tuple[Report, ...] = ()  # of an array: its jobs
    site: Site | None = None  # None: whichever cluster the commands ask by themselves

    @property
    def label(self) -> str:
        """The id, with the cluster where one was named: enough to tell the job from others of that id."""
        cluster = "" if self.site is None else self.site.cluster
        return f"{self.status.job_id}@{cluster}" if cluster else self.status.job_id

    @property
    def output(self) -> str | None:
        """The file that gets what it prints, None where that is not known or is one for each job of an array."""
        return None if self.job is None or self.elements else self.job.output(self.index)


def unasked(scheduler: str, job_id: str, job: Job | None, site: Site | None = None) -> Report:
    """Return a report of a job that nobody was asked about yet; *site* is for one that was not submitted from here."""
    return Report(scheduler, JobStatus(job_id, JobState.UNKNOWN), job, site=site if job is None else job.site)


def goes_on(report: Report) -> bool:
    """Return whether there is more to come of a job."""
    return not report.status.state.ended and report.status.state is not JobState.UNKNOWN


def is_queued(report: Report) -> bool:
    """Return whether there is something to cancel of a job."""
    return goes_on(report) or any(each.status.stuck or each.status.unread for each in report.elements or (report,))


def aggregate(job_id: str, elements: Sequence[JobStatus]) -> JobStatus:
    """Return how an array stands, in view of its jobs: the reason counts them.

    >>> jobs = [JobStatus("7_0", JobState.COMPLETED, exit_status=0), JobStatus("7_1", JobState.FAILED, exit_status=3)]
    >>> whole = aggregate("7", jobs)
    >>> whole.state, whole.reason, whole.exit_status
    (<JobState.FAILED: 'FAILED'>, '1 COMPLETED, 1 FAILED', 3)
    """
    states = Counter(element.state for element in elements)
    unread = any(element.unread for element in elements)
    counted = ", ".join(f"{states[state]} {state.value}" for state in JobState if states[state])
    nodes = tuple(dict.fromkeys(node for element in elements for node in element.nodes))
    state = _state(states)
    if unread and state.ended:
        state = JobState.UNKNOWN  # of those that cannot be read, some may go on
    codes = [element.exit_status for element in elements if element.exit_status is not None]
    exit_status = max(codes, default=None) if state.ended else None
    if exit_status == 0 and state is not JobState.COMPLETED:
        exit_status = None
    return JobStatus(job_id, state, counted, nodes, exit_status, unread=unread and state is JobState.UNKNOWN)


def _state(states: Counter[JobState]) -> JobState:
    going = [state for state in (JobState.RUNNING, JobState.SUSPENDED) if states[state]]
    if going:
        return going[0]
    if states[JobState.PENDING]:
        return JobState.PENDING if states[JobState.PENDING] == sum(states.values()) else JobState.RUNNING
    return next((state for state in _WORST if states[state]), JobState.UNKNOWN)
