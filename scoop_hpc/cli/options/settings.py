"""Read the settings of files, the environment and the program, and make them values of options."""

from __future__ import annotations

import io
import os
import socket
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import click

from scoop_hpc.cli.options.job import choose, job_options
from scoop_hpc.cli.options.program import MOST_OF_A_PROGRAM
from scoop_hpc.cli.templates import user_directory
from scoop_hpc.errors import SettingsError
from scoop_hpc.files.reading import TRUST, read_file
from scoop_hpc.schedulers.registry import SCHEDULERS
from scoop_hpc.settings import foreign
from scoop_hpc.settings.clusters import Picked, pick, tables
from scoop_hpc.settings.program_lines import ProgramLine, read_program_lines
from scoop_hpc.settings.site_file import SiteFile, read_site_file
from scoop_hpc.settings.values import (
    COMMAND_LINE_ONLY,
    Kind,
    Origin,
    Setting,
    Value,
    Waiting,
    advice,
    resolve,
    waiting,
)
from scoop_hpc.settings.variables import PROFILE, read_variables

_HERE = "scoop_hpc.toml"
_OF_PATHS = ("DIR", "ENV", "FILE", "IMAGE")  # what options say they take
_OF_THE_SITE = "/etc/scoop_hpc/config.toml"


@click.command(add_help_option=False)
@job_options
def _submit_options(**options: Any) -> None:
    """Do nothing: this command has the options of submit, to parse words by."""


_submit_options.params = [option for option in _submit_options.params if isinstance(option, click.Option)]
_OPTIONS: Mapping[str, click.Option] = MappingProxyType(
    {str(option.name): option for option in _submit_options.params if isinstance(option, click.Option)}
)


def _kind(option: click.Option) -> Kind:
    return Kind.FLAG if option.is_flag else Kind.LIST if option.multiple else Kind.TEXT


KINDS: Mapping[str, Kind] = MappingProxyType({name: _kind(option) for name, option in _OPTIONS.items()})


@dataclass(frozen=True, slots=True)
class InForce:
    """The settings in force below the command line, by name, and the *values* of their options."""

    settings: Mapping[str, Setting]
    values: Mapping[str, Any]
    waiting: tuple[Waiting, ...]
    picked: Picked
    warnings: tuple[str, ...]


def files(environ: Mapping[str, str]) -> list[str]:
    """Return the paths of the settings' files, the strongest first."""
    return [_HERE, os.path.join(user_directory(environ), "config.toml"), _OF_THE_SITE]


def read_settings(
    environ: Mapping[str, str], program: str | None, profile: str | None, given: Mapping[str, Any]
) -> InForce:
    """Read all sources of settings, for *program*, below what is *given* on the command line."""
    site_files = _site_files(environ)
    of_variables, warnings = read_variables(environ, KINDS)
    lines, more = read_program_lines(_program(program), program or "")
    of_program = _options_of(lines)
    asked = [setting.value for setting in (*of_variables, *of_program) if setting.name == "scheduler"]
    scheduler = given.get("scheduler", asked[0] if asked else None)
    picked = pick(
        site_files, _profile(profile, environ), socket.gethostname(), scheduler, lambda: choose(None, environ).name
    )
    sources = [of_variables, of_program, *tables(site_files, picked.cluster)]
    settings, idle = resolve(given, sources), waiting(given, sources)
    # a file is for many programs: what this one says, it means
    more += [f"{each}, so it sets nothing" for each in idle if each.setting in of_program]
    values = {name: _convert(setting) for name, setting in settings.items()}
    if picked.cluster is None:
        more += _of_no_scheduler(site_files)
    return InForce(settings, values, tuple(idle), picked, (*warnings, *more))


def _of_no_scheduler(site_files: Sequence[SiteFile]) -> list[str]:
    """Return a warning of each cluster that nothing can pick by its scheduler, for there is none of that name."""
    return [
        f"{setting.origin}: there is no scheduler {setting.value!r}, so the cluster {name!r} is not found by it: "
        f"{advice(str(setting.value), SCHEDULERS)}"
        for file in site_files
        for name, own in file.clusters.items()
        for setting in own
        if setting.name == "scheduler" and setting.value not in SCHEDULERS
    ]


