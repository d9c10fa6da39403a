"""The options of submit and render, of the rows of `scoop_hpc.fields.spec`, and the JobSpec that they make."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import click

from scoop_hpc.cli.options.conda import absolute_environment, conda_variables
from scoop_hpc.cli.options.numbers import Whole
from scoop_hpc.cli.options.program import check_module, check_program, is_elsewhere
from scoop_hpc.cli.shell.known_jobs import known_jobs
from scoop_hpc.cli.shell.names import network_interfaces, proposing
from scoop_hpc.errors import InputError, JobSpecError, ProgramError, about
from scoop_hpc.fields.checks import check_port
from scoop_hpc.fields.option import Option, Takes
from scoop_hpc.fields.spec import OPTIONS, JobSpec
from scoop_hpc.fields.units import parse_begin
from scoop_hpc.jobs.commands import run_command
from scoop_hpc.schedulers.base import Scheduler
from scoop_hpc.schedulers.output_patterns import OutputOption
from scoop_hpc.schedulers.registry import SCHEDULERS, find, in_our_words, named, user_name
from scoop_hpc.settings import foreign

_Command = TypeVar("_Command", bound=Callable[..., Any])

_POSITIVE = Whole(min=1)

# what follows -m as an option of theirs: events to mail of qsub(1), a distribution of sbatch(1)
_OF_SCHEDULERS = re.compile(r"[abefjnps]{1,5}|(block|cyclic|plane|arbitrary|\*)([:=,].*)?")

# fields that the run sees to, and its options
OF_THE_RUN = {
    "progress": "--progress",
    "trace": "--trace",
    "worker_logs": "--worker-logs",
    "metrics": "--metrics",
    "label": "--label",
    "log_level": "--log-level",
    "profile_workers": "--profile",  # of submit, --profile is a cluster of the settings
    "container": "--container",
    "container_runtime": "--container-runtime",
    "container_options": "--container-option",
    "on_node_loss": "--on-node-loss",
    "min_nodes": "--min-nodes",
    "grace": "--grace",
    "patience": "--patience",
    "interface": "--interface",
    "nice": "--nice",
    "bind": "--bind",
    "gpus_per_worker": "--gpus-per-worker",
    "launcher": "--launcher",
    "mpiexec": "--mpiexec",
}

_PROPOSED = {  # by the field
    "after": known_jobs,
    "after_any": known_jobs,
    "after_failure": known_jobs,
    "interface": proposing(network_interfaces),
}
_FILES = ("--trace", "--worker-logs", "--metrics")  # whose names may have {name} in them


def _click_option(each: Option) -> Callable[[_Command], _Command]:
    """Return the decorator that adds the option of a row."""
    if each.takes is Takes.FLAG:
        return click.option(f"{each.name}/--no-{each.name[2:]}", help=each.summary)
    return click.option(
        each.name,
        type=_POSITIVE if each.takes is Takes.COUNT else click.Choice(each.choices) if each.choices else None,
        metavar=each.metavar,
        multiple=each.takes is Takes.LIST,
        default=each.default if each.shows_default else None,
        show_default=each.shows_default,
        help=each.summary,
        shell_complete=_PROPOSED.get(each.field),
    )


_ALL = (
    *(_click_option(each) for each in OPTIONS.values() if not each.part),
    click.option("--template", metavar="FILE", help="Template of the job script; see scoop-hpc template."),
    click.option(
        "--scheduler",
        metavar="NAME",
        shell_complete=proposing(lambda: SCHEDULERS),
        help=f"One of {', '.join(SCHEDULERS)}; default: the one that is found, local if none.",
    ),
    click.argument("program", nargs=1, required=False),
    click.argument("arguments", nargs=-1, type=click.UNPROCESSED),
)


def job_options(command: _Command) -> _Command:
    """Add the options and arguments that describe a job."""
    for add in reversed(_ALL):
        command = add(command)
    return command


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A command line's request: the job, its scheduler and the template."""

    spec: JobSpec
    scheduler: Scheduler
    template: str | None
    join: str | None = None  # the job whose run the nodes of this one join, instead of running a program


