"""The job of `scoop-hpc doctor --submit`: submitted as any other, followed to its end, and cancelled if it is late."""

from __future__ import annotations

import os
from collections.abc import Sequence

from scoop_hpc.cli import follow
from scoop_hpc.cli.jobs import why
from scoop_hpc.cli.look.small_job import SmallJob, submit_small
from scoop_hpc.cli.options.job import JobRequest
from scoop_hpc.doctor.facts import JobFacts
from scoop_hpc.doctor.finding import Finding, change, ok
from scoop_hpc.doctor.job import report as job_report
from scoop_hpc.errors import ScoopError
from scoop_hpc.jobs.client import Client
from scoop_hpc.jobs.report import Report, goes_on

_TOPIC = "job"


def look_by_a_job(
    client: Client, request: JobRequest, state: str, marks: Sequence[tuple[str, str]], timeout: float | None
) -> tuple[JobFacts | None, list[Finding]]:
    """Submit a job that looks at its nodes; return what it found, if anything, and what there is to say of the job.

    *marks* are as for `scoop_hpc.doctor.gather.look`. After *timeout* seconds a job that has not ended is cancelled.
    """
    words = [str(request.spec.nodes or 1), *(word for mark in marks for word in mark)]
    try:
        job = submit_small(client, request, state, "doctor", words)
    except ScoopError as error:
        return None, [change(_TOPIC, str(error), "")]
    ended = job.wait(timeout)
    if goes_on(ended):
        return None, [_late(job, ended, timeout or 0.0)]
    facts = job.read(ended, job_report.read)
    if facts is None:
        return None, [_failed(ended, job.output)]
    return facts, [ok(_TOPIC, f"job {ended.label} went through {job.job.scheduler} in {_took(ended)}")]


def _late(job: SmallJob, report: Report, timeout: float) -> Finding:
    """Cancel a job that has not ended in time; return what it waits for."""
    try:
        lines = why(job.client, report)
    except ScoopError as error:
        lines = [str(error)]
    job.cancel()
    text = f"job {report.label} has not ended within {timeout:g} s, and is cancelled: {follow.describe(report)}"
    return change(_TOPIC, text, "; ".join(lines) or "give a longer --timeout, or another --queue")


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
