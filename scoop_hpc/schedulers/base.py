"""The contract between the client and a scheduler: a phrase book, argv out and text in.

A phrase book runs nothing and reads no file or environment by itself. The life of a job, in the words of
`scoop_hpc.jobspec.JobState`: PENDING (also after a requeue) -> RUNNING <-> SUSPENDED -> one of COMPLETED, FAILED,
CANCELLED, TIMEOUT, OUT_OF_MEMORY, NODE_FAIL. A job that the scheduler has forgotten is in no answer at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Callable, Optional, Protocol

from scoop_hpc.allocation import Allocation
from scoop_hpc.jobspec import JobSpec, JobState


@dataclass(frozen=True)
class Completed:
    """A command that ran: its exit status and what it printed."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class JobStatus:
    """One job as the scheduler sees it. ``exit_status`` is None until it ended, or where the scheduler cannot say."""

    job_id: str
    state: JobState
    reason: str = ""  # the scheduler's own word, such as Resources or NonZeroExitCode
    nodes: tuple[str, ...] = ()
    exit_status: Optional[int] = None  # 128 + n for a signal n


class Scheduler(Protocol):
    """One scheduler's dialect."""

    name: str  # "slurm": also the name of its template, slurm.sh.j2

    commands: tuple[str, ...]  # the programs that must be on PATH

    def check(self, spec: JobSpec) -> None:
        """Raise JobSpecError for a field that this scheduler cannot express."""

    def submit_argv(self, script: str) -> list[str]:
        """Return the command that submits the file *script*."""

    def submit_environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return *environ* without what would change the job behind the user's back."""

    def parse_job_id(self, done: Completed) -> str:
        """Return the job id that the submission printed; raise SchedulerError with its words when it failed."""

    def status_argv(self, job_ids: Sequence[str]) -> list[list[str]]:
        """Return the commands to ask, in turn, until every job is known: one command for all jobs, never one each."""

    def parse_status(self, done: Completed) -> dict[str, JobStatus]:
        """Return the jobs in the answer to one of `status_argv`'s commands, by job id."""

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        """Return the command that ends the jobs."""

    def parse_cancel(self, done: Completed) -> None:
        """Raise SchedulerError if the jobs could not be cancelled; a job that has ended is no error."""

    def read_allocation(
        self, environ: Mapping[str, str], read_file: Callable[[str], str]
    ) -> Optional[Allocation]:
        """Return the allocation that *environ* speaks of, None where it speaks of none; raise AllocationError."""
