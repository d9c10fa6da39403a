"""Find the report of a job, or of a run by its file."""

from __future__ import annotations

import os
from collections.abc import Mapping

from scoop_hpc.cli.follow import say
from scoop_hpc.cli.options.job import choose
from scoop_hpc.errors import InputError, ScoopError
from scoop_hpc.jobs.client import Client
from scoop_hpc.jobs.record import of_element
from scoop_hpc.report import record, text
from scoop_hpc.report.record import RunRecord

_SUFFIX = ".json"


def find_report(client: Client, job: str, environ: Mapping[str, str]) -> RunRecord:
    """Return the report of a *job*, or the one in a file of that name; raise InputError, ScoopError."""
    if job.endswith(_SUFFIX):
        found = record.read(job)
        if found is None:
            raise InputError(
                f"there is no file {job!r}: give a job, or a file that `scoop-hpc run --report` has written"
            )
        return found
    (report,) = client.find((job,), choose(None, environ))
    if report.job is None:
        raise InputError(
            f"the job {job!r} was not submitted from here: what its run was worth, only its submitter knows"
        )
    if report.job.spec.array is not None and report.index is None:
        raise InputError(f"the job {job!r} is an array: name one of its jobs, such as {client.first_of(report)!r}")
    found = record.read(of_element(os.path.join(report.job.directory, record.FILE), report.index))
    if found is None:
        raise ScoopError(
            f"there is no report of the job {job!r} yet: it is written a minute after its run began, and at the end"
        )
    return found


def show_failures(client: Client, job: str, environ: Mapping[str, str]) -> None:
    """Print the failed tasks of a *job*, or of a file."""
    found = find_report(client, job, environ)
    for failed in found.failures:
        print("\n".join(text.failure(failed)))
        print()
    if not found.totals.failed:
        say(f"no task of {job} has failed" + (" so far" if found.state == "RUNNING" else ""))
    elif found.failures_left_out:
        say(f"{found.failures_left_out} more failed tasks are only counted")
