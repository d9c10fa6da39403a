"""The options that say what a job asks for, and the JobSpec that comes of them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import click

from scoop_hpc.cli.conda import absolute_environment, conda_variables
from scoop_hpc.cli.programs import check_program
from scoop_hpc.errors import InputError, JobSpecError
from scoop_hpc.fields.spec import DEFAULT_OUTPUT, MAIL_EVENTS, RUNTIMES, JobSpec, parse_array
from scoop_hpc.fields.units import parse_begin, parse_gpus, parse_memory, parse_walltime
from scoop_hpc.jobs.commands import run_command
from scoop_hpc.schedulers.base import Scheduler
from scoop_hpc.schedulers.output_patterns import OutputOption
from scoop_hpc.schedulers.registry import SCHEDULERS, find, in_our_words, named, user_name

_Command = TypeVar("_Command", bound=Callable[..., Any])

_POSITIVE = click.IntRange(min=1)
_TIME = "TIME"
_WHAT = (
    click.option("--nodes", type=_POSITIVE, help="Nodes to ask for; default: 1, or any number with --workers."),
    click.option("--workers", type=_POSITIVE, help="Workers in all, spread as the scheduler likes."),
    click.option("--workers-per-node", type=_POSITIVE, help="Default: whole nodes, a worker per CPU."),
    click.option("--cpus-per-worker", type=_POSITIVE, default=1, show_default=True, help="CPUs of each worker."),
    click.option("--gpus-per-node", metavar="[TYPE:]N", help="GPUs on each node, such as 2 or a100:2."),
    click.option("--memory", metavar="SIZE", help="Memory on each node, such as 8G."),
    click.option("--memory-per-cpu", metavar="SIZE", help="Memory for each CPU, such as 2G."),
    click.option("--walltime", metavar=_TIME, help="Minutes, H:MM:SS, D-HH:MM:SS, or 90s, 45m, 2h, 1d."),
    click.option("--queue", help="Queue, in Slurm's words partition."),
    click.option("--account", help="Account that the job is charged to."),
    click.option("--qos", help="Quality of service."),
    click.option("--reservation", help="Reservation to run in."),
    click.option("--constraint", help="What nodes must have, in the scheduler's words."),
    click.option("--exclusive/--no-exclusive", help="Share the nodes with nobody."),
    click.option("--pe", help="Parallel environment of Grid Engine; default: one that fits."),
    click.option("--license", metavar="NAME[:N]", multiple=True, help="Licences to take; repeatable."),
    click.option("--name", help="Name of the job; default: the program's."),
    click.option("--output", metavar="FILE", help=f"File for what the job prints; default: {DEFAULT_OUTPUT}"),
    click.option("--error", metavar="FILE", help="File for its standard error; default: the output's."),
    click.option("--chdir", metavar="DIR", help="Directory to run in; default: the current one."),
    click.option("--array", metavar="FIRST-LAST[:STEP][%LIMIT]", help="A job for each number, LIMIT at a time."),
    click.option("--after", metavar="JOB", multiple=True, help="Begin when JOB has succeeded; repeatable."),
    click.option("--after-any", metavar="JOB", multiple=True, help="Begin when JOB has ended; repeatable."),
    click.option("--after-failure", metavar="JOB", multiple=True, help="Begin when JOB has failed; repeatable."),
    click.option("--begin", metavar=_TIME, help="Begin not before: HH:MM, YYYY-MM-DDTHH:MM, or +2h."),
    click.option("--signal", metavar=_TIME, help="Send SIGUSR1 this long before the walltime is over, such as 90s."),
    click.option("--requeue/--no-requeue", help="Let the scheduler run the job again after a node failed."),
    click.option("--mail-user", metavar="ADDRESS", help="Whom to write to."),
    click.option("--mail-events", metavar="LIST", help=f"When: of {','.join(MAIL_EVENTS)}; default: end,fail."),
    click.option("--setup", metavar="LINE", multiple=True, help="Shell line before modules, conda, venv; repeatable."),
    click.option("--module", metavar="NAME", multiple=True, help="Environment module to load; repeatable."),
    click.option("--conda", metavar="ENV", help="Conda environment to activate, by name or path."),
    click.option("--venv", metavar="DIR", help="Virtual environment whose Python runs the program."),
    click.option("--container", metavar="IMAGE", help="Container image that the workers run in."),
    click.option("--container-runtime", type=click.Choice(RUNTIMES), help="What runs it; default: apptainer."),
    click.option("--env", metavar="NAME[=VALUE]", multiple=True, help="Variable for the job; repeatable."),
    click.option("--prologue", metavar="LINE", multiple=True, help="Shell line before the run; repeatable."),
    click.option("--directive", metavar="TEXT", multiple=True, help="More for the scheduler, verbatim; repeatable."),
    click.option("--template", metavar="FILE", help="Template of the job script; see scoop-hpc template."),
    click.option(
        "--scheduler",
        metavar="NAME",
        help=f"One of {', '.join(SCHEDULERS)}; default: the one that is found, local if none.",
    ),
    click.argument("program", nargs=1),
    click.argument("arguments", nargs=-1, type=click.UNPROCESSED),
)


def asking(command: _Command) -> _Command:
    """Add the options that say what is asked for."""
    for option in reversed(_WHAT):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line asks for, of whom, and by which template."""

    spec: JobSpec
    scheduler: Scheduler
    template: str | None


