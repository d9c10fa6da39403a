"""PBS: one pbs_tmrsh, or one pbsdsh, for each node [pbs_tmrsh(8B), pbsdsh(1B)].

Both ask the local MoM, which asks those of the other nodes; what a task prints goes to PBS's output of the job, not
through them. One command per node, because nothing says "once per host" (pbsdsh runs a program on every line of the
node file), and because only few tasks of one pbsdsh get a signal that it passes on. pbs_tmrsh ends with the exit status
of its task, and is preferred; pbsdsh ends with 0 whatever its task did.

A task has no environment but the job's own, ``PATH=/bin:/usr/bin``, and stands in the home directory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scoop_hpc.launchers.base import Command, Forwarding


class PbsTmrshLauncher:
    """Starts each agent by a pbs_tmrsh, which knows the nodes by the names in the node file."""

    name = "pbs_tmrsh"
    one_machine = False
    forwarding = Forwarding.FILE
    relays = False
    outlived = True  # pbs_tmrsh ends when pbs_mom is restarted, its task does not

    def commands(self, agent: Sequence[str], nodes: Sequence[str], environ: Mapping[str, str]) -> list[Command]:
        return [Command(("pbs_tmrsh", node, *agent, "--node", node), environ, (node,)) for node in nodes]


class PbsdshLauncher:
    """Starts each agent by a pbsdsh, which knows the nodes by the lines in the node file: *lines*.

    The ``--`` keeps pbsdsh from taking the agent's options. A number beyond the last line would begin again at the
    first.
    """

    name = "pbsdsh"
    one_machine = False
    forwarding = Forwarding.FILE
    relays = False
    outlived = True

    def __init__(self, lines: Sequence[str]) -> None:
        self._index = {line: index for index, line in reversed(list(enumerate(lines)))}

    def commands(self, agent: Sequence[str], nodes: Sequence[str], environ: Mapping[str, str]) -> list[Command]:
        return [
            Command(("pbsdsh", "-n", str(self._index[node]), "--", *agent, "--node", node), environ, (node,))
            for node in nodes
        ]
