"""The job of `scoop-hpc doctor --submit`: submitted as any other, followed to its end, and cancelled if it is late."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace

from scoop_hpc.cli import follow
from scoop_hpc.cli.jobs import why
from scoop_hpc.cli.options.job import JobRequest, command_line
from scoop_hpc.cli.templates import template_directories
from scoop_hpc.doctor.facts import JobFacts
from scoop_hpc.doctor.finding import Finding, change, ok
from scoop_hpc.doctor.job import report as job_report
from scoop_hpc.errors import JobSpecError, ScoopError
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.files import private
from scoop_hpc.files.reading import TRUST
from scoop_hpc.jobs.client import Client
from scoop_hpc.jobs.directories import Job
from scoop_hpc.jobs.report import Report, goes_on
from scoop_hpc.jobs.script import render
from scoop_hpc.schedulers.job_state import JobState

_TOPIC = "job"
_LATE = 15.0  # seconds until what a node wrote is seen here: caches of NFS are as old
_PAUSE = 0.2  # seconds


def look_by_a_job(
    client: Client, request: JobRequest, state: str, marks: Sequence[tuple[str, str]], timeout: float | None
) -> tuple[JobFacts | None, list[Finding]]:
    """Submit a job that looks at its nodes; return what it found, if anything, and what there is to say of the job.

    *marks* are as for `scoop_hpc.doctor.gather.look`. After *timeout* seconds a job that has not ended is cancelled.
    """
    directory = os.path.join(state, "doctor", secrets.token_hex(8))
    try:
        private.make_private(os.path.dirname(directory))
        private.make_private(directory)
        spec = _prepared(client, request, os.path.join(directory, "output"), marks)
        job = _submit(client, request, spec)
    except ScoopError as error:
        shutil.rmtree(directory, ignore_errors=True)
        return None, [change(_TOPIC, str(error), "")]
    follow.say(f"submitted job {job.job_id} to {job.scheduler}; waiting for it")
    (begun,) = client.reports([job])
    try:
        (ended,) = client.wait([begun], lambda reports: None, follow.warn, timeout)
        if goes_on(ended):
            return None, [_late(client, ended, timeout or 0.0)]
    except KeyboardInterrupt:
        follow.say(f"interrupted: job {job.job_id} is cancelled")
        _cancel(client, begun)
        raise
    facts = _read(str(job.output()), ended.status.state is JobState.COMPLETED)
    if facts is None:
        return None, [_failed(ended, str(job.output()))]
    shutil.rmtree(directory, ignore_errors=True)
    return facts, [ok(_TOPIC, f"job {ended.label} went through {job.scheduler} in {_took(ended)}")]


def _prepared(client: Client, request: JobRequest, output: str, marks: Sequence[tuple[str, str]]) -> JobSpec:
    """Return the job with one worker on each node if that can be asked for here, else with those asked for."""
    nodes = request.spec.nodes or 1
    words = [word for mark in marks for word in mark]
    spec = replace(request.spec, program=(request.spec.program[0], str(nodes), *words), output=output, error=None)
    if spec.workers_per_node is None and spec.workers is None:
        with contextlib.suppress(JobSpecError):  # Grid Engine's environments have fixed numbers
            return client.prepare(replace(spec, workers_per_node=1), request.scheduler)
    return client.prepare(spec, request.scheduler)


def _submit(client: Client, request: JobRequest, spec: JobSpec) -> Job:
    directories, trust = template_directories(os.environ), os.environ.get(TRUST, "")

    def write_script(job: Job) -> str:
        argv = command_line(spec, request.scheduler, job.record)
        return render(spec, request.scheduler, argv, directories, request.template, trust)

    return client.submit(spec, request.scheduler, write_script, time.time())


def _late(client: Client, report: Report, timeout: float) -> Finding:
    """Cancel a job that has not ended in time; return what it waits for."""
    try:
        lines = why(client, report)
    except ScoopError as error:
        lines = [str(error)]
    _cancel(client, report)
    text = f"job {report.label} has not ended within {timeout:g} s, and is cancelled: {follow.describe(report)}"
    return change(_TOPIC, text, "; ".join(lines) or "give a longer --timeout, or another --queue")


def _cancel(client: Client, report: Report) -> None:
    try:
        client.cancel([report])
    except ScoopError as error:
        follow.say(f"warning: cannot cancel job {report.label}: {error}")


def _read(output: str, is_complete: bool) -> JobFacts | None:
    """Return the facts in the *output* of a job that has ended; of one that *is_complete* they may come late."""
    deadline = time.monotonic() + _LATE
    while True:
        with contextlib.suppress(OSError):
            os.listdir(os.path.dirname(output))  # NFS looks again at what other hosts have put there
            with open(output, encoding="utf-8", errors="replace") as file:
                facts = job_report.read(file.read())
                if facts is not None:
                    return facts
        if not is_complete or time.monotonic() > deadline:
            return None
        time.sleep(_PAUSE)


def _failed(report: Report, output: str) -> Finding:
    text = f"job {report.label} ended {follow.describe(report)}"
    if not os.path.exists(output):
        return change(
            _TOPIC,
            f"{text}, and left no output in {os.path.dirname(output)!r}",
            "let SCOOP_HPC_STATE name a directory that all nodes see",
        )
    return change(_TOPIC, text, f"see what it printed, in {output!r}")


def _took(report: Report) -> str:
    record = report.record
    if record is None or record.ended is None:
        return "time"
    return f"{max(0.0, record.ended - record.started):.0f} s"
