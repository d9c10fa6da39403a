"""Waiting for jobs, without a scheduler or a clock: when to ask, and what to believe."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scoop_hpc.errors import SchedulerError
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.jobs.directories import Job
from scoop_hpc.jobs.reconcile import settle
from scoop_hpc.jobs.report import Report, unasked
from scoop_hpc.jobs.waiting import Waiting
from scoop_hpc.schedulers.job_state import JobState

JOB = Job("/state/jobs/1", JobSpec(("pi.py",), "/home/me", "pi"), "slurm", 1.0, "7")
OURS, ANOTHER = unasked("slurm", "7", JOB), unasked("slurm", "8", None)
WALL = 1e9


def standing(state: JobState, report: Report = OURS) -> Report:
    return replace(report, status=replace(report.status, state=state))


def asked_at(waiting: Waiting, seconds: int, told: Report) -> list[float]:
    """Return when a scheduler is asked that always answers the same."""
    times = []
    for now in (tenth / 10 for tenth in range(10 * seconds)):
        if waiting.is_due(now):
            times.append(now)
            assert waiting.take([told], now, WALL) is None
    return times


def test_a_scheduler_is_asked_ever_more_seldom_and_soon_after_news() -> None:
    waiting = Waiting([OURS], 0.0)
    times = asked_at(waiting, 600, standing(JobState.RUNNING))
    pauses = [round(after - before, 1) for before, after in zip(times, times[1:])]
    assert (pauses[0], pauses[-1]) == (0.5, 15.0)
    assert pauses == sorted(pauses)
    waiting.note_news(600.0)
    assert waiting.is_due(600.0)


def test_the_jobs_are_asked_for_once_even_if_the_time_is_up() -> None:
    waiting = Waiting([OURS], 0.0, timeout=0.0)
    assert not waiting.is_over(1.0)
    waiting.take([standing(JobState.RUNNING)], 1.0, WALL)
    assert waiting.is_over(1.0)
    assert waiting.pause(1.0) == 0.0


def test_an_end_that_is_a_guess_is_believed_only_after_a_while() -> None:
    waiting = Waiting([OURS], 0.0)
    waiting.take([standing(JobState.RUNNING)], 0.0, WALL)
    guess = replace(OURS, status=settle("7", None, None))
    for now, state in ((10.0, JobState.RUNNING), (29.0, JobState.RUNNING), (30.0, JobState.UNKNOWN)):
        waiting.take([guess], now, WALL)
        assert waiting.reports[0].status.state is state
    assert not waiting.goes_on()


def test_a_trouble_is_told_once_until_there_is_an_answer() -> None:
    waiting, away = Waiting([OURS], 0.0), SchedulerError("squeue failed")
    assert [waiting.take_trouble(away, now) for now in (0.0, 70.0)] == [away, None]
    waiting.take([standing(JobState.RUNNING)], 80.0, WALL)
    assert waiting.take_trouble(away, 90.0) is away


def test_a_job_of_somebody_else_s_is_not_waited_for_while_nobody_answers() -> None:
    waiting, away = Waiting([ANOTHER], 0.0), SchedulerError("squeue failed")
    assert waiting.take_trouble(away, 60.0) is away
    with pytest.raises(SchedulerError):
        waiting.take_trouble(away, 61.0)
