"""The phrase book of the built-in scheduler, `scoop_hpc.schedulers.local`: jobs in the background of this machine.

Its queue and account are accepted, and only recorded: one machine has one queue, of any name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from scoop_hpc.errors import JobSpecError, SchedulerError
from scoop_hpc.fields.spec import JobSpec, JobState, with_default_output, words_of
from scoop_hpc.schedulers.base import (
    Ask,
    Completed,
    Heard,
    JobKey,
    JobStatus,
    Site,
    Which,
    check_dependencies,
    double_quoted,
    find_job_id,
    one_line,
    outside_jobs,
    perhaps_taken,
    refuse_unsaid,
    short,
    unheard,
    unread,
)

_MOST_NODES = 256  # each is a process of this machine, and its workers are, too
_MOST_ELEMENTS = 10_000  # each has a directory, which every question looks into

_ID = re.compile(r"local-[0-9]+(_[0-9]+)?")
_SUBMITTED = re.compile(r"(?<![\w-])(local-[0-9]+)(?![\w-])")


_ADVICE = (  # the beginning of a reason, and what can be done about it
    ("it waits for ", "wait, or cancel it and submit it again without that dependency"),
    ("its time has not come", "wait, or cancel it and submit it again without --begin"),
    (
        "as many jobs of its array",
        "wait, or change the %LIMIT of --array, which is as many as the CPUs allow by itself",
    ),
)


class LocalScheduler:
    """The local scheduler's dialect; *python* is the interpreter that runs `scoop_hpc.schedulers.local`."""

    name = "local"
    commands: tuple[str, ...] = ()
    words = words_of("local")
    passes_environment = True
    forgotten_is_fulfilled = False
    removes_unfulfillable = False
    has_clusters = False

    def __init__(self, python: str) -> None:
        self._localjobs = [python, "-m", "scoop_hpc.schedulers.local"]

    def probe_argv(self) -> list[str] | None:
        return None

    def recognises(self, done: Completed) -> bool:
        return True

    def setup_argv(self) -> list[str] | None:
        return None

    def is_set_up(self, done: Completed) -> bool:
        return True

    def prepare(self, spec: JobSpec, ask: Ask) -> JobSpec:
        return with_default_output(spec)

    def check(self, spec: JobSpec) -> None:
        refuse_unsaid(self, spec)
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
        check_dependencies(self, spec)

    def job_variables(self, environ: Mapping[str, str], directives: Sequence[str], which: Which) -> dict[str, str]:
        return {}

    def directive_word(self, text: str) -> str:
        return double_quoted(text)

    def file_pattern(self, spec: JobSpec, file: str) -> str:
        return file

    def appends(self, spec: JobSpec, environ: Mapping[str, str], ask: Ask) -> bool:
        return False

    def submit_argv(self, script: str) -> list[str]:
        return [*self._localjobs, "submit", script]

    def submit_environ(self, environ: Mapping[str, str], spec: JobSpec) -> dict[str, str]:
        return outside_jobs(environ)

    def parse_job_id(self, done: Completed) -> str:
        job_id = find_job_id(done.stdout, _SUBMITTED, [_SUBMITTED])
        if done.status and job_id is None:
            raise SchedulerError(f"the local scheduler refused the job: {one_line(done)}")
        if done.status or job_id is None:
            raise perhaps_taken("the local scheduler", done, job_id, "scoop-hpc history")
        return job_id

    def site(self, environ: Mapping[str, str], spec: JobSpec, done: Completed | None = None) -> Site:
        return Site()

    def directed(self, argv: Sequence[str], cluster: str) -> list[str]:
        return list(argv)

    def test_argv(self, script: str) -> list[str] | None:
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
        return [*self._localjobs, "cancel", *_checked(job_ids)]

    def parse_cancel(self, done: Completed) -> None:
        if done.status:
            raise SchedulerError(f"the local scheduler failed: {one_line(done)}")

    def requeue_argv(self, job_ids: Sequence[str]) -> list[str] | None:
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