def read_options(options: Mapping[str, Any], environ: Mapping[str, str]) -> Asked:
    """Check the options that `asking` added, as far as it can be done here; go where the job shall run."""
    program, template = options["program"], options["template"]
    check_program(program)
    venv = _parsed(_existing_venv, options["venv"])
    conda = _parsed(absolute_environment, options["conda"])
    container = _parsed(_absolute_image, options["container"])
    if options["chdir"] is not None:
        program = os.path.abspath(program)
        template = os.path.abspath(template) if template is not None and os.path.exists(template) else template
        _enter(options["chdir"])
    scheduler = choose(options["scheduler"], environ)
    paths = {"program": program, "venv": venv, "conda": conda, "container": container}
    spec = make_spec({**options, **paths}, scheduler, environ)
    return Asked(spec, scheduler, template)


def make_spec(options: Mapping[str, Any], scheduler: Scheduler, environ: Mapping[str, str]) -> JobSpec:
    """Return what the options ask for, to be run in the current directory; raise InputError for what nobody could."""
    program = options["program"]
    try:
        directory = os.getcwd()
    except OSError as error:
        raise InputError(f"cannot tell the current directory ({error.strerror}): go to one that exists") from error
    nodes, workers = options["nodes"], options["workers"]
    mail_events = tuple((options["mail_events"] or "end,fail").split(",")) if options["mail_user"] else ()
    if options["mail_events"] and not options["mail_user"]:
        raise JobSpecError(f"--mail-events {options['mail_events']}: to whom? give --mail-user as well")
    gpu_type, gpus = _parsed(parse_gpus, options["gpus_per_node"]) or (None, None)
    return JobSpec(
        program=(program, *options["arguments"]),
        directory=directory,
        name=_name_of(program) if options["name"] is None else options["name"],
        nodes=1 if nodes is None and workers is None else nodes,
        workers=workers,
        workers_per_node=options["workers_per_node"],
        cpus_per_worker=options["cpus_per_worker"],
        memory_per_node=_parsed(parse_memory, options["memory"]),
        memory_per_cpu=_parsed(parse_memory, options["memory_per_cpu"]),
        gpus_per_node=gpus,
        gpu_type=gpu_type,
        walltime=_parsed(parse_walltime, options["walltime"]),
        queue=options["queue"],
        account=options["account"],
        output=_output(options, "output", scheduler, environ),
        error=_output(options, "error", scheduler, environ),
        mail_user=options["mail_user"],
        mail_events=mail_events,
        array=_parsed(parse_array, options["array"]),
        after=options["after"],
        after_any=options["after_any"],
        after_failure=options["after_failure"],
        exclusive=options["exclusive"],
        constraint=options["constraint"],
        qos=options["qos"],
        reservation=options["reservation"],
        licenses=options["license"],
        begin=_parsed(lambda text: parse_begin(text, datetime.now()), options["begin"]),
        signal=_parsed(lambda text: parse_walltime(text, "time of --signal"), options["signal"]),
        requeue=options["requeue"],
        parallel_environment=options["pe"],
        setup=options["setup"],
        modules=options["module"],
        conda=options["conda"],
        venv=options["venv"],
        container=options["container"],
        container_runtime=options["container_runtime"],
        environment=_variables(options, environ, scheduler),
        prologue=options["prologue"],
        directives=options["directive"],
    )


