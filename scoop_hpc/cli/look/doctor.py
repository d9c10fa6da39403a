"""`scoop-hpc doctor`: look at this site, and say what has to be changed for runs of many nodes."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from scoop_hpc.cli import follow
from scoop_hpc.cli.look.doctor_job import look_by_a_job
from scoop_hpc.cli.look.small_job import OPTIONS, SmallJobCommand, request_of
from scoop_hpc.cli.options.job import JobRequest
from scoop_hpc.cli.options.numbers import Number
from scoop_hpc.cli.options.program import check_named, module_option
from scoop_hpc.doctor import job as job_room
from scoop_hpc.doctor.checks import of_job, of_login_node
from scoop_hpc.doctor.checks.scheduler import SchedulerFacts
from scoop_hpc.doctor.facts import JobFacts
from scoop_hpc.doctor.finding import Finding, Verdict, change
from scoop_hpc.doctor.gather import look
from scoop_hpc.doctor.site import ask_scheduler
from scoop_hpc.errors import InputError
from scoop_hpc.files import private
from scoop_hpc.jobs.commands import Commands, run_command
from scoop_hpc.schedulers.base import Scheduler
from scoop_hpc.schedulers.registry import SCHEDULERS, found, user_name

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(job_room.__file__)), "program.py")
_WALLTIME = 300  # seconds that the job asks for, unless the command line says another


@dataclass(frozen=True, slots=True)
class _Options:
    """The options that are no job's."""

    by_job: bool
    timeout: float | None
    walltime: int | None  # of the job, None: what it is asked for in other jobs


@click.command(cls=SmallJobCommand, params=list(OPTIONS))
@click.option("--submit", "by_job", is_flag=True, help="Look at the nodes, too, by a small job.")
@click.option("--timeout", type=Number(min=0), metavar="SECONDS", help="Cancel the job if it has not ended by then.")
@click.option("--json", "as_json", is_flag=True, help="Print findings and facts as JSON.")
@module_option
@click.argument("program", required=False)
def doctor(
    by_job: bool, timeout: float | None, as_json: bool, is_module: bool, program: str | None, **options: Any
) -> None:
    """Look at this site: what is fine, what is worth knowing, and what to change.

    The scheduler and its queues, Python, directories, network, space, limits, modules, containers, MPI: of this host,
    and with --submit of the nodes of a job that takes some seconds. The options are those of submit, and the settings
    are those that hold for PROGRAM, if one is named. Exit status 1 says that something has to be changed.
    """
    if timeout is not None and not by_job:
        raise click.UsageError("--timeout is for the job of --submit: give both, or none")
    check_named(program, is_module, options)
    source = click.get_current_context().get_parameter_source("walltime")
    own = _Options(by_job, timeout, None if source is ParameterSource.COMMANDLINE else _WALLTIME)
    findings, facts = _examine(request_of(options, _PROGRAM, "scoop-doctor"), own)
    if as_json:
        print(json.dumps({"ok": _is_well(findings), "findings": [_as_dict(each) for each in findings], **facts}))
    else:
        _print(findings)
    sys.exit(0 if _is_well(findings) else 1)


def _examine(request: JobRequest, own: _Options) -> tuple[list[Finding], dict[str, Any]]:
    """Return all findings, and the facts that they are made of."""
    directory, state = os.getcwd(), private.root(os.environ)
    unsafe = _unsafe(state, own.by_job)
    with _marked([directory, *([] if unsafe else [_existing(state)])]) as marks:
        here, asked = look(os.environ, marks), _ask(request.scheduler)
        findings = [*of_login_node(here, asked, request.spec), *unsafe]
        job: JobFacts | None = None
        if own.by_job and not asked.missing and not unsafe:
            brief = request.spec if own.walltime is None else replace(request.spec, walltime=own.walltime)
            put = [mark for mark, marked in zip(marks, here.marked) if marked.has_mark]
            client = follow.open_client(os.environ)
            job, of_the_job = look_by_a_job(client, replace(request, spec=brief), state, put, own.timeout)
            findings += of_the_job
            if job is not None:
                findings += of_job(here, job, request.spec)
    return findings, {
        "scheduler": msgspec.to_builtins(asked),
        "login_node": msgspec.to_builtins(here),
        "job": None if job is None else msgspec.to_builtins(job),
    }


def _ask(scheduler: Scheduler) -> SchedulerFacts:
    """Return what *scheduler* says, and which others are here."""
    commands = Commands(SCHEDULERS, os.environ)
    here = found(shutil.which, lambda argv: run_command(argv, os.environ))
    others = tuple(each.name for each in here if each.name != scheduler.name)
    return ask_scheduler(scheduler, lambda argv: commands.ask(scheduler, argv, None), shutil.which, user_name(), others)


def _unsafe(state: str, is_used: bool) -> list[Finding]:
    """Return why the directory for *state* cannot be used, nothing if it can; make it only if it *is_used*."""
    try:
        if is_used:
            private.make_private(state)
            return []
        private.check_private(os.path.join(state, "jobs"), to_be_made=True)  # where the first job would go
        if not os.path.isdir(state) and not os.access(_existing(state), os.W_OK):
            raise InputError(f"cannot make the directory {state!r}; SCOOP_HPC_STATE names another directory for jobs")
    except InputError as error:
        return [change("directories", str(error), "")]
    return []


def _existing(directory: str) -> str:
    """Return *directory*, or the nearest one above it that is there: it is made by the first job."""
    while not os.path.isdir(directory) and directory != os.path.dirname(directory):
        directory = os.path.dirname(directory)
    return directory


@contextlib.contextmanager
def _marked(directories: Sequence[str]) -> Iterator[list[tuple[str, str]]]:
    """Put a file into each of *directories* for as long as this block lasts; where it cannot be, its name is left."""
    marks: list[tuple[str, str]] = []
    made = []
    try:
        for directory in dict.fromkeys(directories):
            name = f".scoop-hpc-doctor-{secrets.token_hex(8)}"
            marks.append((directory, name))
            with contextlib.suppress(OSError):
                os.close(os.open(os.path.join(directory, name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                made.append(os.path.join(directory, name))
        yield marks
    finally:
        for path in made:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _is_well(findings: Sequence[Finding]) -> bool:
    return not any(each.verdict is Verdict.CHANGE for each in findings)


def _as_dict(finding: Finding) -> dict[str, str]:
    return {
        "topic": finding.topic,
        "verdict": finding.verdict.value,
        "text": finding.text,
        "advice": finding.advice,
    }


def _print(findings: Sequence[Finding]) -> None:
    widest = max(len(each.topic) for each in findings)
    for each in findings:
        advice = f"; {each.advice}" if each.advice else ""
        print(f"{each.verdict.value:<7} {each.topic:<{widest}}  {each.text}{advice}")
    count = sum(each.verdict is Verdict.CHANGE for each in findings)
    print("nothing has to be changed" if not count else f"{count} of {len(findings)} findings ask for a change")
