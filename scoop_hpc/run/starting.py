"""The launcher's commands for a run, or for nodes that join one, and what brings the agents their environment.

Keys, and the name of a directory to be made, travel in the commands' environment, or in the text or file that takes its
place: see `launchers.base`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from scoop_hpc.launchers import container
from scoop_hpc.launchers.base import Command, Forwarding
from scoop_hpc.protocol.messages import Curve
from scoop_hpc.run import environment
from scoop_hpc.run.request import RunRequest


class Starting(Struct, frozen=True):
    """The commands, and what they need beside."""

    commands: Sequence[Command]
    commands_for: Callable[[Sequence[str]], Sequence[Command]]  # some of the nodes, by name
    text: bytes = b""  # for the standard input of each
    file: str = ""  # that agents read, to be removed


def prepare(
    request: RunRequest,
    addresses: Sequence[str],
    curve: Curve | None,
    environ: Mapping[str, str],
    output: str,
    now: float,
    party: int = 0,
) -> Starting:
    """Return what starts the agents of *request*, which find the driver at *addresses*, and belong to a *party*.

    What agents print is appended to the file *output*, if the launcher shows it to nobody. Raises InputError.
    """
    launcher = request.launcher
    ours = environment.agent_variables(addresses, curve)
    environ = dict(environ)
    parent = os.getpid() if launcher.one_machine else None
    python = container.PYTHON if request.container else ""
    directory = os.fsdecode(request.program.directory)
    options = environment.agent_options(request.patience, request.grace, request.interface, parent, party)
    agent = options if request.agent_main else [*environment.agent_argv(python), *options]
    if request.container is not None:
        agent = container.inside(request.container, agent, directory, elsewhere=not launcher.one_machine)
    text, file = b"", ""
    if launcher.forwarding is Forwarding.LAUNCHER:
        environ.update(ours)
    else:
        text = environment.shell_text({**environ, **ours}, directory)
    if launcher.forwarding is Forwarding.INPUT:
        agent = environment.reading_input(agent)
    elif launcher.forwarding is Forwarding.FILE:
        file, text = environment.write(request.state, text, now, request.patience), b""
        agent = environment.reading_file(file, "" if launcher.relays else output, agent)
    names = [node.name for node in request.nodes]

    def commands_for(names: Sequence[str]) -> Sequence[Command]:
        return launcher.commands(agent, names, environ)

    return Starting(commands_for(names), commands_for, text, file)