def choose(name: str | None, environ: Mapping[str, str]) -> Scheduler:
    """Return the scheduler called *name*, or the one that is here."""
    return find(shutil.which, lambda argv: run_command(argv, environ)) if name is None else named(name)


def command_line(spec: JobSpec, scheduler: Scheduler, record: str | None) -> list[str]:
    """Return the command that the job script becomes: the driver, which keeps its record in the file *record*.

    It is told whose job it is in, so that what another scheduler's job has left in the environment does not matter.
    """
    python = sys.executable
    if spec.venv is not None:
        python = os.path.join(spec.venv, "bin", "python")
    elif spec.conda is not None:
        python = "python"  # of the environment that the script activates
    options = ["--allocation", scheduler.name]
    if record is not None:
        options += ["--record", record]
    if spec.container is not None:
        options += ["--container", spec.container]
    if spec.container_runtime is not None:
        options += ["--container-runtime", spec.container_runtime]
    return [python, "-m", "scoop_hpc", "run", *options, "--", *spec.program]


def _enter(directory: str) -> None:
    """Go where the job shall run: some schedulers put its output where it is submitted."""
    try:
        os.chdir(directory)
    except OSError as error:
        raise InputError(f"--chdir {directory!r}: {error.strerror}; name a directory") from error


_Value = TypeVar("_Value")


def _parsed(parse: Callable[[str], _Value], text: str | None) -> _Value | None:
    return None if text is None else parse(text)


def _output(options: Mapping[str, Any], name: str, scheduler: Scheduler, environ: Mapping[str, str]) -> str | None:
    """Return a file for output, the scheduler's own patterns in our words."""
    if options[name] is None:
        return None
    is_array = options["array"] is not None
    return in_our_words(
        scheduler, OutputOption(f"--{name}", options[name], is_array, user_name(), environ.get("HOME", "~"))
    )


def _name_of(program: str) -> str:
    """Return a job's name made of the program's, whatever characters that has."""
    stem = os.path.splitext(os.path.basename(program))[0]
    return "".join(character if character.isprintable() else "_" for character in stem)


def _existing_venv(directory: str) -> str:
    path = os.path.abspath(directory)
    if not os.path.exists(os.path.join(path, "bin", "python")):
        raise InputError(f"--venv {directory!r} holds no bin/python: name the directory of a virtual environment")
    return path


def _absolute_image(image: str) -> str:
    """Return *image*; a file by its whole path, for the nodes are elsewhere."""
    return os.path.abspath(image) if os.path.exists(image) else image


def _variables(
    options: Mapping[str, Any], environ: Mapping[str, str], scheduler: Scheduler
) -> tuple[tuple[str, str], ...]:
    """Return the variables that the script sets: those of --env, and those by which the job finds the scheduler's
    commands, modules, conda and state."""
    variables = scheduler.job_variables(environ, options["directive"], shutil.which)
    if options["conda"] is not None:
        variables.update(conda_variables(environ, shutil.which))
    if not scheduler.passes_environment:
        variables.update({name: environ[name] for name in ("PYTHONPATH", "SCOOP_HPC_STATE") if environ.get(name)})
    for setting in options["env"]:
        name, equals, value = setting.partition("=")
        if not equals and name not in environ:
            raise InputError(f"--env {name}: there is no such variable here, write NAME=VALUE")
        variables[name] = value if equals else environ[name]
    return tuple(variables.items())
