"""The phrase book of the built-in scheduler, `scoop_hpc.localjobs`: jobs in the background of this machine.

Its queue and account are accepted, and only recorded: one machine has one queue, of any name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Optional

from scoop_hpc.errors import JobSpecError, SchedulerError
from scoop_hpc.jobspec import JobSpec, JobState, with_default_output
from scoop_hpc.schedulers.base import (
    Ask,
    Completed,
    JobKey,
    JobStatus,
    Site,
    double_quoted,
    one_line,
    outside_jobs,
    refuse_unsaid,
)

_MOST_NODES = 256  # each is a process of this machine, and its workers are, too
_MOST_ELEMENTS = 10_000  # each has a directory, which every question looks into

_ID = re.compile(r"local-[0-9]+(_[0-9]+)?")


_EXPRESSES = MappingProxyType(
    {
        "name": "``--job-name``",
        "nodes": "``--nodes``",
        "workers": "``--workers``",
        "workers_per_node": "``--workers-per-node``",
        "cpus_per_worker": "``--cpus-per-worker``",
        "walltime": "``--walltime``",
        "queue": "only recorded",
        "account": "only recorded",
        "output": "``--output``",
        "error": "``--error``",
        "array": "``--array``",
        "after": "``--dependency=afterok:``",
        "after_any": "``--dependency=afterany:``",
        "after_failure": "``--dependency=afternotok:``",
        "begin": "``--begin``",
        "signal": "``--signal``",
    }
)
_INSTEAD = MappingProxyType(
    {
        "memory_per_node": "nothing here sets memory aside, leave it out",
        "memory_per_cpu": "nothing here sets memory aside, leave it out",
        "exclusive": "this machine is shared with whatever else runs on it, leave it out",
        "requeue": "no node fails here but all at once, leave it out",
    }
)
_ADVICE = (  # the beginning of a reason, and what can be done about it
    ("it waits for ", "wait, or cancel it and submit it again without that dependency"),
    ("its time has not come", "wait, or cancel it and submit it again without --begin"),
    (
        "as many jobs of its array",
        "wait, or change the %LIMIT of --array, which is as many as the CPUs allow by itself",
    ),
)


class LocalScheduler:
    """The local scheduler's dialect; *python* is the interpreter that runs `scoop_hpc.localjobs`."""

    name = "local"
    commands: tuple[str, ...] = ()
    expresses: Mapping[str, str] = _EXPRESSES
    instead: Mapping[str, str] = _INSTEAD
    passes_environment = True
    forgotten_is_fulfilled = False
    removes_unfulfillable = False
    has_clusters = False

    def __init__(self, python: str) -> None:
        self._localjobs = [python, "-m", "scoop_hpc.localjobs"]

    def probe_argv(self) -> Optional[list[str]]:
        return None

    def recognises(self, done: Completed) -> bool:
        return True

    def prepare(self, spec: JobSpec, ask: Ask) -> JobSpec:
        return with_default_output(spec)

    def check(self, spec: JobSpec) -> None:
        refuse_unsaid(self, spec)
        nodes = spec.nodes or 1
        if nodes > _MOST_NODES:
            raise JobSpecError(f"the scheduler 'local' plays {_MOST_NODES} nodes at most, not {nodes}")
        if spec.array is not None and len(spec.array.indices) > _MOST_ELEMENTS:
            raise JobSpecError(f"the scheduler 'local' takes arrays of {_MOST_ELEMENTS} jobs at most: make it smaller")
        if spec.signal is not None and spec.walltime is None:
            raise JobSpecError("--signal counts from the end of the walltime, and there is none: give --walltime")
        _checked([*spec.after, *spec.after_any, *spec.after_failure])

    def directive_word(self, text: str) -> str:
        return double_quoted(text)

    def file_pattern(self, spec: JobSpec, file: str) -> str:
        return file

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

    def site(self, environ: Mapping[str, str], spec: JobSpec, done: Optional[Completed] = None) -> Site:
        return Site()

    def directed(self, argv: Sequence[str], cluster: str) -> list[str]:
        return list(argv)

    def test_argv(self, script: str) -> Optional[list[str]]:
        return None

    def parse_test(self, done: Completed) -> str:
        return ""

    def query_environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        return dict(environ)

    def key(self, job_id: str) -> JobKey:
        job, _, index = _checked([job_id])[0].partition("_")
        return JobKey(job, int(index) if index else None)

    def element_id(self, job_id: str, index: int) -> str:
        return f"{job_id}_{index}"

    def status_argv(self, job_ids: Sequence[str]) -> list[list[str]]:
        return [[*self._localjobs, "status", *_checked(job_ids)]]

    def parse_status(self, done: Completed) -> list[JobStatus]:
        """Return the jobs of a JSON list of objects with JobStatus' fields; ``reason`` and the rest may be missing."""
        if done.status:
            raise SchedulerError(f"the local scheduler failed: {one_line(done)}")
        try:
            return [_parse_job(**fields) for fields in json.loads(done.stdout)]
        except (TypeError, ValueError) as error:
            raise SchedulerError(f"cannot read the local scheduler's output {done.stdout!r}: {error}") from error

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return [*self._localjobs, "cancel", *_checked(job_ids)]

    def parse_cancel(self, done: Completed) -> None:
        if done.status:
            raise SchedulerError(f"the local scheduler failed: {one_line(done)}")

    def requeue_argv(self, job_ids: Sequence[str]) -> Optional[list[str]]:
        return None

    def parse_requeue(self, done: Completed) -> None:
        raise SchedulerError("the local scheduler puts no job back into its queue")

    def explain_argv(self, job_id: str) -> list[str]:
        return self.status_argv([job_id])[0]

    def explain(self, status: JobStatus, done: Completed) -> list[str]:
        why = status.reason or "it is about to begin"
        return [why, *(what for beginning, what in _ADVICE if why.startswith(beginning))]


def _checked(job_ids: Sequence[str]) -> Sequence[str]:
    for job_id in job_ids:
        if not _ID.fullmatch(job_id):
            raise JobSpecError(f"{job_id!r} is no job id of the local scheduler: write one such as 'local-1'")
    return job_ids


def _parse_job(
    job_id: str, state: str, reason: str = "", nodes: Sequence[str] = (), exit_status: Optional[int] = None
) -> JobStatus:
    return JobStatus(job_id, JobState(state), reason, tuple(nodes), exit_status)
