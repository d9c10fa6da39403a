"""The driver's decisions: who has reported, what to tell whom, and how the run ends; no socket, no clock.

::

    JOINING --all Hello, all BrokerUp--> RUNNING --end()--> ENDING --all Bye--> OVER
        '---------------- end() --------------------------->'

The first reason to end is the one that counts: what falls over after it is a consequence.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatchmethod

from scoop_hpc.errors import ProtocolError
from scoop_hpc.hostlist import first_label
from scoop_hpc.protocol.messages import (
    VERSION,
    BrokerUp,
    Bye,
    Curve,
    Exited,
    Fault,
    Hello,
    Message,
    Peers,
    Pool,
    Program,
    Shutdown,
    Welcome,
)
from scoop_hpc.protocol.names import ORIGIN, NodeIndex, described
from scoop_hpc.run.oom_kills import OUT_OF_MEMORY
from scoop_hpc.run.placement import NodePlan

_NOT_ITS_OWN = ", not at the program's end: a task, or a library, called exit() or exec() in it"


class Phase(enum.Enum):
    """How far a run has come."""

    JOINING = 1
    RUNNING = 2
    ENDING = 3
    OVER = 4


@dataclass(frozen=True, slots=True)
class Send:
    """Send *message* to the agent called *to*."""

    to: str
    message: Message


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ends: the exit status, and why if it is not the program's own doing."""

    status: int
    reason: str = ""
    starved: bool = False  # by want of memory


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What is the same on all nodes of a run."""

    nodes: tuple[NodePlan, ...]
    program: Program
    curve: Curve | None
    directory: str
    inherit: tuple[int, ...]  # the standard streams that the origin shares with the driver
    driver_process: str  # what tells it from all others
    driver_pid: int
    python: str  # "3.11"; empty: whatever the agents have, if it is the same for all
    driver: str  # who it is, in words
    record: str = ""  # file
    attempt: str = ""  # what the record is known by as this run's
    complaints: str = ""  # the file behind the driver's stderr, if it is one: for last words when the driver is dead
    pool: Pool | None = None  # instead of a program to run


class DriverState:
    """The state machine of a run, fed with the agents' messages."""

    def __init__(self, plan: RunPlan) -> None:
        self.phase = Phase.JOINING
        self.ending: Ending | None = None
        self.warnings: list[str] = []
        self._plan = plan
        self._python = plan.python
        self._index = {first_label(node.name): index for index, node in enumerate(plan.nodes)}
        self._agents: dict[int, str] = {}  # node: the agent's name
        self._pids: dict[int, int] = {}  # node: the agent's
        self._workers: dict[int, int] = {}  # node: how many, once that is known
        self._welcomed: set[int] = set()
        self._brokers: dict[int, BrokerUp] = {}
        self._gone: set[int] = set()

    @singledispatchmethod
    def handle(self, message: Message, sender: str) -> list[Send]:
        """Take in one message of the agent *sender*; return what to send because of it."""
        raise ProtocolError(f"the agent {sender!r} sent the driver {message!r}")

    @handle.register
    def _on_hello(self, message: Hello, sender: str) -> list[Send]:
        if self.ending is not None:
            return [Send(sender, Shutdown())]  # too late: it has nothing to end yet
        index = self._index.get(first_label(message.node))
        if index is None:
            return self.end(1, f"an agent reports from node {message.node!r}, which is not part of the run")
        self._python = self._python or message.python
        if message.version != VERSION or message.python != self._python:
            others = "the driver" if self._plan.python else "another"
            return self.end(
                1,
                f"node {message.node} runs Python {message.python} with protocol {message.version}, {others} "
                f"{self._python} with {VERSION}: install the same on all nodes",
            )
        if index in self._agents:  # the same agent knocks on another of the driver's addresses
            return []
        node = self._plan.nodes[index]
        if node.workers > message.cpus:
            self.warnings.append(f"node {node.name}: {node.workers} workers on {message.cpus} CPUs")
        self._agents[index] = sender
        self._pids[index] = message.pid
        self._workers[index] = node.workers or message.cpus
        return self._welcome_all()

    def _welcome_all(self) -> list[Send]:
        """Welcome who waits for it; nobody as long as some node's workers cannot be counted."""
        workers = {index: node.workers or self._workers.get(index, 0) for index, node in enumerate(self._plan.nodes)}
        if not all(workers.values()):
            return []
        waiting = {index: agent for index, agent in self._agents.items() if index not in self._welcomed}
        self._welcomed.update(waiting)
        size = sum(workers.values())
        return [Send(agent, self._welcome(index, workers[index], size)) for index, agent in waiting.items()]

    def _welcome(self, index: int, workers: int, size: int) -> Welcome:
        return Welcome(
            node=NodeIndex(index),
            workers=workers,
            size=size,
            program=self._plan.program,
            nodes=tuple(each.name for each in self._plan.nodes),
            curve=self._plan.curve,
            directory=self._plan.directory or None,
            inherit=self._plan.inherit,
            driver=self._plan.driver,
            record=self._plan.record or None,
            attempt=self._plan.attempt,
            driver_process=self._plan.driver_process,
            driver_pid=self._plan.driver_pid,
            complaints=self._plan.complaints or None,
            pool=self._plan.pool,
        )

    @handle.register
    def _on_broker_up(self, message: BrokerUp, sender: str) -> list[Send]:
        if self._node_of(sender, message) != message.node:
            raise ProtocolError(f"the agent {sender!r} sent the driver {message!r}")
        self._brokers[message.node] = message
        if self.phase is not Phase.JOINING or len(self._brokers) < len(self._plan.nodes):
            return []
        self.phase = Phase.RUNNING
        peers = Peers(tuple(self._brokers[index] for index in sorted(self._brokers)))
        return [Send(agent, peers) for agent in self._agents.values()]

    @handle.register
    def _on_exited(self, message: Exited, sender: str) -> list[Send]:
        self._node_of(sender, message)
        if message.name == ORIGIN and message.status >= 0 and message.own_end:
            return self.end(message.status, "")
        what, how = described(message.name), how_it_ended(message.status)
        died = f"{what} (pid {message.pid}) on {self.where(sender)} died: {how}"
        if message.out_of_memory:
            died += OUT_OF_MEMORY
        if message.name != ORIGIN:
            return self.end(1, died, starved=message.out_of_memory)
        if message.status >= 0:  # 0 is for a program that has ended
            return self.end(message.status or 1, f"{died}{_NOT_ITS_OWN}")
        return self.end(128 - message.status, died, starved=message.out_of_memory)

    @handle.register
    def _on_fault(self, message: Fault, sender: str) -> list[Send]:
        self._node_of(sender, message)
        return self.end(message.status or 1, message.reason)

    @handle.register
    def _on_bye(self, message: Bye, sender: str) -> list[Send]:
        where = self._plan.nodes[self._node_of(sender, message)].name
        sends = self.end(1, f"the agent on {where} left")
        self.gone([where])
        return sends

    def refuse(self, sender: str, error: ProtocolError) -> list[Send]:
        """Take it that *sender* sent what cannot be understood: the run ends if it is one of its agents."""
        if not self.is_agent(sender):
            return []
        return self.end(1, f"invalid message of the agent on {self.where(sender)}: {error}")

    def is_agent(self, sender: str) -> bool:
        """Return whether *sender* is one of the run's agents."""
        return sender in self._agents.values()

    def lost(self, sender: str, launcher: str = "") -> list[Send]:
        """Take the loss of the agent *sender*; *launcher* is how the command that brought it ended, if it has."""
        if sender not in self._agents.values():
            return []
        where = self.where(sender)
        pid = self._pids[self._index[first_label(where)]]
        before = f", after its launcher had ended: {launcher}" if launcher else ""
        sends = self.end(1, f"the agent (pid {pid}) on {where} died, or the connection to it broke{before}")
        self.gone([where])
        return sends

    def gone(self, names: Sequence[str]) -> None:
        """Expect nothing more of the agents on the nodes *names*."""
        self._gone.update(self._index[first_label(name)] for name in names)
        if self.ending is not None and self._gone >= self._agents.keys():
            self.phase = Phase.OVER

    def end(self, status: int, reason: str, number: int | None = None, starved: bool = False) -> list[Send]:
        """Begin the end, unless it has begun; the origin gets the signal *number* first, if there is one.

        *starved*: the memory was not enough.
        """
        if self.ending is not None:
            return []
        self.ending = Ending(status, reason, starved)
        sends = [Send(agent, Shutdown(number)) for index, agent in self._agents.items() if index not in self._gone]
        self._gone.update(self._agents.keys() - self._welcomed)  # they have nothing to end
        self.phase = Phase.ENDING if self.remaining() else Phase.OVER
        return sends

    def entrance(self) -> BrokerUp | None:
        """Return where the first broker is reached, None until all are."""
        return self._brokers[0] if self.phase is Phase.RUNNING else None

    def reported(self) -> int:
        """Return how many agents have reported."""
        return len(self._agents)

    def missing(self) -> list[str]:
        """Return the nodes whose agent or broker has not reported."""
        return [node.name for index, node in enumerate(self._plan.nodes) if index not in self._brokers]

    def has_agents(self, names: Sequence[str]) -> bool:
        """Return whether the agents on all of the nodes *names* have reported, and none of them has left."""
        return all(self._index[first_label(name)] in self._agents.keys() - self._gone for name in names)

    def remaining(self) -> list[str]:
        """Return the nodes whose agent has reported and has not left."""
        return [self._plan.nodes[index].name for index in self._agents if index not in self._gone]

    def agents(self) -> list[str]:
        """Return the names of all agents, the origin's first."""
        return [self._agents[index] for index in sorted(self._agents)]

    def _node_of(self, sender: str, message: Message) -> int:
        """Return the index of the agent's node; raise ProtocolError if *sender* is no agent of this run."""
        for index, agent in self._agents.items():
            if agent == sender:
                return index
        raise ProtocolError(f"{sender!r}, which is no agent of this run, sent the driver {message!r}")

    def where(self, sender: str) -> str:
        """Return the name of the node that the agent *sender* is on."""
        for index, agent in self._agents.items():
            if agent == sender:
                return self._plan.nodes[index].name
        return sender


def how_it_ended(status: int) -> str:
    """Say what an exit status as of `os.waitstatus_to_exitcode` means.

    >>> how_it_ended(3), how_it_ended(-9)
    ('exit status 3', 'killed by SIGKILL')
    """
    if status >= 0:
        return f"exit status {status}"
    known = -status in signal.valid_signals()
    return f"killed by {signal.Signals(-status).name if known else f'signal {-status}'}"
