"""What shells propose where a command takes a name that is known here."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from scoop_hpc.errors import ScoopError

Propose = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def proposing(names: Callable[[], Iterable[str]]) -> Propose:
    """Return what proposes *names* that begin with what is there; what is wrong is for the command itself to say."""

    def propose(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            return [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        except ScoopError:
            return []

    return propose


def network_interfaces() -> list[str]:
    """Return the names of this machine's network interfaces, none where they cannot be had."""
    try:
        return [name for _, name in socket.if_nameindex()]
    except OSError:
        return []
