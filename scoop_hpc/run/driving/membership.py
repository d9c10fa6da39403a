"""The nodes of a run: those that it was planned with, those that came back, and those that are lost.

::

    planned --Hello--> reported --BrokerUp--> up --> lost --Hello--> the same name, as another node: reported --> ...

A node that comes back is a new one, with the next index: so no name of a broker or worker is ever used again. Nodes of
other allocations than the run's own belong to a party, a number from 1 on: two allocations may share a node.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from msgspec import Struct

from scoop_hpc.hostlist import first_label
from scoop_hpc.protocol.messages import BrokerUp
from scoop_hpc.protocol.names import AgentName, NodeIndex, agent_identity
from scoop_hpc.run.placement import NodePlan


class Detached(Struct, frozen=True):
    """The end of a launcher's command whose agent was connected."""

    words: str  # how it ended
    cause: str  # the same as the reason of the run's end
    since: float


class Node(Struct):
    """The driver's knowledge of a node."""

    index: NodeIndex
    name: str
    workers: int | None  # None: their number is not known yet
    agent: AgentName | None = None  # once it has reported
    pid: int | None = None  # the agent's
    welcomed: bool = False
    broker: BrokerUp | None = None
    dead_workers: int = 0  # that none has replaced
    disconnected_at: float | None = None  # the agent
    detached: Detached | None = None
    has_departed: bool = False  # nothing more is expected of its agent
    cause: str = ""  # of its loss, or why it has left
    party: int = 0  # of the allocation that brought it; 0: the run's own
    has_joiner: bool = False  # of its party, which is where the script of that job runs
    host: str = ""  # the scheduler's name of it, where another node has that name already
    is_again: bool = False  # it was part of the run before, under another index
    refusal: str = ""  # what keeps it from taking part, before the run has begun
    is_leaving: bool = False  # it gets no more tasks
    leave_until: float | None = None  # when it is given up at the latest, while it leaves
    has_left: bool = False  # with nothing to do, so nothing was lost

    @property
    def label(self) -> str:
        """The name by which schedulers and hosts know it."""
        return first_label(self.host or self.name)

    @property
    def is_lost(self) -> bool:
        """True once the run goes on without it."""
        return bool(self.cause)

    @property
    def is_up(self) -> bool:
        """True while it is part of the run, and its broker is ready."""
        return self.broker is not None and not self.is_lost

    @property
    def is_present(self) -> bool:
        """True while something may be told to its agent, or expected of it."""
        return self.agent is not None and not self.has_departed


