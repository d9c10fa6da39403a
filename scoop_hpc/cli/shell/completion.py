"""`scoop-hpc completion` and `man`: what shells and man(1) are told of the commands, made from the commands."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

from scoop_hpc.cli.shell.manual import page

_VARIABLE = "_SCOOP_HPC_COMPLETE"  # the script calls the command with it, for each word [click, "Shell Completion"]
_NAME = "scoop-hpc"


class _WithFiles(ShellComplete):
    """Completes what no command has anything to propose for, such as its program, by the names of files."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        return super().get_completions(args, incomplete) or [CompletionItem(incomplete, type="file")]


class _Bash(_WithFiles, BashComplete):
    pass


class _Zsh(_WithFiles, ZshComplete):
    pass


class _Fish(_WithFiles, FishComplete):
    pass


_SHELLS: Mapping[str, type[ShellComplete]] = MappingProxyType({"bash": _Bash, "zsh": _Zsh, "fish": _Fish})


def answer(root: click.Command, instruction: str) -> bool:
    """Print what can follow the words that a shell's *instruction* and variables tell; return whether it is known."""
    shell, _, order = instruction.partition("_")
    if shell not in _SHELLS or order != "complete":
        return False
    print(_SHELLS[shell](root, {}, _NAME, _VARIABLE).complete())
    return True


@click.command()
@click.argument("shell", type=click.Choice(tuple(_SHELLS)))
def completion(shell: str) -> None:
    """Print what lets SHELL complete scoop-hpc's commands, options and files.

    \b
    bash, in ~/.bashrc:     eval "$(scoop-hpc completion bash)"
    zsh, in ~/.zshrc:       eval "$(scoop-hpc completion zsh)"
    fish:                   scoop-hpc completion fish > ~/.config/fish/completions/scoop-hpc.fish
    """
    print(_SHELLS[shell](_root(), {}, _NAME, _VARIABLE).source())


@click.command()
def man() -> None:
    """Print the manual page of all commands: scoop-hpc man | man -l -"""
    print(page(_root(), _NAME), end="")


def _root() -> click.Command:
    """Return the group of all commands, which is what called this one."""
    return click.get_current_context().find_root().command
