"""A run on two nodes that are both here, by a launcher that brings neither environment nor directory."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from msgspec import structs

from scoop_hpc.cli.start import SIGNALS, run_request
from scoop_hpc.launchers.base import Command, Forwarding
from scoop_hpc.run.driver import Driver
from scoop_hpc.run.placement import NodePlan
from scoop_hpc.run.policy import DriverPolicy
from scoop_hpc.run.signal_fd import SignalFd


class BareLauncher:
    """Starts agents as pbs_tmrsh does, and each only when it is told to by the file `go`; `begun` lists the nodes."""

    name = "bare"
    one_machine = False
    relays = True
    outlived = False

    def __init__(self, forwarding: str) -> None:
        self.forwarding = Forwarding(forwarding)

    def commands(self, agent: Sequence[str], nodes: Sequence[str], environ: Mapping[str, str]) -> list[Command]:
        wait = "until [ -e go ] || [ -e go-$0 ]; do sleep 0.02; done; "
        begin = 'echo "$0" >>begun; ' + wait + 'cd /; exec "$@"'
        return [Command(("/bin/sh", "-c", begin, node, *agent, "--node", node), {}, (node,)) for node in nodes]


def main() -> None:
    """Run the program in argv; before it are the forwarding, the patience and how many agents are started at once."""
    policy = DriverPolicy(agents_at_once=int(sys.argv[3]))
    request = run_request(os.fsencode(sys.argv[4]), [], None, patience=float(sys.argv[2]))
    nodes = (NodePlan("n1", 1), NodePlan("n2", 2))
    launcher = BareLauncher(sys.argv[1])
    request = structs.replace(request, nodes=nodes, launcher=launcher, agent_main=None)
    ending = Driver(request, SignalFd(SIGNALS), policy=policy).run()
    print(ending.reason, file=sys.stderr)
    sys.exit(ending.status)


if __name__ == "__main__":
    main()
