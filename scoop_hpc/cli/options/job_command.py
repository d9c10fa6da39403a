"""Commands whose options may be set in files, in the environment and in the program: submit and render."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from scoop_hpc.cli import follow
from scoop_hpc.cli.options.job import choose, make_spec
from scoop_hpc.cli.options.program import file_of
from scoop_hpc.cli.options.settings import KINDS, InForce, cluster_names, read_settings
from scoop_hpc.cli.shell.names import proposing
from scoop_hpc.errors import InputError, SettingsError
from scoop_hpc.fields.option import parameter_of
from scoop_hpc.settings import foreign

_META = "scoop_hpc.settings"


class JobCommand(click.Command):
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
        options = ctx.params
        file = file_of(options["program"], options.get("is_module", False), options["chdir"] or "")
        found = read_settings(os.environ, file, profile, given)
        for warning in found.warnings:
            follow.say(f"warning: {warning}")
        ctx.meta[_META] = found
        ctx.params.update(found.values)
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        found: InForce = ctx.meta[_META]
        with naming_origins(found):
            return super().invoke(ctx)


def _scheduler_of(words: Sequence[str]) -> str | None:
    """Return the scheduler that *words* of a command line name, or that is found here."""
    for word, following in zip(words, (*words[1:], "")):
        if word == "--scheduler":
            return following
        if word.startswith("--scheduler="):
            return word.partition("=")[2]
    here = choose(None, os.environ).name
    return None if here == "local" else here


def profile_option() -> click.Option:
    """Return the option --profile."""
    return click.Option(
        ["--profile"],
        metavar="CLUSTER",
        shell_complete=proposing(lambda: cluster_names(os.environ)),
        help="Cluster of the settings' files: see scoop-hpc config.",
    )


def check(found: InForce, plain: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Refuse the settings *found* beside *plain* options as submit would, before it asks the scheduler."""
    options = {**plain, **found.values}
    with naming_origins(found):
        make_spec(options, choose(options["scheduler"], environ), environ)


@contextlib.contextmanager
def naming_origins(found: InForce) -> Iterator[None]:
    """Say, in the errors that leave this block, where those of the settings *found* are made that they are about."""
    try:
        yield
    except InputError as error:
        names = set(map(parameter_of, error.options))
        origins = dict.fromkeys(str(each.origin) for name, each in found.settings.items() if name in names)
        if not origins:
            raise
        raise SettingsError(f"{' and '.join(origins)}: {error}", *error.options) from error
