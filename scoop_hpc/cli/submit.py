"""`scoop-hpc submit` and `render`: from a command line to a job, or to its script."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from scoop_hpc.cli import follow
from scoop_hpc.cli.displays import bar_of_terminal
from scoop_hpc.cli.look.find import find
from scoop_hpc.cli.look.waiting_bar import WaitingBar
from scoop_hpc.cli.options.job import (
    OF_JOINING,
    OF_THE_RUN,
    JobRequest,
    command_line,
    job_options,
    read_options,
)
from scoop_hpc.cli.options.job_command import JobCommand
from scoop_hpc.cli.options.program import module_option
from scoop_hpc.cli.shell.known_jobs import known_jobs
from scoop_hpc.cli.templates import template_directories
from scoop_hpc.complaints import show
from scoop_hpc.errors import InputError, SchedulerError, ScoopError
from scoop_hpc.fields.checks import is_port
from scoop_hpc.fields.spec import OPTIONS, JobSpec
from scoop_hpc.files.reading import TRUST
from scoop_hpc.jobs import look
from scoop_hpc.jobs.client import Client
from scoop_hpc.jobs.commands import check_present, run_command
from scoop_hpc.jobs.directories import Job
from scoop_hpc.jobs.script import render as render_script
from scoop_hpc.schedulers.base import Scheduler
from scoop_hpc.schedulers.registry import naming_others
from scoop_hpc.transport.limits import memory_of_node

_SETTINGS = {"allow_interspersed_args": False}


_join_option = click.option(
    "--join",
    metavar="JOB",
    shell_complete=known_jobs,
    help="Add the job's nodes to the run of JOB, a job of yours that runs, or waits.",
)


@click.command(cls=JobCommand, context_settings=_SETTINGS)
@_join_option
@module_option
@job_options
def render(join: str | None, **options: Any) -> None:
    """Print the job script that `submit` would submit for PROGRAM with its ARGUMENTS."""
    request = read_options(options, os.environ, join)
    spec = follow.open_client(os.environ).prepare(request.spec, request.scheduler)
    directories, trust = template_directories(os.environ), os.environ.get(TRUST, "")
    print(
        render_script(
            spec,
            request.scheduler,
            command_line(spec, request.scheduler, None, join),
            directories,
            request.template,
            trust,
        ),
        end="",
    )


@click.command(cls=JobCommand, context_settings=_SETTINGS)
@click.option("--parsable", is_flag=True, help="Print the job's id, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print the job's id, scheduler, output and directory as JSON.")
@click.option("--wait", is_flag=True, help="Print what the job prints, and take its exit status.")
@click.option("--dry-run", is_flag=True, help="Print the script, and what the scheduler thinks of it; submit nothing.")
@_join_option
@module_option
@job_options
def submit(parsable: bool, as_json: bool, wait: bool, dry_run: bool, join: str | None, **options: Any) -> None:
    """Submit PROGRAM with its ARGUMENTS as a job: a Python file, or with -m a module, that `scoop-hpc run` would run.

    With --join JOB there is no PROGRAM: the nodes of the new job take part in the run of that one.
    Ctrl-C while waiting leaves the job alone; `scoop-hpc cancel` ends it.
    """
    if as_json and (wait or parsable):
        raise click.UsageError("--json goes with neither --wait nor --parsable: choose one")
    if dry_run and (as_json or wait or parsable):
        raise click.UsageError("--dry-run submits nothing: leave --json, --wait and --parsable out")
    request = read_options(options, os.environ, join)
    if wait and request.spec.array is not None:
        raise click.UsageError(
            "--wait cannot print what the many jobs of an --array print: see scoop-hpc wait and logs"
        )
    client = follow.open_client(os.environ)
    if join is not None:
        _check_joined(client, request, join)
    with _naming_others(request.scheduler):
        check_present(request.scheduler, shutil.which)
        spec = client.prepare(request.spec, request.scheduler)
    _check_outputs(spec)
    _warn_of_memory(spec)
    client.check_dependencies(spec, request.scheduler)
    directories, trust = template_directories(os.environ), os.environ.get(TRUST, "")

    def write_script(job: Job) -> str:
        return render_script(
            spec,
            request.scheduler,
            command_line(spec, request.scheduler, job.record, join),
            directories,
            request.template,
            trust,
        )

    if dry_run:
        _show(client, request, spec, directories)
        return
    try:
        with _naming_others(request.scheduler):
            job = client.submit(spec, request.scheduler, write_script, time.time())
    except KeyboardInterrupt:
        follow.say(f"interrupted: {request.scheduler.name} may have taken the job all the same; ask it")
        sys.exit(130)
    _say_submitted(job, parsable, as_json, wait)
    if wait:
        _see_through(client, job)


@contextlib.contextmanager
def _naming_others(scheduler: Scheduler) -> Iterator[None]:
    """Name, in the error of a *scheduler* that cannot be used, the others that are here."""
    try:
        yield
    except SchedulerError as error:
        named = naming_others(str(error), scheduler.name, shutil.which, lambda argv: run_command(argv, os.environ))
        raise type(error)(named) from error


def _warn_of_memory(spec: JobSpec) -> None:
    """Say what the job would end by when it has begun: it asks for less memory than its workers have when idle."""
    if spec.workers_per_node is None:
        return
    granted, option = spec.memory_per_node, "--memory"
    if spec.memory_per_cpu is not None:
        granted, option = spec.memory_per_cpu * spec.workers_per_node * spec.cpus_per_worker, "--memory-per-cpu"
    needed = memory_of_node(spec.workers_per_node + 1, spec.nodes or 1)
    if granted is not None and granted < needed:
        workers = f"{spec.workers_per_node} worker{'' if spec.workers_per_node == 1 else 's'}"
        follow.say(
            f"warning: {workers} on a node need {needed >> 20} MiB at least, {option} grants {granted >> 20} MiB: "
            f"give more by {option}, or the job will end when it begins"
        )


def _check_joined(client: Client, request: JobRequest, join: str) -> None:
    """Refuse a job to join that has ended; name the options that have no effect, for the run has its own."""
    found = find(client, join, os.environ)
    if found.ended is not None:
        raise InputError(f"--join {join}: the {found.label} has ended", "--join")
    ours = (field for field in OF_THE_RUN if field not in OF_JOINING)
    idle = [OF_THE_RUN[field] for field in ours if getattr(request.spec, field) != OPTIONS[field].default]
    if idle:
        follow.say(f"warning: without effect beside --join, for the run has its own: {', '.join(idle)}")


def _show(client: Client, request: JobRequest, spec: JobSpec, directories: Sequence[str]) -> None:
    """Print the script; say how it would be submitted, and what the scheduler thinks of it."""
    record = os.path.join("JOB", "record.json")
    scheduler = request.scheduler
    trust = os.environ.get(TRUST, "")

    def write_script(job: Job | None) -> str:
        return render_script(
            spec,
            scheduler,
            command_line(spec, scheduler, record, request.join),
            directories,
            request.template,
            trust,
        )

    print(
        write_script(None),
        end="",
        flush=True,
    )
    follow.say(f"would run: {shlex.join(scheduler.submit_argv('JOB/job.sh'))}")
    opinion = client.try_out(spec, scheduler, write_script, time.time())
    if opinion is None:
        follow.say(f"{scheduler.name} cannot be asked what it thinks of a job that is not submitted")
    else:
        follow.say(f"{scheduler.name} would take the job: {opinion}")


def _say_submitted(job: Job, parsable: bool, as_json: bool, wait: bool) -> None:
    output = job.output()
    cluster = job.site.cluster if job.site is not None else ""
    where = f", cluster {cluster}" if cluster else ""
    line = f"Submitted job {job.job_id} to {job.scheduler}{where}; output: {output}"
    if as_json:
        about = {
            "job_id": job.job_id,
            "scheduler": job.scheduler,
            "cluster": cluster or None,
            "output": output,
            "directory": job.directory,
        }
        line = json.dumps(about)
    elif parsable:
        line = str(job.job_id)
    if wait and not parsable:  # what the job prints has the standard output for itself
        show(line)
        return
    try:
        print(line, flush=True)
    except OSError as error:
        raise ScoopError(f"job {job.job_id} was submitted, but to say so failed: {error.strerror}") from error


def _see_through(client: Client, job: Job) -> None:
    """Show what *job* prints, and exit as it does."""
    (report,) = client.reports([job])
    try:
        ended, shown = follow.see_through(client, report, _bar(job))
    except KeyboardInterrupt:
        follow.say(f"job {job.job_id} goes on; scoop-hpc cancel {job.job_id} ends it")
        sys.exit(130)
    if not shown and follow.has_begun(ended):
        follow.say(f"warning: {follow.without_output(ended)}")
    follow.say_how_it_ended(ended)
    sys.exit(follow.exit_status([ended]))


def _bar(job: Job) -> WaitingBar | None:
    """Return a bar for what *job* does, None where there is no terminal for one, or none is wanted."""
    bar = None if job.spec.progress == "none" else bar_of_terminal(os.environ)
    if bar is None:
        return None
    return WaitingBar(os.path.join(job.directory, look.FILE), bar, time.monotonic, follow.write)


def _check_outputs(spec: JobSpec) -> None:
    """Refuse a file that a scheduler, or the run in the job, would fail to write: the job would fail when it begins."""
    metrics = None if spec.metrics is None or is_port(spec.metrics) else spec.metrics
    for option, what, text in (
        ("--output", "output", spec.output),
        ("--error", "output", spec.error),
        ("--trace", "trace", spec.trace),
        ("--metrics", "metrics", metrics),
    ):
        if text is not None:
            _check_output(os.path.join(spec.directory, text.replace("{name}", spec.name)), what, option)


def _check_output(path: str, what: str, option: str) -> None:
    directory = os.path.dirname(path)
    if "{" in directory:
        return  # named by the job's id: the scheduler may make it, or fail
    if not os.path.isdir(directory):
        raise InputError(f"there is no directory {directory!r} for the {what}: make it, or change {option}", option)
    if os.path.isdir(path):
        raise InputError(f"the {what} {path!r} is a directory: name a file by {option}", option)
    if os.path.exists(path):
        if not os.access(path, os.W_OK):
            raise InputError(f"the {what} {path!r} is not yours to write: change {option}", option)
    elif not os.access(directory, os.W_OK | os.X_OK):
        raise InputError(f"the directory {directory!r} is not yours to write the {what} to: change {option}", option)