# of the run's options, those that nodes which join one have of their own
OF_JOINING = ("patience", "interface", "launcher")


def read_options(options: Mapping[str, Any], environ: Mapping[str, str], join: str | None = None) -> JobRequest:
    """Check the values of the options that `job_options` adds, and go to the directory where the job shall run.

    The job is to *join* the run of another one, if that is named.
    """
    program, template, is_module = options["program"], options["template"], options.get("is_module", False)
    if join is None and program is None:
        raise click.UsageError("Missing argument 'PROGRAM'.")
    if join is not None and program is not None:
        raise click.UsageError(f"--join {join} runs no program: leave out {program!r}")
    if join is not None:
        program = f"join-{join}"
    elif not is_module:
        check_program(program)
    paths = {
        "program": program,
        "venv": _existing_venv(options["venv"]),
        "conda": absolute_environment(options["conda"]),
        "container": _absolute_image(options["container"]),
    }
    if options["chdir"] is not None:
        paths["program"] = program if is_module else os.path.abspath(program)
        template = os.path.abspath(template) if template is not None and os.path.exists(template) else template
        _enter(options["chdir"])
    scheduler = choose(options["scheduler"], environ)
    if is_module:
        _check_module(program, options, scheduler)
    spec = make_spec({**options, **paths}, scheduler, environ)
    _check_watching(spec)
    return JobRequest(spec, scheduler, template, join)


def _check_watching(spec: JobSpec) -> None:
    """Refuse what the job would only refuse once it has waited for its nodes."""
    if spec.progress == "bar":
        text = "--progress bar: a job writes into a file, which is no terminal; take --progress log"
        raise JobSpecError(text, "--progress")
    if spec.metrics is not None:
        check_port(spec.metrics)


def _check_module(name: str, options: Mapping[str, Any], scheduler: Scheduler) -> None:
    """Refuse a module that the job would not find; say so, too, to who means the -m of sbatch or qsub."""
    try:
        check_module(name, is_elsewhere(options))
    except ProgramError as error:
        theirs = foreign.ours("-m", name, scheduler.name) if _OF_SCHEDULERS.fullmatch(name) else None
        if theirs is None:
            raise
        own = "" if scheduler.own_options is None else f"{scheduler.own_options.owner} "
        raise ProgramError(f"{error}; {own}{theirs}") from error


def make_spec(options: Mapping[str, Any], scheduler: Scheduler, environ: Mapping[str, str]) -> JobSpec:
    """Return the job that the options describe, to be run in the current directory; raise InputError."""
    program, workers = options["program"], options["workers"]
    try:
        directory = os.getcwd()
    except OSError as error:
        raise InputError(f"cannot tell the current directory ({error.strerror}): go to one that exists") from error
    fields = {each.field: each.parse(options[each.parameter]) for each in OPTIONS.values() if not each.part}
    # what an option's own text does not tell
    fields["directory"] = directory
    fields["is_module"] = is_module = options.get("is_module", False)
    fields["name"] = _name_of(program, is_module) if options["name"] is None else options["name"]
    fields["nodes"] = 1 if options["nodes"] is None and workers is None else options["nodes"]
    fields["gpu_type"], fields["gpus_per_node"] = fields["gpus_per_node"] or (None, None)
    fields["output"] = _output(options, "output", scheduler, environ)
    fields["error"] = _output(options, "error", scheduler, environ)
    fields["begin"] = _begin(options["begin"])
    fields["mail_events"] = fields["mail_events"] or (("end", "fail") if options["mail_user"] else ())
    fields["environment"] = _variables(options, environ, scheduler)
    return JobSpec(program=(program, *options["arguments"]), **fields)


