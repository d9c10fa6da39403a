"""Commands whose options may be set in files, in the environment and in the program: see `scoop_hpc.settings`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Optional

import click
from click.core import ParameterSource

from scoop_hpc.cli import follow
from scoop_hpc.cli.asking import choose, make_spec
from scoop_hpc.cli.sources import KINDS, InForce, read_settings
from scoop_hpc.errors import InputError, SettingsError

_META = "scoop_hpc.settings"


class ConfiguredCommand(click.Command):
    """A command with the options of `asking`: what the command line leaves out is set as `read_settings` says."""

    def __init__(self, *args: Any, **parts: Any) -> None:
        super().__init__(*args, **parts)
        self.params.append(profile_option())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
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
    """Return the origins of the settings without which *message* is not made, or else of those that it names."""
    options = {**plain, **found.values}
    options["scheduler"] = options["scheduler"] or choose(None, environ).name  # ask once which is here
    if _complaint(options, environ) != message:  # it is of a scheduler's words: they name options
        blamed = [name for name in found.settings if re.search(rf"(?<![\w-]){_option(name)}(?![\w-])", message)]
    else:
        blamed = [name for name in found.settings if _complaint({**options, name: plain[name]}, environ) != message]
    return " and ".join(dict.fromkeys(str(found.settings[name].origin) for name in blamed))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _complaint(options: Mapping[str, Any], environ: Mapping[str, str]) -> Optional[str]:
    """Return why there is no job with these *options*, None if there is."""
    try:
        make_spec(options, choose(options["scheduler"], environ), environ)
    except InputError as error:
        return str(error)
    return None
