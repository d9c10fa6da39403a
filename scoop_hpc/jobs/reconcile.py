"""Put together what a scheduler said of a job and what the job's driver recorded."""

from __future__ import annotations

from dataclasses import replace

from scoop_hpc.jobs.record import DRIVER_LOST, Record
from scoop_hpc.schedulers.answers import JobStatus
from scoop_hpc.schedulers.job_state import JobState

_SILENT = "the driver ended without a word"
_SCRIPT_FAILED = "the job script failed, though the program had ended well"
_FORGOTTEN = "the scheduler has forgotten it, and it left no record"


def is_guess(status: JobStatus) -> bool:
    """Return whether *status* does not tell how a job ended, so that the scheduler's accounts may do it yet.

    They have where there is an exit status: neither a silent driver nor its agent leaves one.
    """
    guessed = status.reason in (_SILENT, _FORGOTTEN) or status.reason.endswith(DRIVER_LOST)
    return guessed and status.exit_status is None


def settle(job_id: str, said: JobStatus | None, record: Record | None) -> JobStatus:
    """Put together what the scheduler said of a job, None if it has forgotten it, and the driver's record.

    The scheduler knows whether a job runs, and what was done to it from outside; the driver knows how and why the
    program ended.
    """
    if said is None and record is None:
        return JobStatus(job_id, JobState.UNKNOWN, _FORGOTTEN)
    if said is None and record is not None:
        if record.state.ended:
            return JobStatus(job_id, record.state, record.reason, record.nodes, record.exit_status)
        return JobStatus(job_id, JobState.FAILED, _SILENT, record.nodes)
    assert said is not None
    if record is not None:
        if said.state is not JobState.PENDING:  # where a job ran before it was put back says nothing of the next time
            said = replace(said, nodes=said.nodes or record.nodes)
        if said.state.ended:
            said = _complete(said, record)
    if said.exit_status == 0 and said.state is not JobState.COMPLETED:
        return replace(said, exit_status=None)  # what did not complete is no success
    return said


def _complete(said: JobStatus, record: Record) -> JobStatus:
    """Fill in from the driver's record what the scheduler could not say of a job that has ended."""
    state = said.state
    if state is JobState.CANCELLED and (
        record.state is JobState.COMPLETED or (said.with_its_array and record.state.ended)
    ):  # it had ended before
        return replace(said, state=record.state, reason=record.reason, exit_status=record.exit_status)
    if state is JobState.COMPLETED and record.state.ended:
        state = record.state  # a script may go on after its driver failed, and succeed
    if state is JobState.FAILED and record.state is JobState.OUT_OF_MEMORY:
        state = record.state
    failed = record.state in (JobState.FAILED, JobState.OUT_OF_MEMORY) and not record.reason.endswith(DRIVER_LOST)
    if said.killed and failed:
        # it had failed before it was killed: a scheduler may kill what is left of a job of which a task has died. Where
        # somebody is known to have cancelled it, the driver may well have failed of that
        return replace(said, state=record.state, reason=record.reason, exit_status=record.exit_status)
    reason = said.reason or record.reason
    if state in (JobState.FAILED, JobState.OUT_OF_MEMORY) and said.state is JobState.FAILED:
        of_script = record.state is JobState.COMPLETED and bool(said.exit_status)
        words = (_SCRIPT_FAILED if of_script else record.reason if record.state.ended else _SILENT, said.reason)
        reason = "; ".join(word for word in words if word)
        if of_script:
            return replace(said, reason=reason)
    exit_status = said.exit_status if record.exit_status is None else record.exit_status
    return replace(said, state=state, reason=reason, exit_status=exit_status)
