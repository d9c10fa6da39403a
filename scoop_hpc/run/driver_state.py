"""The driver's decisions: whom to start, what to tell whom, and how the run ends; no socket, no clock.

::

    JOINING --all Hello, all BrokerUp--> RUNNING --end()--> ENDING --all Bye, or their time is over--> OVER
        '---------------- end() --------------------------->'

While it is RUNNING, a node that is lost does not end the run, unless it is the first, or too few are left; one that
reports late, or anew, is taken in. The driver alone judges that a node is lost, and tells the others: nobody else acts
on a suspicion. An agent that is given up, and is heard of again, is told so.

What happens is told by method calls, each with the time *now*: in seconds, of a clock that only goes forward. Each
returns actions for the shell to carry out, in their order. When nothing happens, `pass_time` is to be called at
`deadline`.

The first reason to end is the one that counts: what falls over after it is a consequence.
"""

from __future__ import annotations

import enum
import os
import signal
from collections import deque
from collections.abc import Sequence
from functools import singledispatchmethod

from msgspec import Struct

from scoop_hpc import events
from scoop_hpc.errors import ProtocolError
from scoop_hpc.events import NOBODY, Observers
from scoop_hpc.hostlist import fold
from scoop_hpc.launchers.base import Command
from scoop_hpc.protocol.messages import (
    VERSION,
    Accounts,
    Beat,
    BrokerUp,
    Bye,
    Curve,
    Exited,
    Fault,
    GivenUp,
    Gone,
    Hello,
    Interrupt,
    LinkBroken,
    Message,
    Open,
    Peers,
    Pool,
    Program,
    Progress,
    Shutdown,
    Welcome,
)
from scoop_hpc.protocol.names import (
    ORIGIN,
    AgentName,
    WorkerName,
    broker_name,
    described,
    is_same_agent,
    is_worker,
    node_of,
)
from scoop_hpc.protocol.strangers import Strangers, shortened
from scoop_hpc.run.broken_links import BrokenLinks
from scoop_hpc.run.exits import OUT_OF_MEMORY, describe_exit, how_it_died
from scoop_hpc.run.membership import Detached, Membership, Node
from scoop_hpc.run.placement import NodePlan
from scoop_hpc.run.policy import DriverPolicy
from scoop_hpc.run.watching.accounts import NodeAccounted
from scoop_hpc.schedulers.job_state import JobState

# what schedulers send before the end, on request; a program that does not heed them is ended by them [signal(7)]
_WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
_INTERRUPTED = 128 + signal.SIGINT
_TERMINATED = 128 + signal.SIGTERM
_NOT_ITS_OWN = ", not at the program's end: a task, or a library, called exit() or exec() in it"
_MOST_NAMED = 8  # lost nodes, in one line


class Phase(enum.Enum):
    """The step of a run's life."""

    JOINING = 1
    RUNNING = 2
    ENDING = 3
    OVER = 4


class Start(Struct, frozen=True):
    """Start *command*, unless the run ends; tell `command_started` or `command_failed`."""

    command: Command


class Send(Struct, frozen=True):
    """Send *message* to the agent called *to*."""

    to: AgentName
    message: Message


class Report(Struct, frozen=True):
    """Tell the client of a pool."""

    message: Open | Fault


class Warn(Struct, frozen=True):
    """Tell the user."""

    text: str


class ShowLastWords(Struct, frozen=True):
    """Show the user what the launcher's commands have printed last."""


class RemoveEnvironment(Struct, frozen=True):
    """Remove the file that has brought the agents their environment: no agent needs it any more."""


class LookAtMemory(Struct, frozen=True):
    """Look at the count of processes that were killed, out of memory."""


Action = Start | Send | Report | Warn | ShowLastWords | RemoveEnvironment | LookAtMemory


class Ending(Struct, frozen=True):
    """The exit status of a run, and the reason of its end, if that is not the program's own."""

    status: int
    reason: str = ""
    out_of_memory: bool = False


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


class CommandEnd(Struct, frozen=True):
    """The end of a launcher's command."""

    command: Command
    pid: int
    status: int  # as of `os.waitstatus_to_exitcode`
    said: str = ""  # the last line that it printed, or that was an error of ours
    complaint: str = ""  # the last line that was an error of ours: srun tells after it how its tasks ended
    out_of_memory: bool = False


