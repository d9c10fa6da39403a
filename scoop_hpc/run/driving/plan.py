"""What a run is planned to be."""

from __future__ import annotations

from msgspec import Struct

from scoop_hpc.protocol.messages import Curve, Pool, Program
from scoop_hpc.run.placement import NodePlan


class RunPlan(Struct, frozen=True):
    """The facts that are the same on all nodes, and those of the launcher and the driver's own process."""

    nodes: tuple[NodePlan, ...]
    program: Program
    curve: Curve | None
    directory: str | None  # for all sockets, if all nodes are this machine
    inherit: tuple[int, ...]  # the standard streams that the origin shares with the driver
    driver_process: str  # what tells it from all others
    driver_pid: int
    python: str  # "3.11"; empty: whatever the agents have, if it is the same for all
    host: str  # that the driver is on
    record: str | None = None  # file
    attempt: str = ""  # what the record is known by as this run's
    complaints: str | None = (
        None  # the file behind the driver's stderr, if it is one: for last words when the driver is dead
    )
    pool: Pool | None = None  # instead of a program to run
    one_machine: bool = False  # the launcher's commands are the agents themselves, and children of the driver
    outlived: bool = False  # an agent may live on when the command that brought it has ended
    warn: bool = True  # of more workers than CPUs
    patience: float = 60.0  # seconds that all nodes have to report
    min_nodes: int | None = None  # with these it begins, and with fewer it ends; None: all, and half of them
    ends_on_loss: bool = False  # of any node
    grace: float = 60.0  # seconds without a connection between two brokers, until one of their nodes is given up
    ends_at: float | None = None  # when the job's walltime is over, by the same clock as all times
    progress: float | None = None  # seconds between two messages of an agent about it; None: nobody watches
    terminals: tuple[int, ...] = ()  # the standard streams of which the origin gets terminals of its own
    accounts: float = 30.0  # seconds between two messages of an agent about what was executed


def dialling_part(curve: Curve | None) -> Curve | None:
    """Return of a run's keys what is needed to connect: an agent gets the rest later, over the encrypted connection."""
    return None if curve is None else Curve(curve.server_public, "", curve.client_public, curve.client_secret)
