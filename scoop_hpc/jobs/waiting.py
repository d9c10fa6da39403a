"""Waiting for jobs to end: when to ask how they stand, and what to believe of the answers.

A state machine: answers, troubles and the time go in. Schedulers are asked ever more seldom, but soon after a driver's
record tells news. A scheduler that does not answer for a while does not end the waiting, nor does a job that has left
the queue before the scheduler's accounts tell of its end: they may come 15 s late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scoop_hpc.errors import SchedulerError
from scoop_hpc.jobs.reconcile import is_guess
from scoop_hpc.jobs.report import Report, goes_on
from scoop_hpc.schedulers.job_state import JobState

_TICK = 0.2  # seconds between two looks at what costs a scheduler nothing
_SLOWEST = 5.0  # seconds between two of these looks
_SOONEST, _LATEST = 0.5, 15.0  # seconds between two questions to a scheduler
_GRACE = 60.0  # seconds for which a scheduler that never answered is asked for a job that was not submitted from here
_LATE = 20.0  # seconds by which a scheduler's accounts may be late
_NEVER = float("-inf")


class Waiting:
    """The jobs that somebody waits for, for *timeout* seconds at most; times are of a monotonic clock."""

    def __init__(self, reports: Sequence[Report], now: float, timeout: float | None = None) -> None:
        # as if they were to begin, until somebody knows better
        self.reports = [
            replace(each, status=replace(each.status, state=JobState.PENDING), elements=()) for each in reports
        ]
        self.is_answered = False  # how the jobs stand was heard at least once
        self._began = now
        self._end = None if timeout is None else now + timeout
        self._news = now  # since when questions become more seldom
        self._asked = _NEVER
        self._is_troubled = False
        self._needs_answer = any(report.job is None for report in reports)
        self._doubts = _Doubts()

    def goes_on(self) -> bool:
        return any(map(goes_on, self.reports))

    def is_over(self, now: float) -> bool:
        """Return whether the time is up; the jobs are asked for once, however short it is."""
        return self._end is not None and now >= self._end and self._asked > _NEVER

    def is_due(self, now: float) -> bool:
        """Return whether to ask again."""
        return now - self._asked >= min(max(_SOONEST, (now - self._news) / 4), _LATEST)

    def note_news(self, now: float) -> None:
        """Ask at once: a driver has recorded something."""
        self._news, self._asked = now, _NEVER

    def take(self, told: Sequence[Report], now: float, wall: float) -> SchedulerError | None:
        """Take in how the jobs are told to stand, at *wall* seconds since the epoch; return a trouble that is new."""
        self._asked = now
        unread = next((after for after in told if after.status.unread), None)
        is_new = unread is not None and not self._is_troubled
        readable = [before if after.status.unread else after for before, after in zip(self.reports, told)]
        believed = [self._doubts.weigh(before, after, now, wall) for before, after in zip(self.reports, readable)]
        if believed != readable:  # a doubt: ask soon again
            self._news = now
        self.reports = believed
        self._is_troubled, self._needs_answer, self.is_answered = unread is not None, False, True
        if unread is None or not is_new:
            return None
        return SchedulerError(f"job {unread.status.job_id}: {unread.status.reason}")

    def take_trouble(self, error: SchedulerError, now: float) -> SchedulerError | None:
        """Take in that there is no answer; return *error* if it is new, raise it if there is nothing to wait for."""
        self._asked = now
        if isinstance(error.__cause__, FileNotFoundError):
            raise error
        if self._needs_answer and now - self._began > _GRACE:
            raise error
        is_new, self._is_troubled = not self._is_troubled, True
        return error if is_new else None

    def pause(self, now: float) -> float:
        """Return the seconds until the next look at the drivers' records.

        Each look opens a file for every job; those of an array of thousands are looked at less often.
        """
        pause = min(_TICK + sum(len(report.elements) or 1 for report in self.reports) / 500, _SLOWEST)
        return pause if self._end is None else max(0.0, min(pause, self._end - now))


class _Doubts:
    """Jobs that left the queue before accounting caught up, and since when. Until then they go on, but not for ever."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()
        self._since: dict[tuple[str, str], float] = {}

    def weigh(self, before: Report, after: Report, now: float, wall: float) -> Report:
        """Return the report to believe: *after*, or, while there is doubt about it, *before*.

        *now* is monotonic, *wall* seconds since the epoch: a job of which a driver's record says that it has ended just
        now may have been put back into its queue.
        """
        job = (after.scheduler, after.label)
        each = after.elements or (after,)
        if not any(is_guess(one.status) for one in each):
            if goes_on(after):
                self._seen.add(job)
            return after
        if any(one.record is not None and wall - (one.record.ended or 0) < _LATE for one in each):
            self._seen.add(job)
        if job not in self._seen or now - self._since.setdefault(job, now) >= _LATE:
            return after
        return before
