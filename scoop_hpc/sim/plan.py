"""All that a simulated run depends on, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scoop_hpc.broker.state import BrokerState
from scoop_hpc.protocol.names import WorkerName
from scoop_hpc.run.driving.life import Ending
from scoop_hpc.sim.faults import Fault
from scoop_hpc.sim.network import NetworkPlan
from scoop_hpc.sim.program import Program
from scoop_hpc.worker.state import WorkerState


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that a run depends on."""

    seed: int  # of the chances of the network
    nodes: tuple[int, ...]  # workers on each
    program: Program
    network: NetworkPlan = NetworkPlan()
    faults: tuple[Fault, ...] = ()
    stack_depth: int = 10  # tasks that may wait on one stack, one for the other
    large: int = 0  # every so manieth call has a large outcome, which is left in memory that a node shares; 0: none
    greed: int = 0  # tasks that brokers steal beyond those that they need: so they wander from node to node
    start_seconds: float = 0.02  # in which a process that was forked begins, at the latest
    all_direct: int = 8  # brokers, up to which all tell all others of their load; beyond, they do so along a tree
    branches: int = 16  # of that
    all_connected: int | None = None  # nodes, up to which each has a connection to the driver; None: all have
    grace: float = 3.0  # seconds without a connection between two brokers, until one of their nodes is given up


@dataclass(frozen=True, slots=True)
class Classes:
    """The state machines that take part: those of production, or others that a test puts in their place."""

    broker: Callable[..., BrokerState] = BrokerState
    worker: Callable[..., WorkerState] = WorkerState


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run."""

    ending: Ending
    seconds: float  # from the beginning of the program to its end
    events: int
    messages: int
    task_messages: int  # while the program ran
    executed: int  # tasks
    computed: Mapping[WorkerName, float]  # seconds, by each worker
    digest: int  # of all events: two runs with the same are the same
    deaths: int  # of workers
    losses: int  # of nodes
    joined: int = 0  # nodes of other allocations
    left: int = 0  # nodes, with nothing lost
