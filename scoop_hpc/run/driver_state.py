"""The driver's decisions: whom to start, what to tell whom, and how the run ends; no socket, no clock.

::

    JOINING --all Hello, all BrokerUp--> RUNNING --end()--> ENDING --all Bye, or their time is over--> OVER
        '---------------- end() --------------------------->'

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
from scoop_hpc.hostlist import first_label, fold
from scoop_hpc.launchers.base import Command
from scoop_hpc.protocol.messages import (
    VERSION,
    BrokerUp,
    Bye,
    Curve,
    Exited,
    Fault,
    Gone,
    Hello,
    Interrupt,
    Message,
    Open,
    Peers,
    Pool,
    Program,
    Shutdown,
    Welcome,
)
from scoop_hpc.protocol.names import ORIGIN, AgentName, NodeIndex, WorkerName, described, is_worker
from scoop_hpc.protocol.strangers import Strangers, shortened
from scoop_hpc.run.exits import OUT_OF_MEMORY, describe_exit, how_it_died
from scoop_hpc.run.placement import NodePlan
from scoop_hpc.run.policy import DriverPolicy
from scoop_hpc.schedulers.job_state import JobState

# what schedulers send before the end, on request; a program that does not heed them is ended by them [signal(7)]
_WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
_INTERRUPTED = 128 + signal.SIGINT
_TERMINATED = 128 + signal.SIGTERM
_NOT_ITS_OWN = ", not at the program's end: a task, or a library, called exit() or exec() in it"


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
    ends_at: float | None = None  # when the job's walltime is over, by the same clock as all times


class CommandEnd(Struct, frozen=True):
    """The end of a launcher's command."""

    command: Command
    pid: int
    status: int  # as of `os.waitstatus_to_exitcode`
    said: str = ""  # the last line that it printed, or that was an error of ours
    complaint: str = ""  # the last line that was an error of ours: srun tells after it how its tasks ended
    out_of_memory: bool = False


class _Detached(Struct, frozen=True):
    """The end of a launcher's command whose agent was connected."""

    words: str  # how it ended
    cause: str  # the same as the reason of the run's end
    since: float


