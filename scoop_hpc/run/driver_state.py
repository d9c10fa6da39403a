"""The driver's decisions: whom to start, what to tell whom, and how the run ends; no socket, no clock.

::

    JOINING --all Hello, all BrokerUp--> RUNNING --end()--> ENDING --all Bye, or their time is over--> OVER
        '---------------- end() --------------------------->'

While it is RUNNING, a node that is lost does not end the run, unless it is the first, or too few are left; one that
reports late, or anew, is taken in. The driver alone judges that a node is lost, and tells the others: nobody else acts
on a suspicion. An agent that is given up, and is heard of again, is told so.

What happens is told by method calls, each with the time *now*: in seconds, of a clock that only goes forward. Each
returns actions for the shell to carry out, in their order. When nothing happens, `pass_time` is to be called at
`deadline`. The parts that decide are in `driving`: this is what the shell sees of them.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from functools import singledispatchmethod

from scoop_hpc import events
from scoop_hpc.errors import ProtocolError
from scoop_hpc.events import NOBODY, Observers
from scoop_hpc.launchers.base import Command, FailedLaunch
from scoop_hpc.protocol.messages import (
    Accounts,
    Beat,
    BrokerUp,
    Bye,
    Drained,
    Exited,
    Fault,
    FileLost,
    GivenUp,
    Hello,
    Interrupt,
    Join,
    Known,
    Leave,
    LinkBroken,
    Message,
    Progress,
    RelayUp,
    Seen,
    Shutdown,
    Watch,
)
from scoop_hpc.protocol.names import AgentName, is_same_agent, node_of
from scoop_hpc.protocol.strangers import Strangers, shortened
from scoop_hpc.run.driving.actions import Action, LookAtMemory, Send, ShowNode, ShowTraceback, warn
from scoop_hpc.run.driving.joining import Joining
from scoop_hpc.run.driving.launches import Launches
from scoop_hpc.run.driving.life import INTERRUPTED, Ending, Life, Phase
from scoop_hpc.run.driving.losses import Losses
from scoop_hpc.run.driving.lost_files import LostFiles
from scoop_hpc.run.driving.membership import Membership, Node
from scoop_hpc.run.driving.parties import Parties
from scoop_hpc.run.driving.plan import RunPlan
from scoop_hpc.run.driving.refusals import Refusals
from scoop_hpc.run.driving.relays import Relays
from scoop_hpc.run.driving.witnesses import CommandEnd, Witnesses
from scoop_hpc.run.policy import DriverPolicy
from scoop_hpc.run.watching.accounts import NodeAccounted
from scoop_hpc.schedulers.job_state import JobState

# what schedulers send before the end, on request; a program that does not heed them is ended by them [signal(7)]
_WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)


class DriverState:
    """The state machine of a run."""

    def __init__(self, plan: RunPlan, policy: DriverPolicy | None = None, observers: Observers = NOBODY) -> None:
        self.is_abandoned = False  # nobody may be left who reads the output
        self._plan = plan
        self._policy = policy or DriverPolicy()
        self._observers = observers
        self._membership = Membership(plan.nodes)
        self._life = Life(plan, self._policy, self._membership, observers)
        self._joining = Joining(plan, self._policy, self._membership, self._life, observers)
        self._losses = Losses(plan, self._membership, self._life, self._joining, observers)
        self._witnesses = Witnesses(plan, self._policy, self._membership, self._life, self._losses, observers)
        self._parties = Parties(self._policy, self._membership, self._life, self._joining, self._losses, observers)
        self._refusals = Refusals(self._policy, self._membership, self._life, self._losses)
        self._lost_files = LostFiles(self._policy, plan.one_machine, observers)
        self._relays = Relays(self._policy, self._membership)
        self._launches = Launches(
            plan,
            self._policy,
            self._membership,
            self._life,
            self._joining,
            self._losses,
            self._witnesses,
            self._relays,
            observers,
        )
        self._strangers = Strangers()
        self._tracebacks: set[str] = set()  # of the program, that were shown
        self._interrupted_at: float | None = None
        self._look_at: float | None = None

    @property
    def phase(self) -> Phase:
        """The step of the run's life."""
        return self._life.phase

    @property
    def ending(self) -> Ending | None:
        """How the run ends, once that is known."""
        return self._life.ending

    # time

    def deadline(self) -> float | None:
        """Return when to call `pass_time` at the latest; None: nothing is due."""
        parts = (
            self._witnesses,
            self._launches,
            self._joining,
            self._parties,
            self._refusals,
            self._lost_files,
            self._life,
        )
        times = [self._look_at, *(part.deadline() for part in parts)]
        if self.ending is None and self._interrupted_at is not None:
            times.append(self._interrupted_at + self._policy.interrupt_grace)
        return min((time for time in times if time is not None), default=None)

    def pass_time(self, now: float) -> list[Action]:
        """Do what is due at *now*."""
        actions: list[Action] = []
        if self._look_at is not None and now >= self._look_at:
            self._look_at = now + self._policy.look
            actions.append(LookAtMemory())
        actions += [*self._witnesses.pass_time(now), *self._launches.pass_time(now)]
        if self._interrupted_at is not None and now >= self._interrupted_at + self._policy.interrupt_grace:
            actions += self.end(INTERRUPTED, "interrupted", now, signal.SIGTERM)
        actions += [*self._parties.pass_time(now), *self._refusals.pass_time(now), *self._lost_files.pass_time(now)]
        return [*actions, *self._joining.pass_time(now), *self._life.pass_time(now)]

    # starting

    def start(self, commands: Sequence[Command], now: float) -> list[Action]:
        """Begin: start the launcher's *commands*, but not too many at once whose agents have not reported."""
        if self._plan.one_machine:
            self._look_at = now + self._policy.look
        return self._joining.start(commands, now)

    def command_started(self, command: Command, pid: int, now: float) -> None:
        """Note that *command* runs."""
        self._joining.command_started(command, pid)
        self._launches.command_started(command, pid, now)
        self._witnesses.command_started(command, pid)

    def command_failed(self, reason: str, now: float) -> list[Action]:
        """Take it that a command cannot be started: before the run begins, that is for the user to mend."""
        return self.end(2 if self.phase is Phase.JOINING else 1, reason, now)

    def command_ended(self, end: CommandEnd, now: float) -> list[Action]:
        """Take the end of a command of the launcher."""
        if self._observers:
            self._observers.tell(end.as_event())
        return self._launches.command_ended(end, now)

    def launch_failed(self, failed: FailedLaunch) -> list[Action]:
        """Take it that a command cannot start the agent on a node, and is about to end all that it has started."""
        return self._launches.failed(failed)

    # messages

    def handle(self, message: Message, sender: AgentName, now: float) -> list[Action]:
        """Take in one message of the agent *sender*; raise ProtocolError for one that has no meaning here."""
        if self._membership.is_disowned(sender):
            return [] if isinstance(message, Bye) else [Send(sender, Shutdown())]
        node = self._membership.of(sender)
        if node is not None and node.is_lost and not (node.has_left and isinstance(message, Accounts | Bye)):
            return self._answer_lost(message, node, sender)
        return self._take(message, sender, now)

    def _answer_lost(self, message: Message, node: Node, sender: AgentName) -> list[Action]:
        """Let an agent that was given up, and is heard of again, know."""
        if not node.welcomed or isinstance(message, Hello | Bye):
            return []
        may_return = self.ending is None and not node.is_leaving
        return [Send(sender, GivenUp() if may_return else Shutdown())]

    @singledispatchmethod
    def _take(self, message: Message, sender: AgentName, now: float) -> list[Action]:
        raise ProtocolError(f"the agent {sender!r} sent the driver {message!r}")

    @_take.register
    def _on_hello(self, message: Hello, sender: AgentName, now: float) -> list[Action]:
        if self.ending is not None:
            # too late: it has nothing to end yet; one that has was told already
            return [] if self.is_agent(sender) else [Send(sender, Shutdown())]
        node = self._membership.named(message.node, message.party)
        if node is not None and self._launches.is_failing(node):  # the agent is about to be ended
            self._membership.disown(sender)
            return [Send(sender, Shutdown())]
        if node is None and message.party:
            node = self._parties.node_of(message)
        if node is None and (message.party or self.phase is not Phase.JOINING):
            raise ProtocolError(f"{sender!r} reports from node {message.node!r}, which is not part of the run")
        if node is None:
            reason = f"an agent reports from node {message.node!r}, which is not part of the run"
            return self.end(1, reason, now)
        if node.agent is not None and is_same_agent(node.agent, sender):  # by another of the driver's addresses
            return []
        actions: list[Action] = []
        if node.pid not in (None, message.pid) and node.disconnected_at is None and not node.is_lost:
            self._membership.disown(sender)  # the agent of another launch: see `Launches`
            return [Send(sender, Shutdown())]
        if node.agent is not None and not node.is_lost:
            reason = f"the agent (pid {node.pid}) on {node.name} has begun anew"
            actions += self._losses.lose(node, "its agent has begun anew", reason, now, is_gone=True)
            if self.ending is not None:
                return [*actions, Send(sender, Shutdown())]
        if node.is_lost:
            if node.is_leaving:  # its allocation has ended, or the user wants it so
                return [*actions, Send(sender, Shutdown())]
            if self._membership.losses(node) > self._policy.returns:
                text = f"node {node.name} was lost {self._policy.returns + 1} times: it is left out from now on"
                return [*actions, Send(sender, Shutdown()), *self._warn(text)]
            node = self._membership.again(node)
        mismatch = self._joining.report(node, message, sender)
        if mismatch is not None:
            reason = f"node {message.node} {mismatch}"
            return [*actions, *self._losses.lose(node, f"it {mismatch}", reason, now)]
        return [*actions, *self._joining.join(node, message)]

    @_take.register
    def _on_broker_up(self, message: BrokerUp, sender: AgentName, now: float) -> list[Action]:
        node = self._node_of(sender, message)
        if node.index != message.node:
            raise ProtocolError(f"the agent {sender!r} sent the driver {message!r}")
        return [*self._joining.broker_up(node, message), *self._relays.place(node)]

    @_take.register
    def _on_relay_up(self, message: RelayUp, sender: AgentName, now: float) -> list[Action]:
        return self._relays.up(self._node_of(sender, message), message.address)

    @_take.register
    def _on_exited(self, message: Exited, sender: AgentName, now: float) -> list[Action]:
        node = self._node_of(sender, message)
        return [*self._losses.exited(message, node, now), *self._parties.judge(message, node, now)]

    @_take.register
    def _on_fault(self, message: Fault, sender: AgentName, now: float) -> list[Action]:
        node = self._node_of(sender, message)
        if message.of_node:
            what = message.reason.removeprefix(f"node {node.name}: ")
            needs_it = self.phase is Phase.JOINING and self.ending is None and not self._losses.can_spare(node)
            if needs_it and message.status and not self._plan.one_machine:
                self._refusals.add(node, what, message.status, now)
                return []
            return self._losses.lose(node, what, message.reason, now, status=message.status or 1)
        is_new = message.traceback not in ("", *self._tracebacks)  # every worker may have the same
        if is_new:
            self._tracebacks.add(message.traceback)
        shown = [ShowTraceback(message.traceback)] if is_new else []
        return [*shown, *self.end(message.status or 1, message.reason, now)]

    @_take.register
    def _on_file_lost(self, message: FileLost, sender: AgentName, now: float) -> list[Action]:
        self._lost_files.add(self._node_of(sender, message), message.what, now)
        return []

    @_take.register
    def _on_link_broken(self, message: LinkBroken, sender: AgentName, now: float) -> list[Action]:
        node, peer = self._node_of(sender, message), node_of(message.peer)
        if peer >= len(self._membership.nodes) or peer == node.index:
            raise ProtocolError(f"the agent {sender!r} sent the driver {message!r}")
        self._witnesses.link_broken(node, peer, now)
        return []

    @_take.register
    def _on_beat(self, message: Beat, sender: AgentName, now: float) -> list[Action]:
        """Tell an agent all, after its connection was lost, if it does not know all."""
        node = self._node_of(sender, message)
        if self.phase is not Phase.RUNNING or not node.is_up:
            return []
        peers, gone = self._joining.all_peers(), self._losses.gone()
        up, left = len(peers.brokers), len(gone.left)
        if message.known == Known(up, len(gone.nodes), len(peers.leaving), left, len(gone.workers)):
            return []
        return [Send(sender, peers), Send(sender, gone)]

    @_take.register
    def _on_bye(self, message: Bye, sender: AgentName, now: float) -> list[Action]:
        node = self._node_of(sender, message)
        if self._observers:
            self._observers.tell(events.AgentLeft(node.name))
        return self._losses.lose(node, "its agent left", f"the agent on {node.name} left", now, is_gone=True)

    @_take.register
    def _on_join(self, message: Join, sender: AgentName, now: float) -> list[Action]:
        return self._parties.join(message, sender)

    @_take.register
    def _on_leave(self, message: Leave, sender: AgentName, now: float) -> list[Action]:
        return self._parties.leave(message, sender, now)

    @_take.register
    def _on_drained(self, message: Drained, sender: AgentName, now: float) -> list[Action]:
        return self._parties.drained(self._node_of(sender, message), now)

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

    @_take.register
    def _on_seen(self, message: Seen, sender: AgentName, now: float) -> list[Action]:
        node = self._node_of(sender, message)
        return [ShowNode(node.index, message)]

    def watch(self, interval: float | None) -> list[Action]:
        """Have all agents tell every *interval* seconds what their nodes do, from now on; None: no more."""
        message = None if interval is None else Watch(interval)
        if message == self._joining.watch:
            return []
        self._joining.watch = message
        return self._losses.tell_welcome(Watch(interval))

    def refuse(self, sender: AgentName, error: ProtocolError, now: float) -> list[Action]:
        """Take it that *sender* sent something invalid: that costs its node, if it is one of the run's agents."""
        if self._membership.is_disowned(sender):
            return []
        node = self._membership.of(sender)
        if node is not None:
            what = f"invalid message of its agent: {shortened(error)}"
            reason = f"invalid message of the agent on {node.name}: {shortened(error)}"
            return [] if node.is_lost else self._losses.lose(node, what, reason, now)
        if not self._strangers.is_new(sender):
            return []
        return self._warn(f"dropped a message of {sender!r}: {shortened(error)}")

    # connections

    def disconnected(self, agent: AgentName, now: float) -> list[Action]:
        """Take the end of a connection to *agent*: it is lost, or about to leave."""
        node = self._membership.of(agent)
        return [] if node is None else [*self._witnesses.disconnected(node, now), *self._relays.lost(node)]

    def connected(self, agent: AgentName) -> None:
        """Take a new connection to *agent*, in the place of one that was lost."""
        node = self._membership.of(agent)
        if node is not None:
            self._witnesses.connected(node)

    def has_way(self, agent: AgentName, by_relay: bool) -> list[Action]:
        """Take it that *agent* has a way to here again, or a new one: a connection of its own, or that of a relay."""
        node = self._membership.of(agent)
        if node is None:
            return []
        self._witnesses.connected(node)
        return [] if self.ending is not None else self._relays.has_way(node, by_relay)

    def refused(self, agent: AgentName, now: float) -> list[Action]:
        """Take it that the machine of *agent* refuses connections to its broker, after a `Probe`."""
        node = self._membership.of(agent)
        return [] if node is None else self._witnesses.refused(node, now)

    def answered(self, agent: AgentName, now: float) -> None:
        """Take it that the machine of *agent* accepts connections to its broker, after a `Probe`."""
        node = self._membership.of(agent)
        if node is not None:
            self._witnesses.answered(node, now)

    # signals, the client, the output

    def signalled(self, number: int, now: float) -> list[Action]:
        """Take the signal *number*, one that ends processes."""
        self.is_abandoned = True
        name = signal.Signals(number).name
        if self._observers:
            self._observers.tell(events.SignalReceived(name))
        if number == signal.SIGINT:
            if self.phase is Phase.ENDING:
                return self._life.end_at_once(now)
            if self._interrupted_at is not None:
                return self.end(INTERRUPTED, "interrupted", now, at_once=True)
            self._interrupted_at = now
            return self._signal_origin(number) or self.end(INTERRUPTED, "interrupted", now)
        passed_on = self._signal_origin(number) if number in _WARNINGS else []
        why = ": its walltime was over" if number == signal.SIGTERM and self._life.is_late(now) else ""
        return passed_on or self.end(128 + number, f"ended by {name}{why}", now, number)

    def _signal_origin(self, number: int) -> list[Action]:
        """Pass a signal on to the program, if it may have begun."""
        origin = self._membership.nodes[0].agent
        if origin is None or self.phase is Phase.JOINING:
            return []
        return [Send(origin, Interrupt(number))]

    def client_left(self, now: float, lost: bool) -> list[Action]:
        """Take it that the client of a pool wants nothing more, perhaps because it is *lost*."""
        self.is_abandoned = self.is_abandoned or lost
        return self._life.client_left(now)

    def output_failed(self, reason: str, now: float) -> list[Action]:
        """Take it that output of the program is lost: the run has not succeeded."""
        return self._life.output_failed(reason, now)

    # the end

    def end(
        self, status: int, reason: str, now: float, number: int | None = None, at_once: bool = False
    ) -> list[Action]:
        """Begin the end, unless it has begun: the program gets the signal *number* first, or no time *at_once*."""
        return self._life.end(status, reason, now, number, at_once=at_once)

    def fail(self, status: int, reason: str) -> list[Action]:
        """Take it that the driver itself cannot go on: the run is over, and this is why."""
        return self._life.fail(status, reason)

    def sum_up(self) -> list[Action]:
        """Name, at the end, the nodes that were lost, unless that was done when it began; and lost files."""
        return [*self._lost_files.tell(), *self._life.sum_up()]

    def job_state(self, now: float) -> JobState:
        """Return what the ending makes of the job, at *now*, when the run is over."""
        return self._life.job_state(now)

    # what others may know

    def is_agent(self, sender: AgentName) -> bool:
        """Return whether *sender* is one of the run's agents."""
        return self._membership.of(sender) is not None

    def where(self, sender: AgentName) -> str:
        """Return the name of the node that the agent *sender* is on."""
        node = self._membership.of(sender)
        return sender if node is None else node.name

    def is_given_up(self, sender: AgentName) -> bool:
        """Return whether *sender* is the agent of a node that is lost, or of a launch that was given up."""
        node = self._membership.of(sender)
        return node.is_lost if node is not None else self._membership.is_disowned(sender)

    def missing(self) -> list[str]:
        """Return the nodes whose agent or broker has not reported."""
        return self._joining.missing()

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
        return warn(text, self._observers)