class DriverState:
    """The state machine of a run."""

    def __init__(self, plan: RunPlan, policy: DriverPolicy | None = None, observers: Observers = NOBODY) -> None:
        self.phase = Phase.JOINING
        self.ending: Ending | None = None
        self.is_abandoned = False  # nobody may be left who reads the output
        self._plan = plan
        self._policy = policy or DriverPolicy()
        self._observers = observers
        self._python = plan.python
        self._membership = Membership(plan.nodes)
        self._unwelcomed: list[Node] = []  # their agents have reported
        self._disconnected: list[Node] = []  # their agents
        self._links = BrokenLinks(self._policy.gather)
        self._dead: list[WorkerName] = []
        self._floor = 0  # nodes, below which losses end the run
        self._commands: deque[Command] = deque()  # to be started
        self._begun = 0  # agents whose commands were started
        self._reported = 0  # of these, or they never will
        self._needs_environment = True  # an agent may still have to read it
        self._strangers = Strangers()
        self._join_until: float | None = None
        self._interrupted_at: float | None = None
        self._ending_at = 0.0  # when the end began
        self._leave_until: float | None = None
        self._look_at: float | None = None
        self._client_knows = plan.pool is None  # that the pool has ended; nobody has to be told

    # time

    def deadline(self) -> float | None:
        """Return when to call `pass_time` at the latest; None: nothing is due."""
        times = [self._lost_at(node) for node in self._disconnected]
        if self.ending is None and self._interrupted_at is not None:
            times.append(self._interrupted_at + self._policy.interrupt_grace)
        if self.phase is Phase.JOINING and self._join_until is not None:
            times.append(self._join_until)
        if self.phase is Phase.ENDING and self._leave_until is not None:
            times.append(self._leave_until)
        if self._look_at is not None:
            times.append(self._look_at)
        judged = self._links.due()
        if judged is not None:
            times.append(judged)
        return min(times, default=None)

    def _lost_at(self, node: Node) -> float:
        assert node.disconnected_at is not None
        return node.disconnected_at + self._policy.lost_after

    def pass_time(self, now: float) -> list[Action]:
        """Do what is due at *now*."""
        actions: list[Action] = []
        if self._look_at is not None and now >= self._look_at:
            self._look_at = now + self._policy.look
            actions.append(LookAtMemory())
        for node in [node for node in self._disconnected if now >= self._lost_at(node)]:
            self._disconnected.remove(node)
            actions += self._lose_agent(node, now)
        judged = self._links.due()
        if judged is not None and now >= judged:
            actions += self._judge_links(now)
        if self._interrupted_at is not None and now >= self._interrupted_at + self._policy.interrupt_grace:
            actions += self.end(_INTERRUPTED, "interrupted", now, signal.SIGTERM)
        if self.phase is Phase.JOINING and self._join_until is not None and now >= self._join_until:
            reason = f"no word within {self._plan.patience:g} s from: {', '.join(self.missing())}"
            if self._plan.min_nodes is not None:
                reason += f"; {len(self._membership.up())} nodes are ready, --min-nodes is {self._plan.min_nodes}"
            actions += self.end(1, reason, now, show_last_words=True)
        if self.phase is Phase.ENDING and self._leave_until is not None and now >= self._leave_until:
            left = ", ".join(self.remaining())
            actions += self._warn(f"no farewell within {now - self._ending_at:.0f} s from: {left}")
            self.phase = Phase.OVER
        return actions

    # starting

    def start(self, commands: Sequence[Command], now: float) -> list[Action]:
        """Begin: start the launcher's *commands*, but not too many at once whose agents have not reported."""
        if self._observers:
            program = os.fsdecode(self._plan.program.path) if self._plan.pool is None else ""
            self._observers.tell(events.RunStarting(len(self._plan.nodes), program))
        self._join_until = now + self._plan.patience
        if self._plan.one_machine:
            self._look_at = now + self._policy.look
        self._commands.extend(commands)
        return self._start_more()

    def command_started(self, command: Command, pid: int) -> None:
        """Note that *command* runs."""
        if self._observers:
            self._observers.tell(events.CommandStarted(tuple(command.argv), fold(command.nodes), pid))

    def command_failed(self, reason: str, now: float) -> list[Action]:
        """Take it that a command cannot be started."""
        return self.end(1, reason, now)

    def _start_more(self) -> list[Action]:
        actions: list[Action] = []
        while self._commands and self.ending is None:
            if not self._plan.one_machine and self._begun - self._reported >= self._policy.agents_at_once:
                break
            command = self._commands.popleft()
            self._begun += len(command.nodes)
            actions.append(Start(command))
        return actions

    # messages

    def handle(self, message: Message, sender: AgentName, now: float) -> list[Action]:
        """Take in one message of the agent *sender*; raise ProtocolError for one that has no meaning here."""
        node = self._membership.of(sender)
        if node is not None and node.is_lost:
            return self._answer_lost(message, node, sender)
        return self._take(message, sender, now)

    def _answer_lost(self, message: Message, node: Node, sender: AgentName) -> list[Action]:
        """Let an agent that was given up, and is heard of again, know."""
        if not node.welcomed or isinstance(message, Hello | Bye):
            return []
        return [Send(sender, GivenUp() if self.ending is None else Shutdown())]

    @singledispatchmethod
    def _take(self, message: Message, sender: AgentName, now: float) -> list[Action]:
        raise ProtocolError(f"the agent {sender!r} sent the driver {message!r}")

    @_take.register
    def _on_hello(self, message: Hello, sender: AgentName, now: float) -> list[Action]:
        if self.ending is not None:
            # too late: it has nothing to end yet; one that has was told already
            return [] if self.is_agent(sender) else [Send(sender, Shutdown())]
        node = self._membership.named(message.node)
        if node is None and self.phase is not Phase.JOINING:
            raise ProtocolError(f"{sender!r} reports from node {message.node!r}, which is not part of the run")
        if node is None:
            reason = f"an agent reports from node {message.node!r}, which is not part of the run"
            return self.end(1, reason, now)
        if node.agent is not None and is_same_agent(node.agent, sender):  # by another of the driver's addresses
            return []
        actions: list[Action] = []
        if node.agent is not None and not node.is_lost:
            reason = f"the agent (pid {node.pid}) on {node.name} has begun anew"
            actions += self._lose(node, "its agent has begun anew", reason, now, is_gone=True)
            if self.ending is not None:
                return [*actions, Send(sender, Shutdown())]
        if node.is_lost:
            if self._membership.losses(node.name) > self._policy.returns:
                text = f"node {node.name} was lost {self._policy.returns + 1} times: it is left out from now on"
                return [*actions, Send(sender, Shutdown()), *self._warn(text)]
            node = self._membership.again(node)
        else:
            self._reported += 1
        return [*actions, *self._join(node, message, sender, now)]

    def _join(self, node: Node, message: Hello, sender: AgentName, now: float) -> list[Action]:
        """Take it that the agent of *node* has reported, and may be welcome."""
        self._membership.report(node, sender, message.pid)
        self._python = self._python or message.python
        if message.version != VERSION or message.python != self._python:
            others = "the driver" if self._plan.python else "another"
            what = (
                f"runs Python {message.python} with protocol {message.version}, {others} "
                f"{self._python} with {VERSION}: install the same on all nodes"
            )
            return self._lose(node, f"it {what}", f"node {message.node} {what}", now)
        self._unwelcomed.append(node)
        actions: list[Action] = []
        if node.workers is None:
            node.workers = message.cpus
        elif self._plan.warn and node.workers > message.cpus:
            actions += self._warn(f"node {node.name}: {node.workers} workers on {message.cpus} CPUs")
        if self._observers:
            joined = events.NodeJoined(node.name, message.host, message.pid, message.cpus, node.workers)
            self._observers.tell(joined)
        actions += [*self._start_more(), *self._welcome_all()]
        return actions if self.phase is Phase.JOINING else [*actions, *self._remove_environment()]

    def _welcome_all(self) -> list[Action]:
        """Welcome who waits for it; nobody as long as some node's workers cannot be counted, if all are needed."""
        hoped_for = self._membership.hoped_for()
        if any(node.workers is None for node in hoped_for) and not self._are_enough(
            [node for node in hoped_for if node.agent is not None]
        ):
            return []
        waiting, self._unwelcomed = self._unwelcomed, []
        size = self._membership.size()
        actions: list[Action] = []
        for node in waiting:
            if node.agent is not None and not node.is_lost:
                node.welcomed = True
                actions.append(Send(node.agent, self._welcome(node, size)))
        return actions

    def _needed(self) -> int:
        """Return the number of nodes that the run begins with."""
        return len(self._plan.nodes) if self._plan.min_nodes is None else self._plan.min_nodes

    def _are_enough(self, nodes: Sequence[Node]) -> bool:
        """Return whether the run may begin with *nodes*: the first is always needed."""
        return len(nodes) >= self._needed() and nodes[0].index == 0

    def _welcome(self, node: Node, size: int) -> Welcome:
        return Welcome(
            node=node.index,
            workers=node.workers or 0,
            size=size,
            program=self._plan.program,
            nodes=self._membership.names(),
            curve=self._plan.curve,
            directory=self._plan.directory,
            inherit=self._plan.inherit,
            driver=f"the driver (pid {self._plan.driver_pid}) on {self._plan.host}",
            record=self._plan.record,
            attempt=self._plan.attempt,
            driver_process=self._plan.driver_process,
            driver_pid=self._plan.driver_pid,
            complaints=self._plan.complaints,
            pool=self._plan.pool,
            grace=self._plan.grace,
            progress=self._plan.progress,
            terminals=self._plan.terminals,
            accounts=self._plan.accounts,
        )

    @_take.register
    def _on_broker_up(self, message: BrokerUp, sender: AgentName, now: float) -> list[Action]:
        node = self._node_of(sender, message)
        if node.index != message.node:
            raise ProtocolError(f"the agent {sender!r} sent the driver {message!r}")
        if node.broker is not None:
            return []
        node.broker = message
        if self._observers:
            self._observers.tell(events.BrokerJoined(node.name, message.main))
        if self.phase is Phase.RUNNING:
            return self._take_in(node, message, sender)
        if self.phase is not Phase.JOINING or not self._are_enough(self._membership.up()):
            return []
        return self._begin()

    def _begin(self) -> list[Action]:
        """Tell all nodes that are ready of each other; the first starts the program."""
        self.phase = Phase.RUNNING
        up = self._membership.up()
        self._floor = (len(up) + 1) // 2 if self._plan.min_nodes is None else self._plan.min_nodes
        size = self._membership.size()
        if self._observers:
            self._observers.tell(events.RunBegan(len(up), size))
        actions = self._remove_environment()  # before the program begins
        missing = self.missing()
        if missing:
            actions += self._warn(f"the run begins with {_of(len(up), self._count())}, without {', '.join(missing)}")
        peers = self._all_peers()
        actions += [Send(node.agent, peers) for node in up if node.agent is not None]
        if self._plan.pool is not None:
            actions.append(Report(Open(size, peers.brokers[0], dialling_part(self._plan.curve))))
        return actions

    def _take_in(self, new: Node, broker: BrokerUp, agent: AgentName) -> list[Action]:
        """Let a node that is ready take part in the run, which has begun."""
        if self._observers:
            self._observers.tell(events.NodeTakenIn(new.name, broker_name(new.index)))
        others = [node.agent for node in self._membership.up() if node is not new and node.agent is not None]
        actions: list[Action] = [Send(other, Peers((broker,))) for other in others]
        again = "again " if new.index >= len(self._plan.nodes) else ""
        left = _of(len(others) + 1, self._count())
        return [
            *actions,
            Send(agent, self._all_peers()),
            *self._warn(f"node {new.name} takes part {again}from now on, as broker {new.index}: {left}"),
        ]

    def _all_peers(self) -> Peers:
        brokers = [node.broker for node in self._membership.up() if node.broker is not None]
        return Peers(tuple(brokers), tuple(node.index for node in self._membership.lost()))

    def _count(self) -> int:
        """Return the number of nodes that the run was planned with: one that comes back is none more."""
        return len(self._plan.nodes)

    def _remove_environment(self) -> list[Action]:
        """Remove the agents' environment once, when none of them has to read it any more."""
        waits = any(node.agent is None and not node.is_lost for node in self._membership.nodes)
        if not self._needs_environment or (waits and self.ending is None):
            return []
        self._needs_environment = False
        return [RemoveEnvironment()]

    @_take.register
    def _on_exited(self, message: Exited, sender: AgentName, now: float) -> list[Action]:
        node = self._node_of(sender, message)
        if message.name == ORIGIN and message.status >= 0 and message.own_end:
            return self.end(message.status, "", now)
        who, how = f"{described(message.name)} (pid {message.pid})", how_it_died(message, False)
        died = f"{who} on {node.name} {how}"
        if is_worker(message.name) and message.name != ORIGIN and self.phase is Phase.RUNNING:
            return self._lose_worker(message, node, f"{who} on {node.name}", now)
        if message.name != ORIGIN:
            what = f"its {who if is_worker(message.name) else f'broker (pid {message.pid})'} {how}"
            return self._lose(node, what, died, now, out_of_memory=message.out_of_memory)
        if message.status >= 0:  # 0 is for a program that has ended
            return self.end(message.status or 1, f"{died}{_NOT_ITS_OWN}", now)
        return self.end(128 - message.status, died, now, out_of_memory=message.out_of_memory)

    def _lose_worker(self, message: Exited, node: Node, who: str, now: float) -> list[Action]:
        """Go on without a worker that died: its agent has seen to its tasks, all drop those that it had submitted."""
        how = f"{who} {how_it_died(message, message.is_too_long)}"
        if self._plan.pool is not None and self._plan.pool.breaks:
            return self.end(1, how, now, out_of_memory=message.out_of_memory)
        if not message.is_replaced:
            node.dead_workers += 1
            if self._membership.workers_left() <= 0:
                return self.end(1, f"{how}; no worker is left", now, out_of_memory=message.out_of_memory)
        doing = f", in {message.task}" if message.task else ""
        then = "another takes its place" if message.is_replaced else "none takes its place: the last ones began no task"
        if self._observers:
            self._observers.tell(events.WorkerLost(f"{how}{doing}"))
        self._dead.append(WorkerName(message.name))
        return [*self._tell_welcome(Gone((WorkerName(message.name),))), *self._warn(f"{how}{doing}; {then}")]

    @_take.register
    def _on_fault(self, message: Fault, sender: AgentName, now: float) -> list[Action]:
        node = self._node_of(sender, message)
        if message.of_node:
            what = message.reason.removeprefix(f"node {node.name}: ")
            return self._lose(node, what, message.reason, now, status=message.status or 1)
        return self.end(message.status or 1, message.reason, now)

    @_take.register
    def _on_link_broken(self, message: LinkBroken, sender: AgentName, now: float) -> list[Action]:
        node, peer = self._node_of(sender, message), node_of(message.peer)
        if peer >= len(self._membership.nodes) or peer == node.index:
            raise ProtocolError(f"the agent {sender!r} sent the driver {message!r}")
        if self.phase is Phase.RUNNING:
            self._links.report(node.index, peer, now)
        return []

    @_take.register
    def _on_beat(self, message: Beat, sender: AgentName, now: float) -> list[Action]:
        """Tell an agent again, after its connection was lost, what may have been lost with that."""
        node = self._node_of(sender, message)
        if self.phase is not Phase.RUNNING or not node.is_up:
            return []
        gone = Gone(tuple(self._dead), tuple(node.index for node in self._membership.lost()))
        return [Send(sender, self._all_peers()), Send(sender, gone)]

    @_take.register
    def _on_bye(self, message: Bye, sender: AgentName, now: float) -> list[Action]:
        node = self._node_of(sender, message)
        if self._observers:
            self._observers.tell(events.AgentLeft(node.name))
        return self._lose(node, "its agent left", f"the agent on {node.name} left", now, is_gone=True)

    @_take.register
    def _on_progress(self, message: Progress, sender: AgentName, now: float) -> list[Action]:
        node = self._node_of(sender, message)
        if self._observers:
            self._observers.tell(events.WorkersBusy(node.name, message.busy))
            for each in message.awaited:
                self._observers.tell(events.Waits(each.number, each.label, each.total, each.done, each.failed))
        return []

    @_take.register
    def _on_accounts(self, message: Accounts, sender: AgentName, now: float) -> list[Action]:
        node = self._node_of(sender, message)
        if self._observers:
            self._observers.tell(NodeAccounted(node.name, node.index, message))
        return []

    def refuse(self, sender: AgentName, error: ProtocolError, now: float) -> list[Action]:
        """Take it that *sender* sent something invalid: that costs its node, if it is one of the run's agents."""
        node = self._membership.of(sender)
        if node is not None:
            what = f"invalid message of its agent: {shortened(error)}"
            reason = f"invalid message of the agent on {node.name}: {shortened(error)}"
            return [] if node.is_lost else self._lose(node, what, reason, now)
        if not self._strangers.is_new(sender):
            return []
        return self._warn(f"dropped a message of {sender!r}: {shortened(error)}")

    # losses

    def disconnected(self, agent: AgentName, now: float) -> list[Action]:
        """Take the end of a connection to *agent*: it is lost, or about to leave."""
        node = self._membership.of(agent)
        if node is None or node.is_lost or node.disconnected_at is not None:
            return []
        if self._observers and not node.has_departed:
            self._observers.tell(events.AgentDisconnected(node.name))
        node.disconnected_at = now
        self._disconnected.append(node)
        if node.detached is not None and now < node.detached.since + self._policy.lost_after:
            return self._lose(node, node.detached.words, node.detached.cause, now)  # both ended together
        return []

    def connected(self, agent: AgentName) -> None:
        """Take a new connection to *agent*, in the place of one that was lost."""
        node = self._membership.of(agent)
        if node is not None and node in self._disconnected:
            self._disconnected.remove(node)
            node.disconnected_at = None

    def _lose_agent(self, node: Node, now: float) -> list[Action]:
        """Give up the agent on *node*, which has been without a connection for too long."""
        before = f", after its launcher had ended: {node.detached.words}" if node.detached is not None else ""
        how = f"died, or the connection to it broke{before}"
        reason = f"the agent (pid {node.pid}) on {node.name} {how}"
        return self._lose(node, f"its agent (pid {node.pid}) {how}", reason, now, is_gone=True)

    def _judge_links(self, now: float) -> list[Action]:
        """Give up nodes whose brokers have no connection to each other."""
        actions: list[Action] = []
        for verdict in self._links.judge([node.index for node in self._membership.up()]):
            node = self._membership.nodes[verdict.node]
            others = ", ".join(self._membership.nodes[other].name for other in verdict.others)
            how = f"has had no connection to {others} for {self._plan.grace:g} s"
            actions += self._lose(node, f"its broker {how}", f"broker {node.index} on {node.name} {how}", now)
        return actions

    def _lose(
        self,
        node: Node,
        what: str,
        reason: str,
        now: float,
        *,
        status: int = 1,
        show_last_words: bool = False,
        out_of_memory: bool = False,
        is_gone: bool = False,
    ) -> list[Action]:
        """Go on without *node*, because of *what* has happened there; or end the run, if it cannot, for this *reason*.

        What ran there is executed again elsewhere. If its agent *is_gone*, nothing more is expected of it.
        """
        if node.is_lost:
            return []
        if self.ending is not None or not self._can_spare(node):
            actions = self.end(status, reason, now, show_last_words=show_last_words, out_of_memory=out_of_memory)
            if is_gone:
                self._depart([node])
            return actions
        node.cause = what
        self._depart([node])
        if node in self._disconnected:
            self._disconnected.remove(node)
        if self._observers:
            self._observers.tell(events.NodeLost(node.name, what))
        lost = f"node {node.name} is lost: {what}"
        actions = []
        if node.agent is None:  # it will not report any more
            self._reported += 1
            actions += [*self._start_more(), *self._welcome_all()]
        else:
            actions.append(Send(node.agent, GivenUp() if node.welcomed else Shutdown()))
        if self.phase is Phase.JOINING:
            return [*actions, *self._warn(f"{lost}; {_of(len(self._membership.hoped_for()), self._count())}")]
        actions += self._remove_environment()
        if node.broker is not None:
            actions += self._tell_welcome(Gone(nodes=(node.index,), cause=f"node {node.name} was lost: {what}"))
        return [*actions, *self._go_on_with_the_rest(lost, now)]

    def _can_spare(self, node: Node) -> bool:
        """Return whether the run may go on without *node*."""
        breaks = self._plan.pool is not None and self._plan.pool.breaks
        if node.index == 0 or self._plan.ends_on_loss or breaks:
            return False
        return self.phase is Phase.RUNNING or len(self._membership.hoped_for()) > self._needed()

    def _go_on_with_the_rest(self, lost: str, now: float) -> list[Action]:
        left = len(self._membership.up())
        lost += f"; {_of(left, self._count())} {'is' if left == 1 else 'are'} left"
        if left < self._floor:
            return self.end(1, f"{lost}, fewer than the {self._floor} that it takes to go on (--min-nodes)", now)
        if self._membership.workers_left() <= 0:
            return self.end(1, f"{lost}; no worker is left", now)
        return self._warn(lost)

    def _tell_welcome(self, message: Message) -> list[Action]:
        """Send *message* to all agents that are part of the run."""
        present = self._membership.present()
        return [Send(node.agent, message) for node in present if node.agent is not None and node.welcomed]

    def _tell_all(self, message: Shutdown) -> list[Action]:
        """Send *message* to all agents, those that wait for a welcome as well."""
        return [Send(node.agent, message) for node in self._membership.present() if node.agent is not None]

    def sum_up(self) -> list[Action]:
        """Name, at the end, the nodes that were lost."""
        lost = self._membership.lost()
        if not lost:
            return []
        named = ", ".join(f"{node.name} ({node.cause}{self._since(node)})" for node in lost[:_MOST_NAMED])
        more = f", and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
        return self._warn(f"lost: {named}{more}")

    def _since(self, node: Node) -> str:
        """Say whether a lost node came back."""
        last = self._membership.named(node.name)
        return "; it came back" if last is not None and last.index > node.index and last.broker is not None else ""

    def command_ended(self, end: CommandEnd, now: float) -> list[Action]:
        """Take the end of a command of the launcher.

        An agent that is connected lives, whatever became of the command that brought it: pbs_tmrsh ends when pbs_mom is
        restarted, its task does not.
        """
        command = end.command
        nodes = [node for name in command.nodes if (node := self._membership.named(name)) is not None]
        names = ", ".join(command.nodes)
        program = os.path.basename(command.argv[0])
        ended = describe_exit(end.status)
        if self._observers:
            words = f"{ended}: {end.said}" if end.said else ended
            self._observers.tell(events.CommandEnded(program, fold(command.nodes), end.pid, words))
        if self._plan.one_machine:
            how = f"(pid {end.pid}) {{}}died: {ended}{OUT_OF_MEMORY if end.out_of_memory else ''}"
            here, reason = f"its agent {how.format('')}", f"the agent {how.format(f'on {names} ')}"
            return self._lose_all(nodes, here, reason, now, is_gone=True, out_of_memory=end.out_of_memory)
        if len(nodes) == 1 and end.said:
            said = end.said.removeprefix(f"node {names}: ")
            what = "lost the agent" if nodes[0].is_present else "no agent"
            return self._detach(nodes, said, f"{what} on {names}: {said}", now, show_last_words=False)
        who = f"{program} (pid {end.pid}) on {self._plan.host}"
        who += f" for {names}" if len(nodes) == 1 else ""
        died = f"{who} died: {ended}" + (f": {end.complaint}" if end.complaint else "")
        return self._detach(nodes, died, died, now, show_last_words=True)

    def _detach(self, nodes: Sequence[Node], words: str, cause: str, now: float, show_last_words: bool) -> list[Action]:
        """Go on with the agents that are connected, and need the command that brought them no more; lose the others."""
        connected = [node for node in nodes if self._plan.outlived and node.is_present and node.disconnected_at is None]
        if self._observers and self.ending is None and connected:
            self._observers.tell(events.LauncherGone(fold([node.name for node in connected]), words))
        for node in connected:
            node.detached = Detached(words, cause, now)
        rest = [node for node in nodes if node not in connected]
        return self._lose_all(rest, words, cause, now, show_last_words=show_last_words)

    def _lose_all(
        self,
        nodes: Sequence[Node],
        what: str,
        reason: str,
        now: float,
        *,
        show_last_words: bool = True,
        out_of_memory: bool = False,
        is_gone: bool = False,
    ) -> list[Action]:
        actions: list[Action] = []
        for node in nodes:
            actions += self._lose(
                node,
                what,
                reason,
                now,
                show_last_words=show_last_words,
                out_of_memory=out_of_memory,
                is_gone=is_gone,
            )
        return actions

    def _depart(self, nodes: Sequence[Node]) -> None:
        """Expect nothing more of the agents on *nodes*."""
        for node in nodes:
            node.has_departed = True
        if self.ending is not None and not self._membership.present():
            self.phase = Phase.OVER

    # signals, the client, the output

    def signalled(self, number: int, now: float) -> list[Action]:
        """Take the signal *number*, one that ends processes."""
        self.is_abandoned = True
        name = signal.Signals(number).name
        if self._observers:
            self._observers.tell(events.SignalReceived(name))
        if number == signal.SIGINT:
            if self.phase is Phase.ENDING:
                return self._end_at_once(now)
            if self._interrupted_at is not None:
                return self.end(_INTERRUPTED, "interrupted", now, at_once=True)
            self._interrupted_at = now
            return self._signal_origin(number) or self.end(_INTERRUPTED, "interrupted", now)
        passed_on = self._signal_origin(number) if number in _WARNINGS else []
        why = ": its walltime was over" if number == signal.SIGTERM and self._is_late(now) else ""
        return passed_on or self.end(128 + number, f"ended by {name}{why}", now, number)

    def _signal_origin(self, number: int) -> list[Action]:
        """Pass a signal on to the program, if it may have begun."""
        origin = self._membership.nodes[0].agent
        if origin is None or self.phase is Phase.JOINING:
            return []
        return [Send(origin, Interrupt(number))]

    def client_left(self, now: float, lost: bool) -> list[Action]:
        """Take it that the client of a pool wants nothing more, perhaps because it is *lost*."""
        self._client_knows = True
        self.is_abandoned = self.is_abandoned or lost
        return self.end(0, "", now)

    def output_failed(self, reason: str, now: float) -> list[Action]:
        """Take it that output of the program is lost: the run has not succeeded."""
        actions = self.end(1, reason, now)
        if self.ending is not None and self.ending.status == 0:  # the last of it, after the program's end
            self.ending = Ending(1, reason)
        return actions

    # the end

    def end(
        self,
        status: int,
        reason: str,
        now: float,
        number: int | None = None,
        show_last_words: bool = False,
        out_of_memory: bool = False,
        at_once: bool = False,
    ) -> list[Action]:
        """Begin the end, unless it has begun.

        A program that still runs is told of the *reason*, unless all is to end *at_once*; it gets the signal *number*
        first, if any.
        """
        if self.ending is not None:
            return []
        self.ending = Ending(status, reason, out_of_memory)
        if self._observers and reason:
            self._observers.tell(events.RunFailing(status, reason, self.job_state(now).value))
        elif self._observers:
            self._observers.tell(events.RunEnding(status, reason))
        has_program = self._plan.pool is None and self.phase is Phase.RUNNING
        told = reason if has_program and not at_once else ""
        actions: list[Action] = [ShowLastWords()] if show_last_words else []
        actions += self._tell_all(Shutdown(number, told))
        actions += self._remove_environment()
        self._ending_at = now
        self._leave_until = now + self._policy.farewell + (self._policy.program_grace if told else 0.0)
        self.phase = Phase.ENDING
        self._depart([node for node in self._membership.present() if not node.welcomed])  # they have nothing to end
        return actions + self._tell_client()

    def _end_at_once(self, now: float) -> list[Action]:
        """Give the program no more time."""
        self._leave_until = now + self._policy.farewell
        return self._tell_all(Shutdown())

    def fail(self, status: int, reason: str) -> list[Action]:
        """Take it that the driver itself cannot go on: the run is over, and this is why."""
        self.ending = Ending(status, reason)
        self.phase = Phase.OVER
        if self._observers:
            self._observers.tell(events.RunFailing(status, reason))
        return self._tell_client()

    def _tell_client(self) -> list[Action]:
        if self._client_knows or self.ending is None:
            return []
        self._client_knows = True
        return [Report(Fault(self.ending.reason, self.ending.status))]

    def job_state(self, now: float) -> JobState:
        """Return what the ending makes of the job, at *now*, when the run is over."""
        ending = self.ending
        if ending is None:
            return JobState.RUNNING
        if ending.status == 0:
            return JobState.COMPLETED
        if ending.out_of_memory:
            return JobState.OUT_OF_MEMORY
        if ending.status == _TERMINATED and ending.reason and self._is_late(now):
            return JobState.TIMEOUT
        own = ending.status in (_INTERRUPTED, _TERMINATED) and ending.reason
        return JobState.CANCELLED if own else JobState.FAILED

    def _is_late(self, now: float) -> bool:
        """Return whether the job's walltime is over: then that is why SIGTERM comes."""
        return self._plan.ends_at is not None and now >= self._plan.ends_at - self._policy.walltime_slack

    # what others may know

    def is_agent(self, sender: AgentName) -> bool:
        """Return whether *sender* is one of the run's agents."""
        return self._membership.of(sender) is not None

    def where(self, sender: AgentName) -> str:
        """Return the name of the node that the agent *sender* is on."""
        node = self._membership.of(sender)
        return sender if node is None else node.name

    def is_given_up(self, sender: AgentName) -> bool:
        """Return whether *sender* is the agent of a node that is lost."""
        node = self._membership.of(sender)
        return node is not None and node.is_lost

    def missing(self) -> list[str]:
        """Return the nodes whose agent or broker has not reported."""
        return [node.name for node in self._membership.hoped_for() if node.broker is None]

    def remaining(self) -> list[str]:
        """Return the nodes whose agent has reported and has not left."""
        return [node.name for node in self._membership.present()]

    def _node_of(self, sender: AgentName, message: Message) -> Node:
        """Return the agent's node; raise ProtocolError if *sender* is no agent of this run."""
        node = self._membership.of(sender)
        if node is None:
            raise ProtocolError(f"{sender!r}, which is no agent of this run, sent the driver {message!r}")
        return node

    def _warn(self, text: str) -> list[Action]:
        if self._observers:
            self._observers.tell(events.Warned(text))
        return [Warn(text)]


def dialling_part(curve: Curve | None) -> Curve | None:
    """Return of a run's keys what is needed to connect: an agent gets the rest later, over the encrypted connection."""
    return None if curve is None else Curve(curve.server_public, "", curve.client_public, curve.client_secret)


def _of(number: int, planned: int) -> str:
    """Say how many nodes of those there could be.

    >>> _of(3, 4)
    '3 of 4 nodes'
    """
    return f"{number} of {planned} nodes"