def choose(name: str | None, environ: Mapping[str, str]) -> Scheduler:
    """Return the scheduler *name*, or without a name the one that is found here."""
    return find(shutil.which, lambda argv: run_command(argv, environ)) if name is None else named(name)


def command_line(spec: JobSpec, scheduler: Scheduler, record: str | None, join: str | None = None) -> list[str]:
    """Return the command that the job script becomes: the driver, which keeps its record in the file *record*.

    Or its nodes *join* the run of the job of that name: the options of the run are those of that one then.

    It is told whose job it is in, so that what another scheduler's job has left in the environment does not matter.
    """
    python = sys.executable
    if spec.venv is not None:
        python = os.path.join(spec.venv, "bin", "python")
    elif spec.conda is not None:
        python = "python"  # of the environment that the script activates
    options = ["--allocation", scheduler.name]
    if join is not None:
        for field in OF_JOINING:
            options += _words_of(OF_THE_RUN[field], getattr(spec, field), OPTIONS[field].default, spec.name)
        return [python, "-m", "scoop_hpc", "join", *options, "--", join]
    if record is not None:
        options += ["--record", record]
    for field, name in OF_THE_RUN.items():
        options += _words_of(name, getattr(spec, field), OPTIONS[field].default, spec.name)
    options += ["-m"] if spec.is_module else []
    return [python, "-m", "scoop_hpc", "run", *options, "--", *spec.program]


def _words_of(name: str, value: Any, default: Any, job_name: str) -> list[str]:
    """Return the words of a command line that give the option *name* a *value*; none for its default.

    >>> _words_of("--label", True, False, "pi"), _words_of("--trace", "{name}.json", None, "pi")
    (['--label'], ['--trace', 'pi.json'])
    """
    if value == default:
        return []
    if value is True:
        return [name]
    if isinstance(value, tuple):
        return [word for each in value for word in (name, each)]
    if isinstance(value, float):
        return [name, f"{value:g}"]
    return [name, str(value).replace("{name}", job_name) if name in _FILES else str(value)]


def _enter(directory: str) -> None:
    """Go where the job shall run: some schedulers put its output where it is submitted."""
    try:
        os.chdir(directory)
    except OSError as error:
        raise InputError(f"--chdir {directory!r}: {error.strerror}; name a directory", "--chdir") from error


def _output(options: Mapping[str, Any], name: str, scheduler: Scheduler, environ: Mapping[str, str]) -> str | None:
    """Return the file of --output or --error, the scheduler's own patterns replaced by our placeholders."""
    option, text = f"--{name}", options[name]
    if text is None:
        return None
    is_array, home = options["array"] is not None, environ.get("HOME", "~")
    with about(option):
        return in_our_words(scheduler, OutputOption(option, text, is_array, user_name(), home))


def _begin(text: str | None) -> str | None:
    with about("--begin"):
        return None if text is None else parse_begin(text, datetime.now())


def _name_of(program: str, is_module: bool) -> str:
    """Return the job's default name: the program's, with ``_`` for characters that are not printable."""
    stem = program if is_module else os.path.splitext(os.path.basename(program))[0]
    return "".join(character if character.isprintable() else "_" for character in stem)


def _existing_venv(directory: str | None) -> str | None:
    if directory is None:
        return None
    path = os.path.abspath(directory)
    for name in ("python", "activate"):
        if not os.path.exists(os.path.join(path, "bin", name)):
            raise InputError(
                f"--venv {directory!r} holds no bin/{name}: name the directory of a virtual environment", "--venv"
            )
    return path


def _absolute_image(image: str | None) -> str | None:
    """Return *image*; a file by its absolute path."""
    return os.path.abspath(image) if image is not None and os.path.exists(image) else image


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
            raise InputError(f"--env {name}: there is no such variable here, write NAME=VALUE", "--env")
        variables[name] = value if equals else environ[name]
    return tuple(variables.items())
