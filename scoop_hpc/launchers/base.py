"""The contract of a launcher: commands that together start one agent on each node.

An agent needs an environment: what its interpreter needs to start at all, the driver's addresses, the run's keys. Keys
must not be in argv, which every user of a machine can read, and a launcher may bring neither an environment nor
anything else. Its ``forwarding`` says what a launcher can do; the driver prepares what it hands to ``commands``::

    forwarding agent                                          environ
    LAUNCHER   the plain command                              with keys: the launcher brings Command.environ there
    INPUT      wrapped: reads it from its standard input      the driver's own, without keys, for the launcher itself
    FILE       wrapped: reads it from a file, named in argv   the driver's own, without keys, for the launcher itself

A wrapped command goes to the driver's directory and has all of the driver's environment, wherever and by whichever
launcher it is started: also as a plain child of the driver. It begins with ``/bin/sh``, takes further arguments as the
plain one does (``--node NAME``), and has words with blanks and quotes: use `shlex.join` where another shell will read
it. After it, the process is the agent's: its parent, its exit status and signals are not the wrapper's.

For INPUT, every command gets the text on its standard input, at the end of which it must see an end of file; the others
read nothing. For FILE, the file is in the directory for state (``SCOOP_HPC_STATE``), which all nodes must see; it is
gone when all agents have reported.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct


class Forwarding(enum.Enum):
    """The means by which an agent gets its environment."""

    LAUNCHER = "launcher"
    INPUT = "input"
    FILE = "file"


class Command(Struct, frozen=True):
    """One process to start, with its whole environment, and the nodes whose agents it brings."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    nodes: tuple[str, ...]
    own_session: bool = False  # what is sent to the driver's process group is not for it, even on the driver's machine
    may_end_all: bool = False  # a node that fails may make it end the agents on the others
    failed_launch: str = ""  # regex of a line that it prints before it ends all: groups `node`, and why as `words`
    unanswered: str = ""  # regex of a line that it prints where the scheduler is silent, before it starts any: `words`
    first_death: str = ""  # regex of words, perhaps over two lines, that name the process for whose end it ends all


class FailedLaunch(Struct, frozen=True):
    """The word of a *command* that it could not start the agent on a *node*: it is about to end all others."""

    command: Command
    pid: int
    node: str
    words: str


class Launcher(Protocol):
    """One way to start agents."""

    name: str

    one_machine: bool  # all agents run on this machine: sockets are ipc, standard streams are shared

    forwarding: Forwarding

    relays: bool  # its commands print what the agents print

    outlived: bool  # an agent lives on, and may work on, when the command that brought it has ended

    def commands(self, agent: Sequence[str], nodes: Sequence[str], environ: Mapping[str, str]) -> list[Command]:
        """Return the commands that run ``[*agent, "--node", NAME]`` once on every node in *nodes*.

        Where one command starts many agents, it is ``[*agent, "--node-variable", VARIABLE]`` of their environment, or
        ``[*agent, "--node-of-host"]`` where that has none with the node's name.
        """
