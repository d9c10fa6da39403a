"""The contract between the client and a scheduler: a phrase book, argv out and text in.

A phrase book runs nothing and reads no file or environment by itself. The life of a job, in the words of
`scoop_hpc.jobspec.JobState`: PENDING (also after a requeue) -> RUNNING <-> SUSPENDED -> one of COMPLETED, FAILED,
CANCELLED, TIMEOUT, OUT_OF_MEMORY, NODE_FAIL. A job that the scheduler has forgotten is in no answer at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Callable, Optional, Protocol

from scoop_hpc.allocation import Allocation
from scoop_hpc.jobspec import JobSpec, JobState

# of Slurm's variables, those that say which cluster is meant and who one is [sbatch(1), slurm(1)]
_SITE = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_SACK_KEY", "SLURM_SACK_JWKS")
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+=-]+")


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

    def directive_word(self, text: str) -> str:
        """Return *text*, which is one line, as one word of a directive."""

    def output_pattern(self, spec: JobSpec) -> str:
        """Return the file for the output of *spec*: ``{job_id}`` in the scheduler's words, all else taken literally."""

    def submit_argv(self, script: str) -> list[str]:
        """Return the command that submits the file *script*."""

    def submit_environ(self, environ: Mapping[str, str], spec: JobSpec) -> dict[str, str]:
        """Return *environ* without what would change the job *spec* behind the user's back.

        Variables of the job that this process is in, of any scheduler, are not passed on to another job.
        """

    def parse_job_id(self, done: Completed) -> str:
        """Return the job id that the submission printed; raise SchedulerError with its words when it failed."""

    def query_environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return *environ* for the commands below, without what would change their output."""

    def status_argv(self, job_ids: Sequence[str]) -> list[list[str]]:
        """Return the commands to ask, in turn, until every job is known: one command for all jobs, never one each.

        Raise JobSpecError for what cannot be a job id.
        """

    def parse_status(self, done: Completed) -> dict[str, JobStatus]:
        """Return the jobs in the answer to one of `status_argv`'s commands, by job id."""

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        """Return the command that ends the jobs."""

    def parse_cancel(self, done: Completed) -> None:
        """Raise SchedulerError if the jobs could not be cancelled; a job that has ended is no error."""

    def read_allocation(self, environ: Mapping[str, str], read_file: Callable[[str], str]) -> Optional[Allocation]:
        """Return the allocation that *environ* speaks of, None where it speaks of none; raise AllocationError."""


def double_quoted(text: str) -> str:
    r"""Return *text* as one word for a reader with double quotes and backslashes, such as sbatch's of directives.

    >>> print(double_quoted("a b"), double_quoted('c"d'), double_quoted("e"))
    "a b" "c\"d" e
    """
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def without(environ: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    """Return *environ* without the variables that begin with one of *prefixes*, but those of the site."""
    return {name: value for name, value in environ.items() if name in _SITE or not name.startswith(prefixes)}


def outside_jobs(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without the variables of the job that this process is in, whichever scheduler's it is."""
    return without(environ, "SLURM_", "SLURMD_", "SRUN_", "SALLOC_", "SCOOP_HPC_LOCAL_")


_LINES = 5  # of what a command said: the last ones are about the end


def one_line(done: Completed) -> str:
    """Return what a command that failed said, or its exit status, for the end of an error message."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return "; ".join(list(dict.fromkeys(lines))[-_LINES:]) or f"exit status {done.status}"
