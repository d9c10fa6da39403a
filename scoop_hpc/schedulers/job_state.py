"""The states of a job, in words that hold for every scheduler."""

from __future__ import annotations

import enum


class JobState(enum.Enum):
    """The states of a job, the same for every scheduler."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_FAIL = "NODE_FAIL"
    UNKNOWN = "UNKNOWN"  # the scheduler does not know the job, and the job left no record

    @property
    def ended(self) -> bool:
        """The job will not run any more."""
        return self not in (JobState.PENDING, JobState.RUNNING, JobState.SUSPENDED, JobState.UNKNOWN)
