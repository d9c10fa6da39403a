"""Grid Engine's ``qrsh -inherit``: a task of the job on each node but the driver's, whose agent is a plain child.

What was seen of it [submit(1), sge_pe(5); Grid Engine 8.1.9]:

* It joins its arguments and lets the user's shell take them apart again, whichever that is: the command is one quoted
  word, of things that all shells read alike.
* ``-v`` shows its values to everybody, as arguments, and ``-V`` does, in a file of the node's execd that all may read;
  a large value comes in pieces. So it brings no environment.
* A task that ends by a signal ends the job. So a shell outlives the agent, and makes an exit status of it: the loss of
  an agent is the driver's to judge.
* A qrsh that ends by a signal takes its task with it by SIGKILL, and then the job. So it is left alone, in a session of
  its own, until its agent is gone.
* With ``job_is_first_task TRUE`` a task on the driver's node would need a slot beyond that of the job script.
* Without ``-nostdin`` it eats the job script's input.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from scoop_hpc.launchers.base import Command, Forwarding

_OUTLIVES = (
    '"$@"; status=$?; '
    '[ "$status" -le 128 ] || echo "its agent was killed by SIG$(kill -l "$status")" >&2; '
    'exit "$status"'
)


class QrshLauncher:
    """Starts each agent by a qrsh of its own, that on *here*, the node that this is, as a child."""

    name = "qrsh"
    one_machine = False
    forwarding = Forwarding.FILE
    relays = True
    outlived = False  # Grid Engine ends a job when a task of it is killed, and a task with its qrsh

    def __init__(self, here: str) -> None:
        self._here = here

    def commands(self, agent: Sequence[str], nodes: Sequence[str], environ: Mapping[str, str]) -> list[Command]:
        return [
            Command((*agent, "--node", node) if node == self._here else _qrsh_argv(agent, node), dict(environ), (node,))
            for node in nodes
        ]


def _qrsh_argv(agent: Sequence[str], node: str) -> tuple[str, ...]:
    outlived = ["/bin/sh", "-c", _OUTLIVES, "scoop-hpc", *agent, "--node", node]
    return ("qrsh", "-inherit", "-nostdin", node, shlex.join(outlived))
