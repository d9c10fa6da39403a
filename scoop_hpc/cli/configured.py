"""Commands whose options may be set in files, in the environment and in the program: see `scoop_hpc.settings`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from scoop_hpc.cli import follow
from scoop_hpc.cli.job_options import choose, make_spec
from scoop_hpc.cli.sources import KINDS, InForce, read_settings
from scoop_hpc.errors import InputError, SettingsError
from scoop_hpc.settings import foreign
from scoop_hpc.settings.values import Setting

_META = "scoop_hpc.settings"


class ConfiguredCommand(click.Command):
    """A command with the options of `job_options`: what the command line leaves out is set as `read_settings` says."""

    def __init__(self, *args: Any, **parts: Any) -> None:
        super().__init__(*args, **parts)
        self.params.append(profile_option())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = tuple(args)
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            answer = foreign.ours(*foreign.mistyped(words, error.option_name), _scheduler_of(words))
            if answer is None:
                raise
            raise click.UsageError(answer, ctx) from error
        profile = ctx.params.pop("profile", None)
        if ctx.resilient_parsing:  # the shell completes a word
            return rest
        given = {
            name: ctx.params[name] for name in KINDS if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        }
        found = read_settings(os.environ, ctx.params["program"], profile, given)
        for warning in found.warnings:
            follow.say(f"warning: {warning}")
        ctx.meta[_META] = (found, dict(ctx.params))
        ctx.params.update(found.values)
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        found, plain = ctx.meta[_META]
        try:
            return super().invoke(ctx)
        except InputError as error:
            blamed = blame(str(error), found, plain, os.environ)
            if not blamed:
                raise
            raise SettingsError(f"{blamed}: {error}") from error


def _scheduler_of(words: Sequence[str]) -> str | None:
    """Return the scheduler that *words* of a command line name, the one that is here if they name none."""
    for word, following in zip(words, (*words[1:], "")):
        if word == "--scheduler":
            return following
        if word.startswith("--scheduler="):
            return word.partition("=")[2]
    here = choose(None, os.environ).name
    return None if here == "local" else here


def profile_option() -> click.Option:
    """Return the option --profile."""
    return click.Option(["--profile"], metavar="CLUSTER", help="Cluster of the settings' files: see scoop-hpc config.")


def check(found: InForce, plain: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Refuse the settings *found* beside *plain* options as submit would, before it asks the scheduler."""
    message = _complaint({**plain, **found.values}, environ)
    if message is not None:
        origins = blame(message, found, plain, environ)
        raise SettingsError(f"{origins}: {message}" if origins else message)


def blame(message: str, found: InForce, plain: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """Return the origins of the settings without which all is well, or else *message* is not made.

    What only the scheduler can tell, or the disk, is of the settings that *message* names.
    """
    options = {**plain, **found.values}
    options["scheduler"] = options["scheduler"] or choose(None, environ).name  # ask once which is here
    if _refusal(options, environ) == message:
        without = {name: _refusal({**options, name: plain[name]}, environ) for name in found.settings}
        blamed = [name for name, other in without.items() if other is None]
        blamed = blamed or [name for name, other in without.items() if other != message]
    else:
        blamed = [name for name, setting in found.settings.items() if _names(message, setting)]
    return " and ".join(dict.fromkeys(str(found.settings[name].origin) for name in blamed))


def _names(message: str, setting: Setting) -> bool:
    if setting.name == "template":
        return f"the template {setting.value!r} " in message
    return re.search(rf"(?<![\w-])--{setting.name.replace('_', '-')}(?![\w-])", message) is not None


def _complaint(options: Mapping[str, Any], environ: Mapping[str, str]) -> str | None:
    """Return why there is no job with these *options*, None if there is."""
    try:
        make_spec(options, choose(options["scheduler"], environ), environ)
    except InputError as error:
        return str(error)
    return None


def _refusal(options: Mapping[str, Any], environ: Mapping[str, str]) -> str | None:
    """Return why there is no job with these *options*, or why its scheduler would not have it; None if all is well."""
    try:
        scheduler = choose(options["scheduler"], environ)
        scheduler.check(make_spec(options, scheduler, environ))
    except InputError as error:
        return str(error)
    return None
