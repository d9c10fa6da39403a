"""A command that refuses empty texts for its options: nobody means the default by one, but an unset variable does."""

from __future__ import annotations

import click
from click.core import ParameterSource

from scoop_hpc.errors import InputError


class FilledCommand(click.Command):
    """A command whose options are not empty where they are given; its arguments may be."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        for option in self.params:
            if not isinstance(option, click.Option) or ctx.resilient_parsing or option.name is None:
                continue
            value = ctx.params.get(option.name)
            given = ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
            if given and (value == "" or (isinstance(value, tuple) and "" in value)):
                raise InputError(f"{option.opts[-1]} '' is empty: give a text, or leave it out", option.opts[-1])
        return rest
