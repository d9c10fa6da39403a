"""All agents on this machine: for a laptop, and for the built-in scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scoop_hpc.launchers.base import Command, Forwarding


class LocalLauncher:
    """Starts the agents as children of the driver."""

    name = "local"
    one_machine = True
    forwarding = Forwarding.LAUNCHER
    relays = True
    outlived = False

    def commands(self, agent: Sequence[str], nodes: Sequence[str], environ: Mapping[str, str]) -> list[Command]:
        return [Command((*agent, "--node", node), dict(environ), (node,)) for node in nodes]
