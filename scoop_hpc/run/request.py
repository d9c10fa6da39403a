"""The request for a run, as the command line hands it to the driver."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from msgspec import Struct

from scoop_hpc.launchers.base import Launcher
from scoop_hpc.launchers.container import Container
from scoop_hpc.protocol.messages import Pool, Program
from scoop_hpc.run.forked_agent import AgentMain
from scoop_hpc.run.placement import NodePlan


class RunRequest(Struct, frozen=True):
    """A run: its nodes, its program or pool, and how its agents are started."""

    nodes: tuple[NodePlan, ...]
    program: Program
    launcher: Launcher
    own_addresses: Callable[[], Sequence[str]]  # where agents on other nodes may reach the driver
    state: str = ""  # directory that all nodes see
    record: str = ""  # file
    look: str = ""  # file, for who looks at the run: see `jobs.look`; empty: nobody can
    job_id: str | None = None
    interface: str = ""  # the network interface to be reached by, on every node
    label: bool = False
    worker_logs: str = ""  # directory for a file of what each worker prints; empty: it goes with the program's output
    accounts: float = 30.0  # seconds between two messages of an agent about what was executed
    warn: bool = True  # of more workers than CPUs
    patience: float = 60.0  # seconds that all nodes have to report
    min_nodes: int | None = None  # with these it begins, and with fewer it ends; None: all, and half of them
    ends_on_loss: bool = False  # of any node
    grace: float = 60.0  # seconds without a connection between two brokers, until one of their nodes is given up
    ends_at: float | None = None  # when the job's walltime is over, in seconds since the epoch
    pool: Pool | None = None  # instead of a program to run
    called: str = ""  # by looks and reports; empty: the path of the program
    container: Container | None = None  # that the agents, and so the workers, run in
    options_variable: str = ""  # of the environment, that holds the options which processes on all nodes keep
    agent_main: AgentMain | None = None  # to be called in forked processes: agents on this machine, by no launcher

    @property
    def title(self) -> str:
        """The name of the run for looks and reports."""
        return self.called or os.fsdecode(self.program.path)
