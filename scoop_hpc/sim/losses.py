"""Losses of nodes, and of connections between them: what happens then, and who learns of it when."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Protocol

from scoop_hpc.broker.actions import Send
from scoop_hpc.protocol.messages import Message, Moved, Results, Tasks
from scoop_hpc.protocol.names import BrokerName, ProcessName, is_broker
from scoop_hpc.run.driver_state import DriverState
from scoop_hpc.run.driving import actions as driver_actions
from scoop_hpc.sim.agenda import Agenda, Process
from scoop_hpc.sim.faults import Cut, NodeLoss, Silence
from scoop_hpc.sim.ledger import Ledger, Violation
from scoop_hpc.sim.network import Hold, Hush, Network
from scoop_hpc.sim.nodes import Broker, Node, Nodes

_WORD = 10.0  # seconds from the end of all trouble until everybody has heard of a loss
_HANGS = 70.0  # seconds: its agent sees that it does not answer before


class Surroundings(Protocol):
    """The run, as the losses use it."""

    agenda: Agenda
    ledger: Ledger
    network: Network
    driver: DriverState
    nodes: Nodes
    troubled_until: float

    def later(self, seconds: float, act: Callable[[], object], process: Process | None = None) -> None:
        """Plan *act* of *process*."""

    def note(self, what: str, message: object = "") -> None:
        """Put an event into the trace."""

    def is_over(self) -> bool:
        """Return whether nothing is to be lost any more."""

    def has_begun(self) -> bool:
        """Return whether the program runs; before, most losses are fatal."""

    def is_in_trouble(self, until: float) -> None:
        """Expect nothing of the run before."""

    def lose_letters(self, senders: Collection[str], delay: float) -> None:
        """Lose what the dead have sent, from some message on."""

    def carry_out(self, actions: Sequence[driver_actions.Action]) -> None:
        """Carry out what the driver has decided."""

    def send(self, broker: Broker, sends: Sequence[Send]) -> None:
        """Send what a broker has decided to."""

    def end_broker(self, node: Node, status: int) -> None:
        """Let the broker of a node end."""

    def lose_agent(self, node: Node) -> None:
        """Let the driver see that it has no connection to an agent."""

    def find_agent(self, node: Node) -> None:
        """Let the driver see that it has a connection to an agent again."""

    def tell_agent_of_connection(self, node: Node, made: bool) -> None:
        """Let an agent know that its connection to the driver is broken, or was *made* again."""

    def report_anew(self, old: Node) -> None:
        """Let a host report as another node than before."""


class Losses:
    """The losses of a *run*."""

    def __init__(self, run: Surroundings) -> None:
        self.count = 0  # of nodes
        self._run = run
        self._cuts: set[frozenset[str]] = set()  # pairs of brokers without a connection

    def plan(self, fault: NodeLoss | Silence | Cut) -> None:
        """Plan what is to happen."""
        begin = self._run.agenda.now + fault.time
        self._run.agenda.at(begin, partial(self._begin, fault))
        seconds = fault.seconds if isinstance(fault, (Silence, Cut)) else 0.0
        self._run.is_in_trouble(begin + seconds)

    def _begin(self, fault: NodeLoss | Silence | Cut) -> None:
        run = self._run
        if run.is_over():
            return
        if not run.has_begun():
            run.later(0.005, partial(self._begin, fault))
            return
        node = run.nodes.on(fault.node)
        if node is None or (node.host == 0 and not isinstance(fault, Cut)):
            return
        match fault:
            case NodeLoss(moment="now"):
                self._lose(node, fault)
            case NodeLoss():
                node.doom = fault
            case Silence() if node.is_member:
                self._fall_silent(node, fault)
            case Cut() if node.is_member:
                other = run.nodes.on(fault.other)
                if other is not None and other is not node and other.is_member:
                    self._cut(node, other, fault.seconds)

    # when it is time for a node to die

    def passes(self, node: Node, moment: str) -> None:
        """Let a node be lost some time after its broker has come to this *moment*, if that is to be."""
        doom = node.doom
        if doom is not None and doom.moment == moment:
            node.doom = None
            self._run.later(doom.seconds, partial(self._lose, node, doom))

    def has_sent(self, node: Node, message: Message) -> None:
        """Note that a broker has sent *message* to another one."""
        if node.doom is None:
            return
        if isinstance(message, Tasks) and message.batches:
            self.passes(node, "stolen")
        elif isinstance(message, Moved):
            self.passes(node, "moved")
        elif isinstance(message, Results):
            self.passes(node, "outcomes")

    def has_got(self, node: Node, message: Message, sender: ProcessName) -> None:
        """Note that a broker has got *message*."""
        if node.doom is not None and isinstance(message, Tasks) and message.batches and is_broker(sender):
            self.passes(node, "thief")

    # deaths

    def _lose(self, node: Node, loss: NodeLoss) -> None:
        run = self._run
        if run.is_over() or node.lost_at is not None:
            return
        if loss.what == "broker":
            if node.broker is not None:
                run.end_broker(node, -6)
            return
        if loss.what == "hang":
            if node.broker is not None:
                run.note(f"broker {node.index} hangs")
                node.broker.stalled_until = run.agenda.now + _HANGS
                run.is_in_trouble(run.agenda.now + _HANGS)
                for each in run.nodes:
                    each.known_until = max(each.known_until, run.agenda.now + _HANGS + _WORD)
            return
        run.note(f"node {node.index} dies, of host {node.host}")
        noticed = min(loss.noticed, 0.05) if loss.what == "agent" else loss.noticed
        self._mark(node, noticed)
        processes = [process for process in (node.process, node.broker, *node.workers.values()) if process is not None]
        run.lose_letters({process.name for process in processes}, noticed + 2.5)
        for process in processes:
            process.is_gone = True
        node.is_cut_off = True
        run.later(noticed, partial(self._disconnect, node))
        if loss.back is not None:
            run.later(noticed + loss.back, partial(run.report_anew, node))

    def _mark(self, node: Node, noticed: float = 0.0) -> None:
        """Count a node as lost from now on."""
        run = self._run
        now = run.agenda.now
        if node.lost_at is None:
            node.lost_at = now
            node.known_until = max(now, run.troubled_until) + noticed + _WORD
            self.count += 1
            run.is_in_trouble(now + noticed)
            if node.index is not None:
                run.ledger.node_lost(str(node.index), now)

    def broker_died(self, node: Node) -> None:
        """Note that a broker has ended, and so its node is lost, unless the run is over."""
        run = self._run
        if not run.is_over():
            assert node.broker is not None
            self._mark(node)
            run.lose_letters({node.broker.name}, 0.05)
            self._break_links(node)

    def has_left(self, node: Node) -> None:
        """Note that an agent has ended, and all on its node; unless the run is over, it has lost the driver."""
        if not self._run.is_over():
            self._mark(node)
            self._run.later(0.01, partial(self._disconnect, node))

    def are_given_up(self, indexes: Collection[int]) -> None:
        """Note that the driver counts nodes as lost, which may live."""
        for node in self._run.nodes:
            if node.index in indexes:
                self._mark(node)

    def is_news(self, members: Iterable[Node]) -> bool:
        """Return whether there is a broker that has yet to hear of a loss."""
        now, found = self._run.agenda.now, False
        for node in self._run.nodes:
            if node.lost_at is None or node.broker is None:
                continue
            name = node.broker.state.name
            for member in members:
                assert member.broker is not None
                if name in member.broker.known and name not in member.broker.gone:
                    if now > node.known_until:
                        raise Violation(f"node {name} is lost, and broker {member.index} has not heard of it")
                    found = True
        return found

    # connections

    def _disconnect(self, node: Node) -> None:
        """Let the driver see that it has no connection to an agent, and the other brokers none to the broker."""
        run = self._run
        node.is_cut_off = True
        run.lose_agent(node)
        self._break_links(node)

    def _break_links(self, node: Node) -> None:
        """Let the brokers see that they have no connection to a node, and that, if it lives, none to them."""
        now = self._run.agenda.now
        for one, other in self._links(node):
            one.state.connection_broke(other, now)

    def _make_links(self, node: Node) -> None:
        for one, other in self._links(node):
            self._make_link(one, other)

    def _make_link(self, broker: Broker, peer: BrokerName) -> None:
        broker.state.connection_made(peer)

    def _links(self, node: Node) -> list[tuple[Broker, BrokerName]]:
        """Return the links of a node to others, and those to it, as each end sees them."""
        broker = node.broker
        if broker is None:
            return []
        others = [other.broker for other in self._run.nodes if other is not node and other.is_member]
        pairs = [(broker, other) for other in others if other is not None and other.state.name in broker.links]
        pairs += [(other, broker) for other in others if other is not None and broker.state.name in other.links]
        return [(one, other.state.name) for one, other in pairs if not one.is_gone]

    def _fall_silent(self, node: Node, silence: Silence) -> None:
        run = self._run
        now, end = run.agenda.now, run.agenda.now + silence.seconds
        run.note(f"node {node.index} is silent for {silence.seconds:g} s")
        names = frozenset({str(node.index), f"agent {node.host}"})
        run.network.hushes.append(Hush(names, now, end))
        run.is_in_trouble(end)
        if silence.is_stopped:
            assert node.broker is not None
            for process in (node.process, node.broker, *node.workers.values()):
                process.stalled_until = max(process.stalled_until, end)
        if silence.noticed < silence.seconds:
            run.later(silence.noticed, partial(self._notice, node, silence))
            run.later(silence.seconds, partial(self._is_heard_again, node, silence))

    def _notice(self, node: Node, silence: Silence) -> None:
        run = self._run
        if node.process.is_gone or run.is_over():
            return
        self._disconnect(node)
        if not silence.is_stopped:
            run.tell_agent_of_connection(node, made=False)

    def _is_heard_again(self, node: Node, silence: Silence) -> None:
        run = self._run
        if node.process.is_gone or run.is_over():
            return
        run.note(f"node {node.index} is heard again")
        node.is_cut_off = False
        run.find_agent(node)
        if silence.is_stopped:
            run.tell_agent_of_connection(node, made=False)
        run.tell_agent_of_connection(node, made=True)
        self._make_links(node)

    def _cut(self, node: Node, other: Node, seconds: float) -> None:
        run = self._run
        now, end = run.agenda.now, run.agenda.now + seconds
        one, another = node.broker, other.broker
        assert one is not None
        assert another is not None
        run.note(f"brokers {one.name} and {another.name} have no connection for {seconds:g} s")
        run.network.holds += [Hold(one.name, another.name, now, end), Hold(another.name, one.name, now, end)]
        self._cuts.add(frozenset({one.name, another.name}))
        run.is_in_trouble(end)
        one.state.connection_broke(another.state.name, now)
        another.state.connection_broke(one.state.name, now)
        run.later(seconds, partial(self._mend, one, another))

    def _mend(self, one: Broker, other: Broker) -> None:
        self._cuts.discard(frozenset({one.name, other.name}))
        for broker, peer in ((one, other), (other, one)):
            if not broker.is_gone:
                self._make_link(broker, peer.state.name)

    def is_cut(self, one: str, other: str) -> bool:
        """Return whether two brokers have no connection."""
        return bool(self._cuts) and frozenset({one, other}) in self._cuts
