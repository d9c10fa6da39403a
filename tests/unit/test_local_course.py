"""The course of a local job, without a process or a clock."""

from __future__ import annotations

import signal

from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.local.course import GRACE_OF_WALLTIME, Course, Send
from scoop_hpc.schedulers.local.processes import GRACE
from scoop_hpc.schedulers.local.states import State

JOB = State("local-1", "pi", JobState.RUNNING)
END = Send((signal.SIGTERM, signal.SIGCONT))
KILL = Send((signal.SIGKILL,))


def told(course: Course, code: int) -> tuple[JobState, int | None, str]:
    ended = course.end(code)
    return ended.state, ended.exit_status, ended.reason


def test_a_script_that_ends_by_itself_gives_the_job_its_end() -> None:
    course = Course(JOB, None, None, 0.0)
    assert course.step(False, [], 1e9) is None
    assert told(course, 0) == (JobState.COMPLETED, 0, "")
    assert told(course, 3) == (JobState.FAILED, 3, "")
    assert told(course, -11) == (JobState.FAILED, 139, "ended by SIGSEGV")
    assert told(course, -35) == (JobState.FAILED, 163, "ended by signal 35")


def test_a_script_is_warned_once_then_ended_and_then_killed() -> None:
    course = Course(JOB, 60, 10, 100.0)
    sent = [course.step(False, [], now) for now in (150.0, 150.5, 151.0, 160.0, 160.5, 161.0)]
    assert sent == [None, Send((signal.SIGUSR1,), to_group=False), None, None, END, None]
    assert course.step(False, [], 160.5 + GRACE_OF_WALLTIME) is None
    assert course.step(False, [], 161.0 + GRACE_OF_WALLTIME) == KILL
    assert told(course, -9) == (JobState.TIMEOUT, 137, "its walltime of 0:01:00 is over")


def test_a_job_that_is_cancelled_is_killed_sooner() -> None:
    course = Course(JOB, 60, None, 0.0)
    assert course.step(True, [], 1.0) == END
    assert course.step(False, [signal.SIGTERM], 1.0 + GRACE) is None
    assert course.step(False, [], 1.1 + GRACE) == KILL
    assert told(course, 0) == (JobState.CANCELLED, 0, "cancelled")


def test_a_signal_to_the_supervisor_ends_the_job() -> None:
    course = Course(JOB, None, None, 0.0)
    assert course.step(False, [signal.SIGTERM], 1.0) == END
    assert told(course, -15) == (JobState.FAILED, 143, "the job's supervisor was ended by SIGTERM")
