"""`scoop-hpc template`: the templates of job scripts, ours and those of users and sites."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from scoop_hpc.cli.shell.names import proposing
from scoop_hpc.errors import InputError
from scoop_hpc.files.reading import TRUST
from scoop_hpc.jobs.script import BLOCKS, OURS, SUFFIX, list_templates, read_template
from scoop_hpc.schedulers.registry import SCHEDULERS

_OF_THE_SITE = "/etc/scoop_hpc/templates"

_NEW = """\
{{% extends "scoop_hpc/{name}.sh.j2" %}}
{{# Say anew the blocks that shall differ, and drop the others; {{{{ super() }}}} is what a block was. #}}
"""
_BLOCK = """\
{{% block {block} %}}
{{{{ super() }}}}
{{% endblock %}}
"""


def template_directories(environ: Mapping[str, str]) -> list[str]:
    """Return the directories whose templates go before ours: the user's, then the site's."""
    directories = [os.path.join(user_directory(environ), "templates"), _OF_THE_SITE]
    for directory in directories:
        if os.path.exists(directory) and not os.access(directory, os.R_OK | os.X_OK):
            raise InputError(f"cannot read the templates in {directory!r}: they would be passed over without a word")
    return directories


def user_directory(environ: Mapping[str, str]) -> str:
    """Return the directory of what the user has set up for all jobs."""
    base = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):  # relative paths in it are to be ignored [XDG Base Directory Specification]
        base = os.path.expanduser("~/.config")
    return os.path.join(base, "scoop_hpc")


@click.group(no_args_is_help=False)
def template() -> None:
    """See the templates of job scripts, or begin one of your own."""


@template.command(name="list")
def list_() -> None:
    """Print every template with its file: the one that counts, where several have a name."""
    directories = template_directories(os.environ)
    for name in list_templates(directories, SCHEDULERS.values()):
        if not name.startswith(OURS):
            print(name, read_template(name, directories, os.environ.get(TRUST, ""), SCHEDULERS.values())[0])


def _short_names() -> list[str]:
    """Return what `show` takes for each template, at its shortest."""
    names = list_templates(template_directories(os.environ), SCHEDULERS.values())
    return [name.removesuffix(SUFFIX) for name in names]


@template.command()
@click.argument("name", shell_complete=proposing(_short_names))
def show(name: str) -> None:
    """Print the template NAME: slurm, slurm.sh.j2, or scoop_hpc/slurm.sh.j2 for ours, whatever others there are."""
    file = name if name.endswith(".j2") else name + SUFFIX
    directories, trust = template_directories(os.environ), os.environ.get(TRUST, "")
    print(read_template(file, directories, trust, SCHEDULERS.values())[1], end="")


@template.command()
@click.option("--scheduler", required=True, type=click.Choice(sorted(SCHEDULERS)), help="Whose template to extend.")
@click.argument("file")
def new(scheduler: str, file: str) -> None:
    """Write a template to FILE that extends ours, for you to change: `submit --template FILE` takes it.

    A template that is called as ours, such as slurm.sh.j2, and lies in ~/.config/scoop_hpc/templates is taken always.
    """
    text = _NEW.format(name=scheduler) + "".join(_BLOCK.format(block=block) for block in BLOCKS if block != "run")
    try:
        with open(file, "x", encoding="utf-8") as new_file:
            new_file.write(text)
    except FileExistsError as error:
        raise InputError(f"there is a file {file!r} already: name another") from error
    except OSError as error:
        raise InputError(f"cannot write {file!r}: {error.strerror}") from error
