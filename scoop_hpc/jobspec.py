"""What a user asks a scheduler for, in units of ours, and the states that a job can be in."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional


class JobState(enum.Enum):
    """Where a job stands, in words that hold for every scheduler."""

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
        """Whether the job will not run any more."""
        return self not in (JobState.PENDING, JobState.RUNNING, JobState.SUSPENDED, JobState.UNKNOWN)


@dataclass(frozen=True)
class JobSpec:
    """One job: what to run and what to ask for. ``None`` leaves a field to the scheduler's default.

    ``walltime`` is in seconds, ``memory_per_node`` in bytes. ``workers_per_node`` of ``None`` asks for whole nodes
    and starts a worker on every CPU that is granted. ``directory`` is absolute.
    """

    program: tuple[str, ...]  # the program's file, then its arguments
    directory: str
    name: str
    nodes: int = 1
    workers_per_node: Optional[int] = None
    cpus_per_worker: int = 1
    walltime: Optional[int] = None
    memory_per_node: Optional[int] = None
    queue: Optional[str] = None
    account: Optional[str] = None
    output: Optional[str] = None  # may hold {job_id}
    directives: tuple[str, ...] = ()  # verbatim, without the prefix
