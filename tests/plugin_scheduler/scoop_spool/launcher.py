"""Spool's launcher: `spool on NODE COMMAND...`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scoop_hpc.launchers.base import Command, Forwarding


class SpoolLauncher:
    """Starts each agent by a `spool on` of its own, which brings its environment along."""

    name = "spool"
    one_machine = False
    forwarding = Forwarding.LAUNCHER
    relays = True
    outlived = False

    def commands(self, agent: Sequence[str], nodes: Sequence[str], environ: Mapping[str, str]) -> list[Command]:
        return [Command(("spool", "on", node, *agent, "--node", node), environ, (node,)) for node in nodes]
