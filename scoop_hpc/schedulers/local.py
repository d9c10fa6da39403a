"""The phrase book of the built-in scheduler, `scoop_hpc.localjobs`: jobs in the background of this machine.

A local job's environment says what it was given::

    SCOOP_HPC_LOCAL_JOB_ID=local-7
    SCOOP_HPC_LOCAL_NODES=local1:2,local2:2       name:slots of each node
    SCOOP_HPC_LOCAL_CPUS_PER_WORKER=1             optional

Its queue and account are accepted, and only recorded: one machine has one queue, of any name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Callable, Optional

from scoop_hpc.allocation import Allocation, Node, merge
from scoop_hpc.errors import AllocationError, JobSpecError, SchedulerError
from scoop_hpc.jobspec import DEFAULT_OUTPUT, JobSpec, JobState
from scoop_hpc.schedulers.base import Completed, JobStatus, double_quoted, one_line, outside_jobs

JOB_ID = "SCOOP_HPC_LOCAL_JOB_ID"
NODES = "SCOOP_HPC_LOCAL_NODES"
CPUS_PER_WORKER = "SCOOP_HPC_LOCAL_CPUS_PER_WORKER"

_MOST_NODES = 256  # each is a process of this machine, and its workers are, too

_ID = re.compile(r"local-[0-9]+")
_NODE = re.compile(r"([A-Za-z0-9_.-]+):([1-9][0-9]{0,8})")


class LocalScheduler:
    """The local scheduler's dialect; *python* is the interpreter that runs `scoop_hpc.localjobs`."""

    name = "local"
    commands: tuple[str, ...] = ()

    def __init__(self, python: str) -> None:
        self._localjobs = [python, "-m", "scoop_hpc.localjobs"]

    def check(self, spec: JobSpec) -> None:
        """Refuse directives, which are a real scheduler's, and memory, of which nothing here would take care."""
        if spec.nodes > _MOST_NODES:
            raise JobSpecError(f"the scheduler 'local' plays {_MOST_NODES} nodes at most, not {spec.nodes}")
        if spec.memory_per_node is not None:
            raise JobSpecError("the scheduler 'local' cannot set memory aside: leave --memory out")
        if spec.directives:
            raise JobSpecError(
                f"the scheduler 'local' cannot express the directive {spec.directives[0]!r}: leave it out"
            )

    def directive_word(self, text: str) -> str:
        return double_quoted(text)

    def output_pattern(self, spec: JobSpec) -> str:
        return spec.output or DEFAULT_OUTPUT

    def submit_argv(self, script: str) -> list[str]:
        return [*self._localjobs, "submit", script]

    def submit_environ(self, environ: Mapping[str, str], spec: JobSpec) -> dict[str, str]:
        return outside_jobs(environ)

    def parse_job_id(self, done: Completed) -> str:
        if done.status:
            raise SchedulerError(f"the local scheduler refused the job: {one_line(done)}")
        for line in reversed(done.stdout.splitlines()):
            if _ID.fullmatch(line.strip()):
                return line.strip()
        raise SchedulerError(f"no job id in the local scheduler's output {done.stdout!r}: look at its log")

    def query_environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        return dict(environ)

    def status_argv(self, job_ids: Sequence[str]) -> list[list[str]]:
        return [[*self._localjobs, "status", *_checked(job_ids)]]

    def parse_status(self, done: Completed) -> dict[str, JobStatus]:
        """Return the jobs of a JSON list of objects with JobStatus' fields; ``reason`` and the rest may be missing."""
        if done.status:
            raise SchedulerError(f"the local scheduler failed: {one_line(done)}")
        try:
            jobs = [_parse_job(**fields) for fields in json.loads(done.stdout)]
        except (TypeError, ValueError) as error:
            raise SchedulerError(f"cannot read the local scheduler's output {done.stdout!r}: {error}") from error
        return {job.job_id: job for job in jobs}

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return [*self._localjobs, "cancel", *_checked(job_ids)]

    def parse_cancel(self, done: Completed) -> None:
        if done.status:
            raise SchedulerError(f"the local scheduler failed: {one_line(done)}")

    def read_allocation(self, environ: Mapping[str, str], read_file: Callable[[str], str]) -> Optional[Allocation]:
        job_id, text = environ.get(JOB_ID), environ.get(NODES)
        if not job_id or not text:
            return None
        per_worker = environ.get(CPUS_PER_WORKER) or "1"
        matches = [_NODE.fullmatch(part) for part in text.split(",")]
        if not all(matches):
            raise AllocationError(f"{NODES} is {text!r}: it should be such as 'local1:2,local2:2'")
        if not re.fullmatch("[1-9][0-9]{0,8}", per_worker):
            raise AllocationError(f"{CPUS_PER_WORKER} is {per_worker!r}: it should be a positive number")
        cpus = int(per_worker)
        nodes = merge(Node(match[1], int(match[2]), int(match[2]) * cpus) for match in matches if match)
        return Allocation("local", nodes, job_id, cpus)


def _checked(job_ids: Sequence[str]) -> Sequence[str]:
    for job_id in job_ids:
        if not _ID.fullmatch(job_id):
            raise JobSpecError(f"{job_id!r} is no job id of the local scheduler: write one such as 'local-1'")
    return job_ids


def _parse_job(
    job_id: str, state: str, reason: str = "", nodes: Sequence[str] = (), exit_status: Optional[int] = None
) -> JobStatus:
    return JobStatus(job_id, JobState(state), reason, tuple(nodes), exit_status)
