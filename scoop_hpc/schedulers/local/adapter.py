"""The adapter of the built-in scheduler, `scoop_hpc.schedulers.local`: jobs in the background of this machine.

Its queue and account are accepted, and only recorded: one machine has one queue, of any name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from scoop_hpc.errors import JobSpecError, SchedulerError
from scoop_hpc.fields.spec import JobSpec, words_of
from scoop_hpc.schedulers.answers import (
    Completed,
    Heard,
    JobKey,
    JobStatus,
    SubmitCommand,
    one_line,
    short,
    unheard,
    unread,
)
from scoop_hpc.schedulers.base import Scheduler
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.local.allocation import LocalReader

_MOST_NODES = 256  # each is a process of this machine, and its workers are, too
_MOST_ELEMENTS = 10_000  # each has a directory, which every question looks into

_ID = re.compile(r"local-[0-9]+(_[0-9]+)?")
_SUBMITTED = re.compile(r"(?<![\w-])(local-[0-9]+)(?![\w-])")
_SUBMIT = SubmitCommand("the local scheduler", _SUBMITTED, (_SUBMITTED,), look="scoop-hpc history")


_ADVICE = (  # the beginning of a reason, and what can be done about it
    ("it waits for ", "wait, or cancel it and submit it again without that dependency"),
    ("its time has not come", "wait, or cancel it and submit it again without --begin"),
    (
        "as many jobs of its array",
        "wait, or change the %LIMIT of --array, which is as many as the CPUs allow by itself",
    ),
)


class LocalScheduler(Scheduler):
    """The local scheduler's adapter; *python* is the interpreter that runs `scoop_hpc.schedulers.local`."""

    name = "local"
    reader = LocalReader()
    commands = ()
    words = words_of("local")
    passes_environment = True

    def __init__(self, python: str) -> None:
        self._localjobs = [python, "-m", "scoop_hpc.schedulers.local"]

    def check(self, spec: JobSpec) -> None:
        super().check(spec)
        nodes = spec.nodes or 1
        if nodes > _MOST_NODES:
            raise JobSpecError(f"the scheduler 'local' plays {_MOST_NODES} nodes at most, not {nodes}", "--nodes")
        if spec.array is not None and len(spec.array.indices) > _MOST_ELEMENTS:
            raise JobSpecError(
                f"the scheduler 'local' takes arrays of {_MOST_ELEMENTS} jobs at most: make it smaller", "--array"
            )
        if spec.signal is not None and spec.walltime is None:
            raise JobSpecError(
                "--signal counts from the end of the walltime, and there is none: give --walltime", "--signal"
            )

    def submit_argv(self, script: str) -> list[str]:
        return [*self._localjobs, "submit", script]

    def parse_job_id(self, done: Completed) -> str:
        return _SUBMIT.job_id(done)

    def key(self, job_id: str) -> JobKey:
        if not _ID.fullmatch(job_id):
            raise JobSpecError(f"{job_id!r} is no job id of the local scheduler: write one such as 'local-1'")
        job, _, index = job_id.partition("_")
        return JobKey(job, int(index) if index else None)

    def owns(self, job_id: str) -> bool:
        return job_id.startswith("local-")

    def status_argv(self, job_ids: Sequence[str]) -> list[list[str]]:
        return [[*self._localjobs, "status", *self.checked(job_ids)]]

    def parse_status(self, done: Completed, pass_over: Heard = unheard) -> list[JobStatus]:
        """Return the jobs of a JSON list of objects with JobStatus' fields; ``reason`` and the rest may be missing.

        It is one line; what Python's start-up files print may stand around it.
        """
        if done.status:
            raise SchedulerError(f"the local scheduler failed: {one_line(done)}")
        answer: list[dict[str, object]] | None = None
        for line in done.stdout.splitlines():
            fields = _read_list(line)
            if fields is not None and answer is None:
                answer = fields
            elif line.strip():
                pass_over(line)
        if answer is None:
            raise SchedulerError(
                f"cannot read the local scheduler's output {short(done.stdout)}: no list of jobs in it"
            )
        jobs = [job for fields in answer for job in _parse_job(fields, pass_over)]
        if answer and not jobs:
            raise SchedulerError(f"cannot read the local scheduler's output {short(done.stdout)}: it names no job")
        return jobs

    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        return [*self._localjobs, "cancel", *self.checked(job_ids)]

    def parse_cancel(self, done: Completed) -> None:
        if done.status:
            raise SchedulerError(f"the local scheduler failed: {one_line(done)}")

    def explain(self, status: JobStatus, done: Completed) -> list[str]:
        (why,) = super().explain(status, done)
        return [why, *(what for beginning, what in _ADVICE if why.startswith(beginning))]


def _read_list(line: str) -> list[dict[str, object]] | None:
    """Return the list of objects that *line* is, None for another line."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    is_list = isinstance(found, list) and all(isinstance(each, dict) for each in found)
    return found if is_list else None


def _parse_job(fields: dict[str, object], pass_over: Heard) -> list[JobStatus]:
    job_id = fields.get("job_id")
    if not isinstance(job_id, str) or not _ID.fullmatch(job_id):
        pass_over(json.dumps(fields))
        return []
    try:
        return [_job_of(**fields)]  # type: ignore[arg-type]  # a TypeError says so
    except (TypeError, ValueError):
        return [unread(job_id, "the local scheduler", json.dumps(fields))]


def _job_of(
    job_id: str, state: str, reason: str = "", nodes: Sequence[str] = (), exit_status: int | None = None
) -> JobStatus:
    if not isinstance(reason, str) or not isinstance(exit_status, (int, type(None))):
        raise TypeError(f"{reason!r}, {exit_status!r}")
    unreadable = state == JobState.UNKNOWN.value  # its files
    return JobStatus(job_id, JobState(state), reason, tuple(nodes), exit_status, unread=unreadable)
