"""The nodes of a simulated run, and what runs on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from scoop_hpc.broker.actions import Send
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.protocol.messages import Batch, Message
from scoop_hpc.protocol.names import (
    ORIGIN,
    AgentName,
    BrokerName,
    ProcessName,
    WorkerName,
    agent_name,
    broker_of,
    node_of,
)
from scoop_hpc.run.agent_state import AgentState
from scoop_hpc.sim.agenda import Process
from scoop_hpc.sim.faults import Death, NodeLoss
from scoop_hpc.sim.worker.process import Worker


class Broker(Process):
    """A broker: it takes in one message after the other."""

    def __init__(self, state: BrokerState) -> None:
        super().__init__(state.name)
        self.state = state
        self.free_at = 0.0
        self.agent_is_here = False
        self.for_agent: list[Message] = []
        self.known: set[BrokerName] = set()  # peers, as its agent has told it; it answers no others
        self.early: dict[BrokerName, list[Send]] = {}  # for peers that have not answered yet
        self.links: dict[BrokerName, float] = {}  # to peers, and when each is open
        self.is_member = False  # it was told of its peers
        self.first: Batch | None = None  # in its queues
        self.first_since = 0.0
        self.has_drained = False  # it leaves, has nothing to do, and has said so
        self.unheard: Counter[str] = Counter()  # messages that have come, by sender, until they are taken in
        self.gone: dict[
            ProcessName, float
        ] = {}  # workers that are dead, and brokers of lost nodes, and since when it knows


@dataclass(slots=True, eq=False)
class Node:
    """What runs on a *host* from one report of its agent to the driver to the next: a node of the run."""

    host: int  # as the scenario counts them
    report: int  # as the host's reports are counted
    process: Process  # the agent
    index: int | None = None  # in the run, once it is welcome
    agent: AgentState | None = None
    wake_at: float = float("inf")
    broker: Broker | None = None
    workers: dict[WorkerName, Worker] = field(default_factory=dict)
    pids: dict[ProcessName, int] = field(default_factory=dict)
    born_to_die: list[Death] = field(default_factory=list)  # for workers that are started in the place of others
    lost_at: float | None = None  # it died, or the driver gave it up
    known_until: float = 0.0  # when all brokers must know that
    is_cut_off: bool = False  # the driver has no connection to its agent
    party: int = 0  # of the allocation that has brought it
    is_leaving: bool = False  # its agent has nothing more to do, but to relay for others
    doom: NodeLoss | None = None  # that comes when its broker is at some point

    @property
    def agent_name(self) -> AgentName:
        return agent_name(f"n{self.host}", str(self.report), 0)

    @property
    def is_member(self) -> bool:
        """Whether it takes part in the run: its broker was told of its peers, and is not lost."""
        broker = self.broker
        return self.lost_at is None and broker is not None and not broker.is_gone and broker.is_member


class Nodes(list[Node]):
    """The nodes of a run as they have reported, lost or not, with those of the first hosts, which have so many workers.

    A host is a machine; one whose node was lost may report as another node.
    """

    def __init__(self, workers: Sequence[int]) -> None:
        super().__init__(Node(host, 0, Process(f"agent {host}")) for host in range(len(workers)))
        self.workers_on = dict(enumerate(workers))  # by host
        self.slowness = dict.fromkeys(range(len(workers)), 1.0)  # by host
        self.by_agent = {node.agent_name: node for node in self}
        self.by_index: dict[int, Node] = {}  # as the driver counts them

    def add_host(self, workers: int) -> Node:
        """Return a node on a new host of so many *workers*."""
        host = len(self.workers_on)
        self.workers_on[host] = workers
        self.slowness[host] = 1.0
        return self._add(Node(host, 0, Process(f"agent {host}")))

    def add_again(self, old: Node) -> Node:
        """Return another node on the host of an *old* one."""
        last = max(node.report for node in self if node.host == old.host)
        node = self._add(Node(old.host, last + 1, Process(f"agent {old.host}.{last + 1}")))
        node.party = old.party
        return node

    def _add(self, node: Node) -> Node:
        self.append(node)
        self.by_agent[node.agent_name] = node
        return node

    def on(self, host: int) -> Node | None:
        """Return the node that is on a *host*, or about to join the run, if there is one that is not lost."""
        return next((node for node in self if node.host == host and node.lost_at is None), None)

    def of(self, name: str) -> Node:
        """Return the node of a worker or broker."""
        return self.by_index[node_of(broker_of(name))]

    def process(self, name: str) -> Process | None:
        """Return an agent, a broker or a worker by its *name*, None if there is none."""
        for node in self:
            if name == node.process.name:
                return node.process
            if node.broker is not None and name == node.broker.name:
                return node.broker
            if WorkerName(ProcessName(name)) in node.workers:
                return node.workers[WorkerName(ProcessName(name))]
        return None

    def living(self) -> list[Worker]:
        """Return the workers, but the origin, that have not died."""
        workers = [worker for node in self if node.is_member for worker in node.workers.values()]
        return [worker for worker in workers if not worker.is_gone and worker.name != ORIGIN]
