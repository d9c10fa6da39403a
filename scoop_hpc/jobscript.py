"""Render a job script: a JobSpec, a scheduler's template, and the command that the script becomes.

A template sees ``job`` (the JobSpec), ``output`` (the output file, in the scheduler's words) and ``command``. Its
filters are ``directive`` (one word of a directive), ``quote`` (one word of the shell), ``walltime`` and ``memory``.
A template of one's own goes into a directory of one's own, and extends ours by
``{% extends "scoop_hpc/slurm.sh.j2" %}``.
"""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Sequence
from dataclasses import fields
from typing import Optional

import jinja2

from scoop_hpc.errors import InputError, TemplateError
from scoop_hpc.jobspec import JobSpec, check_line, format_memory, format_walltime
from scoop_hpc.schedulers.base import Scheduler

_SUFFIX = ".sh.j2"


def render(spec: JobSpec, scheduler: Scheduler, command: Sequence[str], directory: Optional[str] = None) -> str:
    """Return the job script that asks *scheduler* for what *spec* says, and becomes *command* by its last line.

    Templates in *directory* go before ours. Raise JobSpecError for what the scheduler cannot express, TemplateError for
    a template that does not render.
    """
    scheduler.check(spec)
    environment = _environment(scheduler, directory)
    name = scheduler.name + _SUFFIX
    names = {"job": spec, "output": scheduler.output_pattern(spec), "command": tuple(command)}
    try:
        return environment.get_template(name).render(names)
    except InputError:
        raise
    except (
        jinja2.TemplateError,
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        TypeError,
        ValueError,
    ) as error:
        known = ["command", "output", *(f"job.{field.name}" for field in fields(JobSpec))]
        raise TemplateError(
            f"the template {_place(error, name)} does not render: {_words(error)}; the names that exist are "
            f"{', '.join(known)}, the filters {', '.join(_FILTERS)}"
        ) from error


_FILTERS = ("directive", "quote", "walltime", "memory")


def _environment(scheduler: Scheduler, directory: Optional[str]) -> jinja2.Environment:
    ours = jinja2.PackageLoader("scoop_hpc", "templates")
    loaders: list[jinja2.BaseLoader] = [ours, jinja2.PrefixLoader({"scoop_hpc": ours})]
    if directory is not None:
        loaders.insert(0, jinja2.FileSystemLoader(directory))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # a shell script is no HTML: the filters quote
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        directive=lambda value: scheduler.directive_word(_checked(value)),
        quote=quote,
        walltime=format_walltime,
        memory=format_memory,
    )
    return environment


def quote(value: object) -> str:
    r"""Return *value* as one word of bash, on one line whatever is in it, bytes that are no text included.

    >>> print(quote("it's $HOME"), quote("a\nb"))
    'it'"'"'s $HOME' $'a\nb'
    """
    text = str(value)
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_escape, text)) + "'"


def _escape(character: str) -> str:
    """Return one character within bash's ``$'...'`` [bash(1), QUOTING]."""
    if character in "\\'":
        return "\\" + character
    if character.isprintable():
        return character
    if character == "\n":
        return "\\n"
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))


def _checked(value: object) -> str:
    text = str(value)
    check_line("directive's word", text)
    return text


def _place(error: BaseException, name: str) -> str:
    """Return which template, and where in it, an error comes from: jinja2 puts templates into tracebacks."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"{error.filename or error.name or name!r}, line {error.lineno},"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(".j2")]
    return f"{frames[-1].filename!r}, line {frames[-1].lineno}," if frames else repr(name)


def _words(error: BaseException) -> str:
    if isinstance(error, jinja2.TemplateNotFound):
        return f"there is no template {error.name!r}"
    return str(error) or type(error).__name__