class Membership:
    """All nodes that a run has had, by index."""

    def __init__(self, plans: Sequence[NodePlan]) -> None:
        self.nodes = [Node(NodeIndex(index), plan.name, plan.workers) for index, plan in enumerate(plans)]
        self._first = list(self.nodes)  # without those that came back
        self._by_label = {(0, first_label(node.name)): node for node in self.nodes}
        self._by_agent: dict[AgentName, Node] = {}
        self._disowned: set[str] = set()  # agents of launches that were given up, by `agent_identity`

    def named(self, name: str, party: int = 0) -> Node | None:
        """Return the node of a *party* that a scheduler or host calls *name*; of several, the last one."""
        return self._by_label.get((party, first_label(name)))

    def all_named(self, name: str) -> list[Node]:
        """Return the nodes of all parties that are part of the run, or on the way to be, and called *name*."""
        label = first_label(name)
        return [node for node in self.hoped_for() if label in (node.label, first_label(node.name))]

    def of(self, agent: AgentName) -> Node | None:
        """Return the node of an agent that has reported."""
        return self._by_agent.get(agent)

    def report(self, node: Node, agent: AgentName, pid: int) -> None:
        """Note that the agent of *node* has reported."""
        node.agent, node.pid = agent, pid
        self._by_agent[agent] = node

    def again(self, node: Node) -> Node:
        """Return a new node in the place of one that is lost."""
        first = self._first_of(node)
        new = self._append(first.name, first.workers, node.party, first.host)
        new.is_again = True
        return new

    def renew(self, node: Node) -> None:
        """Let *node* begin anew, as if no agent had ever reported from there: nothing has been done with it yet."""
        if node.agent is not None:
            self.disown(node.agent)
            del self._by_agent[node.agent]
        new = Node(node.index, node.name, node.workers, party=node.party, host=node.host, is_again=node.is_again)
        self.nodes[new.index] = new
        if not new.is_again:
            self._first[new.index] = new
        self._by_label[new.party, new.label] = new

    def disown(self, agent: AgentName) -> None:
        """Take *agent* for none of the run's from now on."""
        self._disowned.add(agent_identity(agent))

    def is_disowned(self, agent: AgentName) -> bool:
        """Return whether *agent* is one of a launch that was given up, by whichever address it comes."""
        return agent_identity(agent) in self._disowned

    def add(self, plan: NodePlan, party: int) -> Node:
        """Return a new node, which another allocation brings; it has a name of its own where two share a machine."""
        label = first_label(plan.name)
        if any(node.label == label for node in self._first):
            new = self._append(f"{plan.name}+{party}", plan.workers, party, plan.name)
        else:
            new = self._append(plan.name, plan.workers, party, "")
        self._first.append(new)
        return new

    def _append(self, name: str, workers: int | None, party: int, host: str) -> Node:
        new = Node(NodeIndex(len(self.nodes)), name, workers, party=party, host=host)
        self.nodes.append(new)
        self._by_label[party, new.label] = new
        return new

    def _first_of(self, node: Node) -> Node:
        """Return the node that was the first by the name of *node*, perhaps itself."""
        return next(each for each in self._first if (each.party, each.label) == (node.party, node.label))

    def losses(self, lost: Node) -> int:
        """Return how often a node by the name of one that is *lost* was."""
        same = (lost.party, lost.label)
        return sum(node.is_lost and (node.party, node.label) == same for node in self.nodes)

    def names(self) -> tuple[str, ...]:
        """Return the names of all nodes, by index."""
        return tuple(node.name for node in self.nodes)

    def of_planned(self, number: int) -> str:
        """Say how many nodes there are of those that the run was planned with, or that have joined it and not left.

        One that comes back is none more.

        >>> Membership([NodePlan("n1", 2), NodePlan("n2", 2)]).of_planned(1)
        '1 of 2 nodes'
        """
        left = sum(node.has_left for node in self.nodes)
        return f"{number} of {len(self._first) - left} nodes"

    def up(self) -> list[Node]:
        """Return the nodes that are part of the run."""
        return [node for node in self.nodes if node.is_up]

    def present(self) -> list[Node]:
        """Return the nodes whose agents have reported, and have not left."""
        return [node for node in self.nodes if node.is_present]

    def hoped_for(self) -> list[Node]:
        """Return the nodes that are not lost: part of the run, or on the way to be."""
        return [node for node in self.nodes if not node.is_lost]

    def lost(self) -> list[Node]:
        """Return the nodes that are lost."""
        return [node for node in self.nodes if node.is_lost and not node.has_left]

    def left(self) -> list[Node]:
        """Return the nodes that have left."""
        return [node for node in self.nodes if node.has_left]

    def leaving(self) -> list[Node]:
        """Return the nodes that leave, and are still there."""
        return [node for node in self.nodes if node.is_leaving and not node.is_lost]

    def size(self) -> int:
        """Return the number of workers, one for a node that could not be counted yet."""
        return sum(1 if node.workers is None else node.workers for node in self.hoped_for())

    def ranks(self) -> int:
        """Return the number of workers that the run was planned with, one for a node that could not be counted yet."""
        return self.first_rank(None)

    def first_rank(self, node: Node | None) -> int:
        """Return the rank of the first worker of *node*: workers are counted in the order of the planned nodes.

        Those that have joined follow, in their order. A node that comes back has its ranks again. None stands for the
        end of the list.
        """
        end = None if node is None else self._first_of(node)
        before = itertools.takewhile(lambda each: each is not end, self._first)
        return sum(1 if each.workers is None else each.workers for each in before)

    def workers_left(self, are_hoped_for: bool = False) -> int:
        """Return the number of workers that can be given tasks, beside the origin, with those *hoped for* or without.

        A node whose workers could not be counted yet has one.
        """
        nodes = [node for node in (self.hoped_for() if are_hoped_for else self.up()) if not node.is_leaving]
        return sum((1 if node.workers is None else node.workers) - node.dead_workers for node in nodes)