def cluster_names(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the clusters in all files; raise SettingsError, InputError."""
    return sorted({name for file in _site_files(environ) for name in file.clusters})


def _site_files(environ: Mapping[str, str]) -> list[SiteFile]:
    texts = {path: _read_settings(path, environ) for path in files(environ)}
    return [read_site_file(text, path, KINDS) for path, text in texts.items() if text is not None]


def _read_settings(path: str, environ: Mapping[str, str]) -> str | None:
    """Return the text of a file of settings, None if there is none; refuse what others may have written."""
    content = read_file(path, "the settings", environ.get(TRUST, ""), own=1 if path == _HERE else 2)
    if content is None and os.path.islink(path):
        raise SettingsError(f"cannot read the settings {path!r}: the file that this link leads to is not there")
    try:
        return None if content is None else content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        origin = Origin(path, error.object.count(b"\n", 0, error.start) + 1)
        byte = error.object[error.start : error.start + 1]
        raise SettingsError(f"{origin}: {byte!r} is not UTF-8: save the file as UTF-8") from error


def _program(path: str | None) -> str:
    """Return the text of the program, by the encoding that it declares; a wrong one is left to its run."""
    content = None if path is None else read_file(path, "the program", most=MOST_OF_A_PROGRAM)
    if content is None:
        return ""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return content.decode(encoding, "surrogateescape")
    except (SyntaxError, LookupError, UnicodeError):
        return content.decode("utf-8-sig", "surrogateescape")


def _profile(profile: str | None, environ: Mapping[str, str]) -> Setting | None:
    name = environ.get(PROFILE, "") if profile is None else profile
    if profile is None and not name:
        return None
    return Setting("profile", name, Origin(f"${PROFILE}" if profile is None else "--profile"))


def _options_of(lines: list[ProgramLine]) -> tuple[Setting, ...]:
    """Return the settings that a program's *lines* make together, as one command line would."""
    found: dict[str, Setting] = {}
    for line in lines:
        for name, value in _parse(line).items():
            before = found[name].value if name in found and KINDS[name] is Kind.LIST else ()
            whole: Value = (*before, *value) if isinstance(value, tuple) and isinstance(before, tuple) else value
            found[name] = Setting(name, whole, line.origin)
    return tuple(found.values())


def _parse(line: ProgramLine) -> dict[str, Value]:
    """Return the values of the options in *line*, by name."""
    try:
        values, rest, _ = _submit_options.make_parser(click.Context(_submit_options)).parse_args(list(line.words))
    except click.NoSuchOption as error:
        name = error.option_name
        if name.lstrip("-").replace("-", "_") in COMMAND_LINE_ONLY:
            raise SettingsError(f"{line.origin}: {name} is for the command line only") from error
        answer = foreign.ours(*foreign.mistyped(line.words, name))
        if answer is not None:
            raise SettingsError(f"{line.origin}: {answer}") from error
        known = [word for option in _OPTIONS.values() for word in (*option.opts, *option.secondary_opts)]
        raise SettingsError(f"{line.origin}: there is no option {name!r}: {advice(name, known)}") from error
    except click.UsageError as error:
        raise SettingsError(f"{line.origin}: {error.format_message()}") from error
    if rest:
        raise SettingsError(f"{line.origin}: {rest[0]!r} is no option: a line takes options of submit, nothing else")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _convert(setting: Setting) -> Any:
    """Return the value of *setting* as its option's."""
    option, value = _OPTIONS[setting.name], setting.value
    if isinstance(value, str) and option.metavar in _OF_PATHS:
        value = os.path.expanduser(value)  # on a command line, the shell does it
    try:
        return option.type_cast_value(click.Context(_submit_options), value)
    except click.BadParameter as error:
        raise SettingsError(f"{setting.origin}: {setting.name} {error.message}") from error


def plain_options(program: str) -> dict[str, Any]:
    """Return the options of a command line that names *program* and nothing else."""
    return {**_submit_options.make_context("scoop-hpc", []).params, "program": program, "arguments": ()}