class _Node(Struct):
    """The driver's knowledge of a node."""

    index: NodeIndex
    name: str
    workers: int | None  # None: their number is not known yet
    agent: AgentName | None = None  # once it has reported
    pid: int | None = None  # the agent's
    welcomed: bool = False
    broker: BrokerUp | None = None
    detached: _Detached | None = None


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
        self._nodes = [_Node(NodeIndex(index), node.name, node.workers) for index, node in enumerate(plan.nodes)]
        self._names = tuple(node.name for node in plan.nodes)
        self._by_label = {first_label(node.name): node for node in self._nodes}
        self._by_agent: dict[AgentName, _Node] = {}
        self._unwelcomed: list[_Node] = []  # their agents have reported
        self._uncounted = sum(node.workers is None for node in self._nodes)
        self._expected: set[NodeIndex] = set()  # their agents have reported, and have not left
        self._departed: set[NodeIndex] = set()  # nothing more is expected of them
        self._brokers = 0  # that are up
        self._disconnected: dict[NodeIndex, float] = {}  # since when
        self._commands: deque[Command] = deque()  # to be started
        self._workers_left = 0  # beside the origin
        self._begun = 0  # agents whose commands were started
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
        times = [since + self._policy.lost_after for since in self._disconnected.values()]
        if self.ending is None and self._interrupted_at is not None:
            times.append(self._interrupted_at + self._policy.interrupt_grace)
        if self.phase is Phase.JOINING and self._join_until is not None:
            times.append(self._join_until)
        if self.phase is Phase.ENDING and self._leave_until is not None:
            times.append(self._leave_until)
        if self._look_at is not None:
            times.append(self._look_at)
        return min(times, default=None)

    def pass_time(self, now: float) -> list[Action]:
        """Do what is due at *now*."""
        actions: list[Action] = []
        if self._look_at is not None and now >= self._look_at:
            self._look_at = now + self._policy.look
            actions.append(LookAtMemory())
        for index, since in list(self._disconnected.items()):
            if now >= since + self._policy.lost_after:
                del self._disconnected[index]
                actions += self._lose(self._nodes[index], now)
        if self._interrupted_at is not None and now >= self._interrupted_at + self._policy.interrupt_grace:
            actions += self.end(_INTERRUPTED, "interrupted", now, signal.SIGTERM)
        if self.phase is Phase.JOINING and self._join_until is not None and now >= self._join_until:
            reason = f"no word within {self._plan.patience:g} s from: {', '.join(self.missing())}"
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
            self._observers.tell(events.RunStarting(len(self._nodes), program))
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
            if not self._plan.one_machine and self._begun - len(self._by_agent) >= self._policy.agents_at_once:
                break
            command = self._commands.popleft()
            self._begun += len(command.nodes)
            actions.append(Start(command))
        return actions

    # messages

    @singledispatchmethod
    def handle(self, message: Message, sender: AgentName, now: float) -> list[Action]:
        """Take in one message of the agent *sender*; raise ProtocolError for one that has no meaning here."""
        raise ProtocolError(f"the agent {sender!r} sent the driver {message!r}")

    @handle.register
    def _on_hello(self, message: Hello, sender: AgentName, now: float) -> list[Action]:
        if self.ending is not None:
            # too late: it has nothing to end yet; one that has was told already
            return [] if sender in self._by_agent else [Send(sender, Shutdown())]
        node = self._by_label.get(first_label(message.node))
        if node is None and self.phase is not Phase.JOINING:
            raise ProtocolError(f"{sender!r} reports from node {message.node!r}, which is not part of the run")
        if node is None:
            reason = f"an agent reports from node {message.node!r}, which is not part of the run"
            return self.end(1, reason, now)
        if node.agent is not None:  # the same agent, by another of the driver's addresses
            return []
        self._python = self._python or message.python
        if message.version != VERSION or message.python != self._python:
            others = "the driver" if self._plan.python else "another"
            return self.end(
                1,
                f"node {message.node} runs Python {message.python} with protocol {message.version}, {others} "
                f"{self._python} with {VERSION}: install the same on all nodes",
                now,
            )
        node.agent, node.pid = sender, message.pid
        self._by_agent[sender] = node
        self._expected.add(node.index)
        self._unwelcomed.append(node)
        actions: list[Action] = []
        if node.workers is None:
            node.workers = message.cpus
            self._uncounted -= 1
        elif self._plan.warn and node.workers > message.cpus:
            actions += self._warn(f"node {node.name}: {node.workers} workers on {message.cpus} CPUs")
        if self._observers:
            joined = events.NodeJoined(node.name, message.host, message.pid, message.cpus, node.workers)
            self._observers.tell(joined)
        return [*actions, *self._start_more(), *self._welcome_all()]

    def _welcome_all(self) -> list[Action]:
        """Welcome who waits for it; nobody as long as some node's workers cannot be counted."""
        if self._uncounted:
            return []
        waiting, self._unwelcomed = self._unwelcomed, []
        size = self._size()
        actions: list[Action] = []
        for node in waiting:
            node.welcomed = True
            if node.agent is not None:
                actions.append(Send(node.agent, self._welcome(node, size)))
        return actions

    def _size(self) -> int:
        """Return the number of workers of the run, as far as they are counted."""
        return sum(node.workers or 0 for node in self._nodes)

    def _welcome(self, node: _Node, size: int) -> Welcome:
        return Welcome(
            node=node.index,
            workers=node.workers or 0,
            size=size,
            program=self._plan.program,
            nodes=self._names,
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
        )

    @handle.register
    def _on_broker_up(self, message: BrokerUp, sender: AgentName, now: float) -> list[Action]:
        node = self._node_of(sender, message)
        if node.index != message.node:
            raise ProtocolError(f"the agent {sender!r} sent the driver {message!r}")
        if node.broker is None:
            self._brokers += 1
        node.broker = message
        if self._observers:
            self._observers.tell(events.BrokerJoined(node.name, message.main))
        if self.phase is not Phase.JOINING or self._brokers < len(self._nodes):
            return []
        return self._begin()

    def _begin(self) -> list[Action]:
        """Tell all nodes of each other, now that all are ready; the first starts the program."""
        self.phase = Phase.RUNNING
        self._workers_left = self._size()
        if self._observers:
            self._observers.tell(events.RunBegan(len(self._nodes), self._size()))
        brokers = [node.broker for node in self._nodes if node.broker is not None]
        peers = Peers(tuple(brokers))
        actions: list[Action] = [RemoveEnvironment()]  # before the program begins
        actions += [Send(agent, peers) for agent in self._by_agent]
        if self._plan.pool is not None:
            actions.append(Report(Open(self._size(), brokers[0], dialling_part(self._plan.curve))))
        return actions

    @handle.register
    def _on_exited(self, message: Exited, sender: AgentName, now: float) -> list[Action]:
        where = self._node_of(sender, message).name
        if message.name == ORIGIN and message.status >= 0 and message.own_end:
            return self.end(message.status, "", now)
        who = f"{described(message.name)} (pid {message.pid})"
        died = f"{who} on {where} {how_it_died(message, False)}"
        if is_worker(message.name) and message.name != ORIGIN and self.phase is Phase.RUNNING:
            return self._lose_worker(message, f"{who} on {where}", now)
        if message.name != ORIGIN:
            return self.end(1, died, now, out_of_memory=message.out_of_memory)
        if message.status >= 0:  # 0 is for a program that has ended
            return self.end(message.status or 1, f"{died}{_NOT_ITS_OWN}", now)
        return self.end(128 - message.status, died, now, out_of_memory=message.out_of_memory)

    def _lose_worker(self, message: Exited, who: str, now: float) -> list[Action]:
        """Go on without a worker that died: its agent has seen to its tasks, all drop those that it had submitted."""
        how = f"{who} {how_it_died(message, message.is_too_long)}"
        if self._plan.pool is not None and self._plan.pool.breaks:
            return self.end(1, how, now, out_of_memory=message.out_of_memory)
        if not message.is_replaced:
            self._workers_left -= 1
            if self._workers_left <= 0:
                return self.end(1, f"{how}; no worker is left", now, out_of_memory=message.out_of_memory)
        doing = f", in {message.task}" if message.task else ""
        then = "another takes its place" if message.is_replaced else "none takes its place: the last ones began no task"
        if self._observers:
            self._observers.tell(events.WorkerLost(f"{how}{doing}"))
        gone = Gone((WorkerName(message.name),))
        agents = [Send(agent, gone) for agent, node in self._by_agent.items() if node.index not in self._departed]
        return [*agents, *self._warn(f"{how}{doing}; {then}")]

    @handle.register
    def _on_fault(self, message: Fault, sender: AgentName, now: float) -> list[Action]:
        self._node_of(sender, message)
        return self.end(message.status or 1, message.reason, now)

    @handle.register
    def _on_bye(self, message: Bye, sender: AgentName, now: float) -> list[Action]:
        node = self._node_of(sender, message)
        if self._observers:
            self._observers.tell(events.AgentLeft(node.name))
        actions = self.end(1, f"the agent on {node.name} left", now)
        self._depart([node])
        return actions

    def refuse(self, sender: AgentName, error: ProtocolError, now: float) -> list[Action]:
        """Take it that *sender* sent something invalid: that ends the run if it is one of its agents."""
        if self.is_agent(sender):
            return self.end(1, f"invalid message of the agent on {self.where(sender)}: {shortened(error)}", now)
        if not self._strangers.is_new(sender):
            return []
        return self._warn(f"dropped a message of {sender!r}: {shortened(error)}")

    # losses

    def disconnected(self, agent: AgentName, now: float) -> list[Action]:
        """Take the end of a connection to *agent*: it is lost, or about to leave."""
        node = self._by_agent.get(agent)
        if node is None:
            return []
        if self._observers and node.index not in self._departed:
            self._observers.tell(events.AgentDisconnected(node.name))
        self._disconnected[node.index] = now
        if node.detached is not None and now < node.detached.since + self._policy.lost_after:
            return self.end(1, node.detached.cause, now)  # both ended together: no need to wait for more
        return []

    def _lose(self, node: _Node, now: float) -> list[Action]:
        """Give up the agent on *node*, which has been without a connection for too long."""
        before = f", after its launcher had ended: {node.detached.words}" if node.detached is not None else ""
        reason = f"the agent (pid {node.pid}) on {node.name} died, or the connection to it broke{before}"
        actions = self.end(1, reason, now)
        self._depart([node])
        return actions

    def command_ended(self, end: CommandEnd, now: float) -> list[Action]:
        """Take the end of a command of the launcher.

        An agent that is connected lives, whatever became of the command that brought it: pbs_tmrsh ends when pbs_mom is
        restarted, its task does not.
        """
        command = end.command
        nodes = [self._by_label[first_label(name)] for name in command.nodes]
        names = ", ".join(command.nodes)
        program = os.path.basename(command.argv[0])
        ended = describe_exit(end.status)
        if self._observers:
            words = f"{ended}: {end.said}" if end.said else ended
            self._observers.tell(events.CommandEnded(program, fold(command.nodes), end.pid, words))
        if self._plan.one_machine:
            died = f"the agent (pid {end.pid}) on {names} died: {ended}{OUT_OF_MEMORY if end.out_of_memory else ''}"
            actions = self.end(1, died, now, show_last_words=True, out_of_memory=end.out_of_memory)
            self._depart(nodes)
            return actions
        if len(nodes) == 1 and end.said:
            said = end.said.removeprefix(f"node {names}: ")
            what = "lost the agent" if self._have_agents(nodes) else "no agent"
            return self._detach(nodes, said, f"{what} on {names}: {said}", now, show_last_words=False)
        who = f"{program} (pid {end.pid}) on {self._plan.host}"
        who += f" for {names}" if len(nodes) == 1 else ""
        died = f"{who} died: {ended}" + (f": {end.complaint}" if end.complaint else "")
        return self._detach(nodes, died, died, now, show_last_words=True)

    def _detach(
        self, nodes: Sequence[_Node], words: str, cause: str, now: float, show_last_words: bool
    ) -> list[Action]:
        """End the run, unless the agents that a command brought are connected, and need it no more."""
        connected = self._have_agents(nodes) and not any(node.index in self._disconnected for node in nodes)
        if not self._plan.outlived or not connected:
            return self.end(1, cause, now, show_last_words=show_last_words)
        if self._observers and self.ending is None:
            self._observers.tell(events.LauncherGone(fold([node.name for node in nodes]), words))
        for node in nodes:
            node.detached = _Detached(words, cause, now)
        return []

    def _have_agents(self, nodes: Sequence[_Node]) -> bool:
        """Return whether the agents on all of *nodes* have reported, and none of them has left."""
        return all(node.agent is not None and node.index not in self._departed for node in nodes)

    def _depart(self, nodes: Sequence[_Node]) -> None:
        """Expect nothing more of the agents on *nodes*."""
        for node in nodes:
            self._departed.add(node.index)
            self._expected.discard(node.index)
        if self.ending is not None and not self._expected:
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
        origin = self._nodes[0].agent
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
        actions += self._shut_down(Shutdown(number, told))
        actions.append(RemoveEnvironment())
        self._ending_at = now
        self._leave_until = now + self._policy.farewell + (self._policy.program_grace if told else 0.0)
        self.phase = Phase.ENDING
        self._depart([node for node in self._by_agent.values() if not node.welcomed])  # they have nothing to end
        return actions + self._tell_client()

    def _shut_down(self, message: Shutdown) -> list[Action]:
        return [Send(agent, message) for agent, node in self._by_agent.items() if node.index not in self._departed]

    def _end_at_once(self, now: float) -> list[Action]:
        """Give the program no more time."""
        self._leave_until = now + self._policy.farewell
        return self._shut_down(Shutdown())

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
        return sender in self._by_agent

    def where(self, sender: AgentName) -> str:
        """Return the name of the node that the agent *sender* is on."""
        node = self._by_agent.get(sender)
        return sender if node is None else node.name

    def missing(self) -> list[str]:
        """Return the nodes whose agent or broker has not reported."""
        return [node.name for node in self._nodes if node.broker is None]

    def remaining(self) -> list[str]:
        """Return the nodes whose agent has reported and has not left."""
        return [node.name for node in self._nodes if node.index in self._expected]

    def _node_of(self, sender: AgentName, message: Message) -> _Node:
        """Return the agent's node; raise ProtocolError if *sender* is no agent of this run."""
        node = self._by_agent.get(sender)
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
