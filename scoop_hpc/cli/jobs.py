"""`scoop-hpc status`, `history`, `logs`, `wait`, `cancel`, `requeue` and `explain`: jobs after their submission."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence

import click

from scoop_hpc.cli import follow
from scoop_hpc.cli.look.reports import show_failures
from scoop_hpc.cli.options.job import choose
from scoop_hpc.cli.options.numbers import Number, Whole
from scoop_hpc.cli.shell.known_jobs import known_jobs
from scoop_hpc.errors import InputError, SchedulerError, ScoopError
from scoop_hpc.hostlist import fold
from scoop_hpc.jobs.client import Client
from scoop_hpc.jobs.report import Report, goes_on, is_queued
from scoop_hpc.jobs.status import is_unanswered
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.registry import named

_RECENT = 20
_UNOPENED = 66  # of a job script whose directory or output is not to be had: see templates/
_TIMED_OUT = 124  # as timeout(1)
_LEAST = 12  # characters of a cell that is cut
_CUT = "..."
_COLUMNS = ("JOB", "STATE", "EXIT", "NAME", "NODES", "SUBMITTED", "REASON")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON; times are in seconds since 1970.")
@click.argument("jobs", metavar="[JOB]...", nargs=-1, shell_complete=known_jobs)
def status(as_json: bool, jobs: tuple[str, ...]) -> None:
    """Say how each JOB stands, or how it ended; without JOB, those submitted last."""
    client = follow.open_client(os.environ)
    troubles: list[SchedulerError] = []
    asked = _find(client, jobs) if jobs else client.reports(client.recent(_RECENT))
    reports = client.status(asked, troubles.append)
    for error in troubles:
        follow.say(f"warning: {error}; what is shown is what is known without it")
    _print(reports, as_json)
    if jobs and any(report.status.state is JobState.UNKNOWN for report in reports) and troubles:
        sys.exit(2)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON; times are in seconds since 1970.")
@click.option("-n", "--last", type=Whole(min=1), metavar="N", help="Only the N jobs submitted last.")
@click.option(
    "--state", type=click.Choice([state.value for state in JobState], case_sensitive=False), help="Only these."
)
def history(as_json: bool, last: int | None, state: str | None) -> None:
    """List all jobs that were submitted from here, the newest last, and how they ended.

    Schedulers are asked only for jobs whose end was not heard of yet.
    """
    client = follow.open_client(os.environ)
    reports = client.remembered(client.reports(client.recent(last)))
    _print(
        reports if state is None else [each for each in reports if each.status.state.value == state.upper()], as_json
    )


@click.command()
@click.option("--follow", "following", is_flag=True, help="Go on until the job has ended.")
@click.option("--failed", is_flag=True, help="Print its failed tasks instead; JOB may be a file of run --report.")
@click.argument("job", shell_complete=known_jobs)
def logs(following: bool, failed: bool, job: str) -> None:
    """Print what JOB printed, or its failed tasks."""
    client = follow.open_client(os.environ)
    if failed:
        if following:
            raise InputError("--failed and --follow exclude each other: give one")
        show_failures(client, job, os.environ)
        return
    (report,) = _find(client, (job,))
    if report.job is None:
        raise InputError(f"the job {job!r} was not submitted from here: where its output is, only its submitter knows")
    if report.job.spec.array is not None and report.index is None:
        raise InputError(f"the job {job!r} is an array: name one of its jobs, such as {client.first_of(report)!r}")
    if following:
        report, shown = follow.see_through(client, report)
    else:
        (report,) = client.status([report], lambda error: follow.say(f"warning: {error}"))
        again = follow.waits_again(report)
        may_have = again or follow.has_begun(report) or report.status.state is JobState.UNKNOWN
        tail = follow.tail_of(report)
        shown = may_have and tail is not None and tail.show()
        if shown and again:
            follow.say(
                f"job {job} is {follow.describe(report)}; that is what it printed before it was put back into its queue"
            )
    if not shown:
        unopened = "; its first node could not open it" if report.status.exit_status == _UNOPENED else ""
        raise ScoopError(f"{follow.without_output(report)}: job {job} is {follow.describe(report)}{unopened}")


@click.command()
@click.option("--timeout", type=Number(min=0), metavar="SECONDS", help="Give up, with exit status 124.")
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True, shell_complete=known_jobs)
def wait(timeout: float | None, jobs: tuple[str, ...]) -> None:
    """Wait for each JOB to end, and exit with its exit status: of several, with the highest."""
    client = follow.open_client(os.environ)
    reports = client.wait(_find(client, jobs), follow.Delay(follow.say).look, follow.warn, timeout)
    for report in reports:
        follow.say_how_it_ended(report)
    unended = any(goes_on(report) or is_unanswered(report) for report in reports)
    sys.exit(_TIMED_OUT if unended else follow.exit_status(reports))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON: how each job stood, and whether it was cancelled.")
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True, shell_complete=known_jobs)
def cancel(as_json: bool, jobs: tuple[str, ...]) -> None:
    """End each JOB. One that has ended is left as it is."""
    client = follow.open_client(os.environ)
    reports = client.status(_find(client, jobs))
    going = [report for report in reports if is_queued(report)]
    client.cancel(going)
    if as_json:
        print(json.dumps([{**as_dict(report), "cancelled": report in going} for report in reports]))
        return
    for report in reports:
        label = report.label
        print(f"Cancelled job {label}" if report in going else f"Job {label} is {follow.describe(report)}")


@click.command()
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True, shell_complete=known_jobs)
def requeue(jobs: tuple[str, ...]) -> None:
    """Run each JOB again: put one that runs back into its queue, submit one that has ended anew.

    A job that runs has to have been submitted with --requeue. One that has ended is submitted with the same script,
    and has a new id.
    """
    client = follow.open_client(os.environ)
    reports = client.status(_find(client, jobs))
    for report in reports:
        job_id = report.label
        if any(each.status.unread for each in report.elements or (report,)):
            raise InputError(f"job {job_id} may be running: {report.status.reason}; cancel it first")
        if report.status.state is JobState.PENDING:
            print(f"Job {job_id} is in the queue already")
        elif goes_on(report):
            client.requeue([report])
            print(f"Requeued job {job_id}")
        else:
            if report.job is not None:
                _enter(report.job.spec.directory)
            again = client.submit_again(report, time.time())
            print(f"Submitted job {again.job_id}, as {job_id} was; output: {again.output()}")


def _enter(directory: str) -> None:
    """Go to the directory of the first submission: a scheduler may put the output where its command is called."""
    try:
        os.chdir(directory)
    except OSError as error:
        raise InputError(f"cannot go to the job's directory {directory!r}: {error.strerror}") from error


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of sentences.")
@click.argument("job", shell_complete=known_jobs)
def explain(as_json: bool, job: str) -> None:
    """Say why JOB does not run, and what can be changed; or how it stands otherwise."""
    client = follow.open_client(os.environ)
    (report,) = client.status(_find(client, (job,)))
    lines = why(client, report)
    if as_json:
        print(json.dumps({**as_dict(report), "explanation": lines}))
        return
    print(f"Job {report.label} is {follow.describe(report)}")
    for line in lines:
        print(f"  {line}")


def why(client: Client, report: Report) -> list[str]:
    """Return why a job waits, or ended as it did, and what can be changed."""
    each = report.elements or (report,)
    waiting = [element for element in each if element.status.state is JobState.PENDING or element.status.stuck]
    if waiting:
        return [line for line in client.explain(waiting[0]) if line != report.status.reason]  # which is told already
    if report.status.state is JobState.CANCELLED and report.status.reason:
        return []
    if report.status.state not in _ENDINGS:
        return []
    culprit = next((element for element in each if element.status.state is report.status.state), report)
    if culprit.status.state is JobState.CANCELLED and culprit.record is None:
        return [named(report.scheduler).never_began]
    return [_ENDINGS[report.status.state].format(job=report.status.job_id, element=culprit.status.job_id)]


_ENDINGS = {
    JobState.TIMEOUT: "its walltime was over: change --walltime, or ask for more workers",
    JobState.OUT_OF_MEMORY: "it used more memory than it had asked for: change --memory or --memory-per-cpu",
    JobState.NODE_FAIL: "a node failed: scoop-hpc requeue {job} submits it again, --requeue lets the scheduler do so",
    JobState.FAILED: "what it printed may say why: scoop-hpc logs {element}",
    JobState.CANCELLED: "somebody, or the scheduler, ended it",
}


def _print(reports: Sequence[Report], as_json: bool) -> None:
    if as_json:
        print(json.dumps([as_dict(report) for report in reports]))
    elif reports:
        print("\n".join(fitted([_COLUMNS, *(_row(report) for report in reports)], _width())))
    else:
        follow.say("no job to tell of: none was submitted from here yet, or none of that state")


def _find(client: Client, job_ids: Sequence[str]) -> list[Report]:
    return client.find(job_ids, choose(None, os.environ))


def as_dict(report: Report) -> dict[str, object]:
    """Return what --json prints of a job."""
    status, job, record = report.status, report.job, report.record
    return {
        "job_id": status.job_id,
        "scheduler": report.scheduler,
        "cluster": None if report.site is None else report.site.cluster or None,
        "name": None if job is None else job.spec.name,
        "state": status.state.value,
        "reason": status.reason,
        "exit_status": status.exit_status,
        "nodes": list(status.nodes),
        "submitted": None if job is None else job.submitted,
        "started": None if record is None else record.started,
        "ended": None if record is None else record.ended,
        "output": report.output,
        "directory": None if job is None else job.directory,
        **({"elements": [as_dict(element) for element in report.elements]} if report.elements else {}),
    }


def _row(report: Report) -> tuple[str, ...]:
    status, job = report.status, report.job
    submitted = "" if job is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(job.submitted))
    code = "" if status.exit_status is None else str(status.exit_status)
    if not code and status.state is JobState.COMPLETED:
        code = "0"
    name = "" if job is None else job.spec.name
    reason = " ".join(status.reason.split())
    return (report.label, status.state.value, code, name, fold(list(status.nodes)), submitted, reason)


def _width() -> int | None:
    """Return how long a line may be: that of a terminal, None where programs read it, which want all of it."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None


def fitted(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return the lines of a table whose names, and then nodes and reasons, are cut so that it has *width* columns.

    >>> fitted([("JOB", "STATE", "EXIT", "NAME", "NODES"), ("1", "RUNNING", "", "a-long-name-of-a-job", "n1")], 40)
    ['JOB  STATE    EXIT  NAME           NODES', '1    RUNNING        a-long-nam...  n1']
    """
    for name in ("NAME", "NODES", "REASON"):
        column = _COLUMNS.index(name)
        if width is None or column >= len(rows[0]):
            continue
        over = max(map(len, table(rows))) - width
        if over > 0:
            most = max(_LEAST, max(len(row[column]) for row in rows) - over)
            rows = [[*row[:column], _cut(row[column], most), *row[column + 1 :]] for row in rows]
    return table(rows)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - len(_CUT)] + _CUT


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, without blanks at their ends.

    >>> table([("JOB", "STATE"), ("123", "RUNNING")])
    ['JOB  STATE', '123  RUNNING']
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
