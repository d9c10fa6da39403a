"""`scoop-hpc submit` and `render`: from a command line to a job, or to its script."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from typing import Any, Callable, Optional, TypeVar

import click

from scoop_hpc.cli import follow
from scoop_hpc.cli.programs import check_program
from scoop_hpc.client import check_present
from scoop_hpc.errors import InputError, ScoopError
from scoop_hpc.jobdirectory import Job
from scoop_hpc.jobscript import render as render_script
from scoop_hpc.jobspec import DEFAULT_OUTPUT, JobSpec, output_path, parse_memory, parse_walltime
from scoop_hpc.schedulers.base import Scheduler
from scoop_hpc.schedulers.registry import SCHEDULERS, find, named

_Command = TypeVar("_Command", bound=Callable[..., Any])

_SETTINGS = {"allow_interspersed_args": False}
_WHAT = (
    click.option("--nodes", type=click.IntRange(min=1), default=1, show_default=True, help="Nodes to ask for."),
    click.option("--workers-per-node", type=click.IntRange(min=1), help="Default: whole nodes, a worker per CPU."),
    click.option("--cpus-per-worker", type=click.IntRange(min=1), default=1, show_default=True),
    click.option("--walltime", metavar="TIME", help="Minutes, H:MM:SS, D-HH:MM:SS, or 90s, 45m, 2h, 1d."),
    click.option("--memory", metavar="SIZE", help="Memory on each node, such as 8G."),
    click.option("--queue", help="Queue, in Slurm's words partition."),
    click.option("--account", help="Account that the job is charged to."),
    click.option("--name", help="Name of the job; default: the program's."),
    click.option("--output", metavar="FILE", help=f"File for what the job prints; default: {DEFAULT_OUTPUT}"),
    click.option("--directive", metavar="TEXT", multiple=True, help="More for the scheduler, verbatim; repeatable."),
    click.option(
        "--scheduler",
        metavar="NAME",
        help=f"One of {', '.join(SCHEDULERS)}; default: the one that is found, local if none.",
    ),
    click.argument("program", nargs=1),
    click.argument("arguments", nargs=-1, type=click.UNPROCESSED),
)


def _asking(command: _Command) -> _Command:
    """Add the options that say what is asked for."""
    for option in reversed(_WHAT):
        command = option(command)
    return command


@dataclass(frozen=True)
class _Asked:
    spec: JobSpec
    scheduler: Scheduler


def _read_options(
    nodes: int,
    workers_per_node: Optional[int],
    cpus_per_worker: int,
    walltime: Optional[str],
    memory: Optional[str],
    queue: Optional[str],
    account: Optional[str],
    name: Optional[str],
    output: Optional[str],
    directive: tuple[str, ...],
    scheduler: Optional[str],
    program: str,
    arguments: tuple[str, ...],
) -> _Asked:
    """Check what was asked for, as far as it can be here."""
    check_program(program)
    try:
        directory = os.getcwd()
    except OSError as error:
        raise InputError(f"cannot tell the current directory ({error.strerror}): go to one that exists") from error
    spec = JobSpec(
        program=(program, *arguments),
        directory=directory,
        name=_name_of(program) if name is None else name,
        nodes=nodes,
        workers_per_node=workers_per_node,
        cpus_per_worker=cpus_per_worker,
        walltime=None if walltime is None else parse_walltime(walltime),
        memory_per_node=None if memory is None else parse_memory(memory),
        queue=queue,
        account=account,
        output=output,
        directives=directive,
    )
    return _Asked(spec, find(shutil.which) if scheduler is None else named(scheduler))


def _name_of(program: str) -> str:
    """Return a job's name made of the program's, whatever characters that has."""
    stem = os.path.splitext(os.path.basename(program))[0]
    return "".join(character if character.isprintable() else "_" for character in stem)


def _check_output(spec: JobSpec) -> None:
    """Refuse an output that a scheduler would fail to write, without a word."""
    path = output_path(spec, "{job_id}")
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise InputError(f"there is no directory {directory!r} for the output: make it, or change --output")
    if os.path.isdir(path):
        raise InputError(f"the output {path!r} is a directory: name a file by --output")
    if os.path.exists(path):
        if not os.access(path, os.W_OK):
            raise InputError(f"the output {path!r} is not yours to write: change --output")
    elif not os.access(directory, os.W_OK | os.X_OK):
        raise InputError(f"the directory {directory!r} is not yours to write the output to: change --output")


def command_line(spec: JobSpec, record: Optional[str]) -> list[str]:
    """Return the command that the job script becomes: the driver, which keeps its record in the file *record*."""
    options = [] if record is None else ["--record", record]
    return [sys.executable, "-m", "scoop_hpc", "run", *options, "--", *spec.program]


@click.command(context_settings=_SETTINGS)
@_asking
def render(**options: Any) -> None:
    """Print the job script that `submit` would submit for PROGRAM with its ARGUMENTS."""
    asked = _read_options(**options)
    print(render_script(asked.spec, asked.scheduler, command_line(asked.spec, None)), end="")


@click.command(context_settings=_SETTINGS)
@click.option("--parsable", is_flag=True, help="Print the job's id, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print the job's id, scheduler, output and directory as JSON.")
@click.option("--wait", is_flag=True, help="Print what the job prints, and take its exit status.")
@_asking
def submit(parsable: bool, as_json: bool, wait: bool, **options: Any) -> None:
    """Submit PROGRAM with its ARGUMENTS as a job: a Python file that `scoop-hpc run` would run.

    Ctrl-C while waiting leaves the job alone; `scoop-hpc cancel` ends it.
    """
    if as_json and (wait or parsable):
        raise click.UsageError("--json goes with neither --wait nor --parsable: choose one")
    asked = _read_options(**options)
    check_present(asked.scheduler, shutil.which)
    _check_output(asked.spec)
    client = follow.open_client(os.environ)

    def write_script(job: Job) -> str:
        return render_script(job.spec, asked.scheduler, command_line(job.spec, job.record))

    try:
        job = client.submit(asked.spec, asked.scheduler, write_script, time.time())
    except KeyboardInterrupt:
        follow.say(f"interrupted: {asked.scheduler.name} may have taken the job all the same; ask it")
        sys.exit(130)
    line = f"Submitted job {job.job_id} to {job.scheduler}; output: {job.output}"
    if as_json:
        about = {"job_id": job.job_id, "scheduler": job.scheduler, "output": job.output, "directory": job.directory}
        line = json.dumps(about)
    elif parsable:
        line = str(job.job_id)
    try:
        # with --wait, what the job prints has the standard output for itself
        print(line, file=sys.stderr if wait and not parsable else sys.stdout, flush=True)
    except OSError as error:
        raise ScoopError(f"job {job.job_id} was submitted, but to say so failed: {error.strerror}") from error
    if wait:
        (report,) = client.reports([job])
        try:
            ended = follow.see_through(client, report)
        except KeyboardInterrupt:
            follow.say(f"job {job.job_id} goes on; scoop-hpc cancel {job.job_id} ends it")
            sys.exit(130)
        follow.say_how_it_ended(ended)
        sys.exit(follow.exit_status([ended]))
