"""The manual page and the completion are made from the commands, and have all of them."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from scoop_hpc.cli.main import scoop_hpc
from scoop_hpc.cli.shell.manual import page


def commands(context: click.Context) -> list[click.Context]:
    """Return the contexts of all commands, those in groups as well."""
    group = context.command
    if not isinstance(group, click.Group):
        return [context]
    inner = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    found = [click.Context(each, parent=context, info_name=name) for name, each in inner if each is not None]
    return [context, *(deeper for each in found for deeper in commands(each))]


ALL = commands(click.Context(scoop_hpc, info_name="scoop-hpc"))
PAGE = page(scoop_hpc, "scoop-hpc")
PLAIN = re.sub(r"\\f[BR]", "", PAGE.replace("\\-", "-"))


@pytest.mark.parametrize("context", ALL[1:], ids=lambda context: str(context.command_path))
def test_the_page_has_every_command_with_all_its_options(context: click.Context) -> None:
    start = PLAIN.index(f'.SS "{context.command_path}"\n')
    section = PLAIN[start : PLAIN.find("\n.SS ", start)]
    options = [each for each in context.command.params if isinstance(each, click.Option) and not each.hidden]
    words = {word for each in options for word in (*each.opts, *each.secondary_opts)}
    assert {word for word in words if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", section)} == set()


def test_the_page_that_is_installed_is_that_of_the_commands() -> None:
    installed = (Path(__file__).parents[2] / "docs" / "scoop-hpc.1").read_text()
    assert installed == PAGE, "the commands have changed: scoop-hpc man > docs/scoop-hpc.1"


def test_no_line_of_the_page_is_a_request_that_man_does_not_know() -> None:
    requests = {line.split()[0] for line in PAGE.splitlines() if line.startswith((".", "'"))}
    assert requests <= {".TH", ".SH", ".SS", ".PP", ".TP", ".nf", ".fi"}
    assert "\b" not in PAGE


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_calls_the_command_back(shell: str) -> None:
    done = CliRunner().invoke(scoop_hpc, ["completion", shell])
    assert (done.exit_code, f"_SCOOP_HPC_COMPLETE={shell}_complete" in done.output) == (0, True)


def test_an_unknown_shell_is_refused() -> None:
    done = CliRunner().invoke(scoop_hpc, ["completion", "ksh"])
    assert (done.exit_code, "'ksh'" in done.output) == (2, True)
