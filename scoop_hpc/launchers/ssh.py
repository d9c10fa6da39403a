"""ssh, for grids without a scheduler: one for every host but this one.

Every option has its reason [ssh_config(5)]: ``BatchMode`` because nobody is there to type a password or a yes,
``ConnectTimeout`` because the kernel's is two minutes, ``ControlMaster=no`` because a master stays behind the run (one
that is there is used), ``ClearAllForwardings`` because a forwarding of the user's own ssh would be in the way,
``LogLevel=ERROR`` because banners are no last words, ``-T``, ``-x`` and ``-a`` because agents need no terminal, X or
keys. Whether a host's key is to be believed is left to the user's configuration.

ssh joins its arguments with blanks, and the user's login shell takes them apart: there may be a csh.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence

from scoop_hpc.launchers.base import Command, Forwarding

_OPTIONS = (
    *("-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=20"),
    *("-o", "ControlMaster=no"),
    *("-o", "ClearAllForwardings=yes"),
    *("-o", "LogLevel=ERROR"),
    *("-T", "-x", "-a"),
)


class SshLauncher:
    """Starts each agent by an ssh of its own, and without one where *is_here* says so of the host."""

    name = "ssh"
    one_machine = False
    forwarding = Forwarding.INPUT
    relays = True
    outlived = True

    def __init__(self, is_here: Callable[[str], bool]) -> None:
        self._is_here = is_here

    def commands(self, agent: Sequence[str], nodes: Sequence[str], environ: Mapping[str, str]) -> list[Command]:
        commands = []
        for node in nodes:
            here = (*agent, "--node", node)
            there = ("ssh", *_OPTIONS, node, f"exec {shlex.join(here)}")
            commands.append(Command(here if self._is_here(node) else there, dict(environ), (node,)))
        return commands
