"""Find the report of a job, or of a run by its file."""

from __future__ import annotations

import os
from collections.abc import Mapping

from msgspec.structs import replace

from scoop_hpc.cli.follow import describe, say
from scoop_hpc.cli.options.job import choose
from scoop_hpc.errors import InputError, ScoopError
from scoop_hpc.jobs.client import Client
from scoop_hpc.jobs.record import of_element
from scoop_hpc.jobs.report import Report
from scoop_hpc.report import record, text
from scoop_hpc.report.analysis import in_words
from scoop_hpc.report.record import RunRecord
from scoop_hpc.schedulers.answers import JobStatus

_SUFFIX = ".json"


def find_report(client: Client, job: str, environ: Mapping[str, str]) -> RunRecord:
    """Return the report of a *job*, or the one in a file of that name; raise InputError, ScoopError.

    What is written as a path, or ends as files of JSON do, is a file; another name is a file where no job has it.
    """
    if _names_file(job):
        return _in_file(job)
    (report,) = client.find((job,), choose(None, environ))
    if report.job is None:
        if os.path.lexists(job):
            return _in_file(job)
        raise InputError(
            f"the job {job!r} was not submitted from here: what its run was worth, only its submitter knows; "
            "nor is there a file of that name"
        )
    return _of_job(client, job, report)


def _names_file(job: str) -> bool:
    """Return whether *job* can only be a file; the directory of a job may be named, which is a job as well.

    >>> _names_file("./41"), _names_file("41.json"), _names_file("41"), _names_file("7[1].server")
    (True, True, False, False)
    """
    return job.endswith(_SUFFIX) or (os.sep in job and not os.path.isdir(job))


def _in_file(path: str) -> RunRecord:
    found = record.read(path)
    if found is None:
        raise InputError(f"there is no file {path!r}: give a job, or a file that `scoop-hpc run --report` has written")
    return found


def _of_job(client: Client, job: str, report: Report) -> RunRecord:
    """Return the report of the run in a *job*, which was submitted from here."""
    assert report.job is not None
    if report.job.spec.array is not None and report.index is None:
        raise InputError(f"the job {job!r} is an array: name one of its jobs, such as {client.first_of(report)!r}")
    found = record.read(of_element(os.path.join(report.job.directory, record.FILE), report.index))
    if found is not None and found.is_final and found.status == 0:
        return found
    (report,) = client.status([report], lambda error: None)
    if found is not None:
        return as_known(found, report.status)
    if report.status.state.ended and report.record is None:
        raise ScoopError(f"there is no report of the job {job!r}: it is {describe(report)}")
    if report.status.state.ended:
        raise ScoopError(f"there is no report of the job {job!r}: it ended before its run had lasted for a minute")
    raise ScoopError(
        f"there is no report of the job {job!r} yet: it is written a minute after its run began, and at the end"
    )


def as_known(found: RunRecord, status: JobStatus) -> RunRecord:
    """Return a record with the end of its job as the scheduler knows it: the walltime, say, or the driver's death."""
    if not status.state.ended:
        return found
    if found.is_final:
        return replace(found, state=status.state.value, reason=status.reason or found.reason)
    reason = f"{status.reason or 'ended without a word'}; what follows was known after {in_words(found.elapsed_s)}"
    return replace(found, state=status.state.value, status=status.exit_status, reason=reason)


def show_failures(client: Client, job: str, environ: Mapping[str, str]) -> None:
    """Print the failed tasks of a *job*, or of a file."""
    found = find_report(client, job, environ)
    for failed in found.failures:
        print("\n".join(text.failure(failed)))
        print()
    if not found.totals.failed:
        say(f"no task of {job} has failed" + ("" if found.is_final else " so far"))
    elif found.failures_left_out:
        say(f"{found.failures_left_out} more failed tasks are only counted")
