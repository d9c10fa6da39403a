"""How a job stands, when its scheduler and its driver say different things, or nothing."""

from __future__ import annotations

import pytest

from scoop_hpc.jobs.reconcile import settle
from scoop_hpc.jobs.record import DRIVER_LOST, Record
from scoop_hpc.schedulers.answers import JobStatus
from scoop_hpc.schedulers.job_state import JobState

S = JobState
LOST = f"x {DRIVER_LOST}"
SILENT = "the driver ended without a word"


def said(state: JobState, reason: str = "", exit_status: int | None = None) -> JobStatus:
    return JobStatus("7", state, reason, (), exit_status)


KILLED = JobStatus("7", S.CANCELLED, "ended by SIGKILL", killed=True)
DELETED = JobStatus("7", S.CANCELLED, "deleted with its array", with_its_array=True)


def recorded(state: JobState, exit_status: int | None = None, reason: str = "") -> Record:
    return Record(state, 1.0, ("n1", "n2"), "n1", 99, exit_status=exit_status, reason=reason)


@pytest.mark.parametrize(
    ("scheduler", "driver", "state", "exit_status", "reason"),
    [
        # both know nothing: no guess
        (None, None, S.UNKNOWN, None, "the scheduler has forgotten it, and it left no record"),
        # the scheduler has forgotten
        (None, recorded(S.COMPLETED, 0), S.COMPLETED, 0, ""),
        (None, recorded(S.FAILED, 3, "a worker died"), S.FAILED, 3, "a worker died"),
        (None, recorded(S.RUNNING), S.FAILED, None, SILENT),
        # the driver knows of the memory, the scheduler of the exit status
        (said(S.FAILED, "NonZero", 137), recorded(S.OUT_OF_MEMORY, 137, "w"), S.OUT_OF_MEMORY, 137, "w; NonZero"),
        (said(S.FAILED, "", 1), recorded(S.OUT_OF_MEMORY, 1, "w"), S.OUT_OF_MEMORY, 1, "w"),
        (None, recorded(S.OUT_OF_MEMORY, 137, "w"), S.OUT_OF_MEMORY, 137, "w"),
        # there is no record
        (said(S.PENDING, "Resources"), None, S.PENDING, None, "Resources"),
        (said(S.FAILED, "NonZeroExitCode", 3), None, S.FAILED, 3, "NonZeroExitCode"),
        (said(S.CANCELLED, "", 0), None, S.CANCELLED, None, ""),
        (said(S.CANCELLED, "by user 1000"), None, S.CANCELLED, None, "by user 1000"),
        # it goes on: what the driver of an earlier start recorded is past
        (said(S.RUNNING), recorded(S.RUNNING), S.RUNNING, None, ""),
        (said(S.PENDING, "BeginTime"), recorded(S.FAILED, 143), S.PENDING, None, "BeginTime"),
        # what was done from outside, the scheduler knows
        (said(S.CANCELLED), recorded(S.CANCELLED, 143, "ended by SIGTERM"), S.CANCELLED, 143, "ended by SIGTERM"),
        (KILLED, recorded(S.FAILED, 1, "qrsh died"), S.FAILED, 1, "qrsh died"),
        (KILLED, recorded(S.FAILED, 1, LOST), S.CANCELLED, 1, KILLED.reason),
        (said(S.CANCELLED, "deleted by me"), recorded(S.FAILED, 1, "qrsh died"), S.CANCELLED, 1, "deleted by me"),
        (said(S.CANCELLED), recorded(S.FAILED, 1, "no agent on n1"), S.CANCELLED, 1, "no agent on n1"),
        (said(S.TIMEOUT, "TimeLimit"), recorded(S.CANCELLED, 143, "SIGTERM"), S.TIMEOUT, 143, "TimeLimit"),
        (said(S.OUT_OF_MEMORY, "OutOfMemory", 137), recorded(S.RUNNING), S.OUT_OF_MEMORY, 137, "OutOfMemory"),
        (said(S.NODE_FAIL, "NodeDown"), recorded(S.RUNNING), S.NODE_FAIL, None, "NodeDown"),
        (said(S.TIMEOUT, "TimeLimit", 0), recorded(S.COMPLETED, 0), S.TIMEOUT, None, "TimeLimit"),
        # what it recorded before its job was deleted, is how it ended
        (said(S.CANCELLED, "by me"), recorded(S.COMPLETED, 0), S.COMPLETED, 0, ""),
        (DELETED, recorded(S.COMPLETED, 0), S.COMPLETED, 0, ""),
        (DELETED, recorded(S.FAILED, 3), S.FAILED, 3, ""),
        (DELETED, recorded(S.RUNNING), S.CANCELLED, None, DELETED.reason),
        (DELETED, None, S.CANCELLED, None, DELETED.reason),
        # how the program ended, the driver knows
        (said(S.COMPLETED), recorded(S.COMPLETED, 0), S.COMPLETED, 0, ""),
        (
            said(S.FAILED, "NonZeroExitCode"),
            recorded(S.FAILED, 3, "3 of 8 died"),
            S.FAILED,
            3,
            "3 of 8 died; NonZeroExitCode",
        ),
        (said(S.FAILED, "NonZeroExitCode"), recorded(S.FAILED, 3), S.FAILED, 3, "NonZeroExitCode"),
        # how the script ended after it, the scheduler does
        (
            said(S.FAILED, "NonZeroExitCode", 7),
            recorded(S.COMPLETED, 0),
            S.FAILED,
            7,
            "the job script failed, though the program had ended well; NonZeroExitCode",
        ),
        # a driver that was killed
        (said(S.FAILED, "RaisedSignal:9", 137), recorded(S.RUNNING), S.FAILED, 137, f"{SILENT}; RaisedSignal:9"),
        # no silent success: a script that goes on after its driver failed, and ends well
        (said(S.COMPLETED, "", 0), recorded(S.FAILED, 3, "why"), S.FAILED, 3, "why"),
    ],
)
def test_a_jobs_end(
    scheduler: JobStatus | None,
    driver: Record | None,
    state: JobState,
    exit_status: int | None,
    reason: str,
) -> None:
    status = settle("7", scheduler, driver)
    assert (status.job_id, status.state, status.exit_status, status.reason) == ("7", state, exit_status, reason)


def test_nodes_come_from_the_record_where_the_scheduler_is_silent() -> None:
    assert settle("7", said(S.RUNNING), recorded(S.RUNNING)).nodes == ("n1", "n2")
    assert settle("7", said(S.PENDING), recorded(S.CANCELLED)).nodes == ()
