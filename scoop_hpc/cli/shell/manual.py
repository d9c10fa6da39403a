"""The manual page of all commands, made from the commands: what --help prints, in the words of man(7).

click-man would make one page of each command, but knows only groups that have imported all of theirs, escapes neither
a backslash nor a dot that begins a line, and needs Python 3.11.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from scoop_hpc import __version__

_VERBATIM = "\b"  # click: the paragraph after a line of it is not to be filled
_HELP = ["-h", "--help"]


def page(root: click.Command, name: str) -> str:
    """Return the page of the command *root*, called *name*, and of all commands in it."""
    context = click.Context(root, info_name=name, help_option_names=_HELP)
    summary = _summary(root)
    lines = [
        f'.TH {name.upper()} 1 "" "{name} {__version__}" "User Commands"',
        ".SH NAME",
        rf"{escaped(name)} \- {escaped(summary)}",
        ".SH SYNOPSIS",
        *_usage(context),
        ".SH DESCRIPTION",
        *_described(root),
        *_options(context),
        ".SH COMMANDS",
    ]
    for each in _commands(context):
        lines += [f'.SS "{escaped(each.command_path)}"', *_usage(each), *_described(each.command), *_options(each)]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    r"""Return *text* for a line of a page, where nothing in it is a request or an escape [groff_man_style(7)].

    >>> print(escaped("--nodes"), escaped(".x"), escaped("a\\b"))
    \-\-nodes \&.x a\eb
    """
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text


def _commands(context: click.Context) -> Iterator[click.Context]:
    """Yield the context of each command that is not hidden, those of groups after their group."""
    group = context.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            inner = click.Context(command, parent=context, info_name=name)
            yield inner
            yield from _commands(inner)


def _summary(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").partition("\n\n")[0].replace("\n", " ").rstrip(".")


def _usage(context: click.Context) -> list[str]:
    pieces = " ".join(context.command.collect_usage_pieces(context))
    return [rf"\fB{escaped(context.command_path)}\fR {escaped(pieces)}", ".PP"]


def _described(command: click.Command) -> Iterator[str]:
    """Yield the lines of a command's help: paragraphs are filled, but those that are verbatim."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        lines = paragraph.split("\n")
        if lines[0].strip() == _VERBATIM:
            yield from (".PP", ".nf", *map(escaped, lines[1:]), ".fi")
        else:
            yield from (".PP", *map(escaped, map(str.strip, lines)))


def _options(context: click.Context) -> Iterator[str]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:
            names, text = record
            yield from (".TP", rf"\fB{escaped(names)}\fR", escaped(" ".join(text.split())))
