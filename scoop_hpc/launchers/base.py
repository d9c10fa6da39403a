"""The contract of a launcher: commands that together start one agent on each node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Command:
    """One process to start, with its whole environment, and the nodes whose agents it brings."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    nodes: tuple[str, ...]


class Launcher(Protocol):
    """One way to start agents."""

    name: str

    one_machine: bool  # all agents run on this machine: sockets are ipc, standard streams are shared

    def commands(self, agent: Sequence[str], nodes: Sequence[str], environ: Mapping[str, str]) -> list[Command]:
        """Return the commands that run ``[*agent, "--node", NAME]`` or, where the launcher starts many agents with one
        command, ``[*agent, "--node-variable", VARIABLE]`` of their environment, once on every node in *nodes*."""
