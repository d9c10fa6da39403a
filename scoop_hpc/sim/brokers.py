"""The shells of brokers in a simulated run: what they hear and send, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from scoop_hpc.broker.actions import Send as BrokerSend
from scoop_hpc.broker.policy import Policy as BrokerPolicy
from scoop_hpc.protocol.messages import (
    Batch,
    BrokerUp,
    CancelAnswer,
    Gone,
    Message,
    OutcomeLost,
    Peers,
    Ready,
    Results,
    Steal,
    Stop,
    Tasks,
    WorkerDied,
)
from scoop_hpc.protocol.names import AGENT, ProcessName, WorkerName, broker_name, is_broker, is_worker, node_of
from scoop_hpc.sim.agenda import Agenda, Process
from scoop_hpc.sim.ledger import Ledger
from scoop_hpc.sim.losses import Losses
from scoop_hpc.sim.moves import Moves
from scoop_hpc.sim.network import Network
from scoop_hpc.sim.nodes import Broker, Node, Nodes
from scoop_hpc.sim.plan import Scenario
from scoop_hpc.sim.post import Post


class Surroundings(Protocol):
    """The run, as the brokers use it."""

    agenda: Agenda
    ledger: Ledger
    losses: Losses
    moves: Moves
    network: Network
    nodes: Nodes
    post: Post
    scenario: Scenario
    message_cost: float

    def later(self, seconds: float, act: Callable[[], object], process: Process | None = None) -> None:
        """Plan *act* of *process*."""

    def is_in_trouble(self, until: float) -> None:
        """Expect nothing of the run before."""

    def end(self, node: Node, name: ProcessName, status: int, reaped: float | None = None) -> None:
        """Let a process end."""

    def hear_from_broker(self, node: Node, message: Message) -> None:
        """Let the agent of a node hear its broker."""

    def taken(self, batch: Batch) -> Batch:
        """Return outcomes without their reference to a worker's memory, unless that is dead."""


class Brokers:
    """The brokers of a *run*; with *checks*, what they queue is held against the ledger."""

    def __init__(self, run: Surroundings, checks: bool) -> None:
        self._run = run
        self._checks = checks

    def tick(self, broker: Broker) -> None:
        """Let a broker look around, now and from time to time."""
        self._run.later(BrokerPolicy().tick, partial(self.tick, broker), broker)
        self.send(broker, broker.state.tick(self._run.agenda.now))
        self._run.moves.look(self._run.nodes.of(broker.name))

    def hear(self, broker: Broker, sender: ProcessName, message: Message) -> None:
        """Take a message from the socket, once those before it are done with."""
        cost = self._run.message_cost * broker.slowness
        begin = max(self._run.agenda.now, broker.free_at)
        broker.unheard[sender] += 1
        broker.free_at = begin + cost
        self._run.agenda.at(broker.free_at, partial(self._serve, broker, sender, message), broker)

    def _serve(self, broker: Broker, sender: ProcessName, message: Message) -> None:
        broker.unheard[sender] -= 1
        if isinstance(message, Ready) and sender == AGENT:
            broker.agent_is_here = True
            up = BrokerUp(node_of(broker.state.name), ("main",))
            held, broker.for_agent = broker.for_agent, []
            self.send(broker, [BrokerSend(AGENT, each) for each in (up, *held)])
            return
        now, ledger = self._run.agenda.now, self._run.ledger
        if sender not in broker.gone:
            self._note_what_comes(broker, sender, message)
        state = broker.state
        sends = state.handle(message, sender)
        self._run.losses.has_got(self._run.nodes.of(broker.name), message, sender)
        if isinstance(message, Peers):
            self._meet(broker, message)
        elif isinstance(message, Gone):
            self._part(broker, message)
        self.send(broker, sends)
        if self._checks:
            ledger.holds([*state.queue, *state.risky], broker.name, now, broker.gone)
        if isinstance(message, Stop):
            node = self._run.nodes.of(broker.name)
            self._run.later(0.0, partial(self._run.end, node, broker.state.name, 0))

    def _note_what_comes(self, broker: Broker, sender: ProcessName, message: Message) -> None:
        """Let the ledger know what a message changes, which is not one of a worker that is known to be dead."""
        now, ledger = self._run.agenda.now, self._run.ledger
        match message:
            case Tasks():
                ledger.come(message.batches, sender, broker.name, now)
            case Results() if is_worker(sender):
                ledger.passed(message.batches, WorkerName(sender), now)
            case OutcomeLost():
                known = broker.state._in_memory
                for key in [(message.owner, serial) for serial in message.serials]:
                    task = known[key].task if key in known else None
                    if task is None or isinstance(task, Batch):  # else a peer is asked
                        ledger.outcome_lost(*key, broker.name, task, now)
            case CancelAnswer() if is_worker(sender) and message.is_dropped:
                ledger.dropped(message.owner, message.serial, WorkerName(sender), now)
            case WorkerDied():
                broker.gone.setdefault(message.name, now)
                ledger.queued_again(message.name, now)
            case Gone():
                for name in (*message.workers, *map(broker_name, (*message.nodes, *message.left))):
                    broker.gone.setdefault(name, now)
            case Peers():
                for name in map(broker_name, (*message.gone, *message.left)):
                    broker.gone.setdefault(name, now)

    def _part(self, broker: Broker, gone: Gone) -> None:
        """Forget nodes that are gone."""
        for name in map(broker_name, (*gone.nodes, *gone.left)):
            broker.links.pop(name, None)
            broker.early.pop(name, None)

    def _meet(self, broker: Broker, peers: Peers) -> None:
        """Greet new peers; each answers once it knows this broker, too."""
        broker.is_member = True
        self._run.is_in_trouble(self._run.agenda.now)
        for name in [broker_name(up.node) for up in peers.brokers]:
            if name != broker.name and name not in broker.known and name not in broker.gone:
                broker.known.add(name)
                peer = self._run.nodes.of(name).broker
                assert peer is not None
                if broker.state.name in peer.known:
                    self._open_link(broker, peer)
                    self._open_link(peer, broker)

    def _open_link(self, broker: Broker, peer: Broker) -> None:
        """Let *broker* greet its *peer*, and send what it has for it after the answer."""
        name = peer.state.name
        there = self._run.network.arrival(broker.name, name, 30, self._run.agenda.now)
        broker.links[name] = self._run.network.arrival(name, broker.name, 30, max(there, peer.stalled_until))
        self._run.is_in_trouble(broker.links[name])
        self.send(broker, broker.early.pop(name, []), again=True)

    def send(self, broker: Broker, sends: Sequence[BrokerSend], again: bool = False) -> None:
        """Send what a broker has decided to, some of it *again*: it was held back."""
        now = self._run.agenda.now
        for send in sends:
            to, message = send.to, send.message
            if isinstance(message, Tasks) and not again:
                self._run.ledger.leave(message.batches, broker.name, to, now)
            if to == AGENT:
                node = self._run.nodes.of(broker.name)
                if broker.agent_is_here:
                    hear = partial(self._run.hear_from_broker, node)
                    self._run.post.carry(broker.name, f"{node.index}.agent", message, hear, node.process)
                else:
                    broker.for_agent.append(message)
            elif is_broker(to):
                if to not in broker.links:
                    if to not in broker.gone:
                        broker.early.setdefault(to, []).append(send)
                    continue
                peer = self._run.nodes.of(to).broker
                assert peer is not None
                hear = partial(self.hear, peer, broker.state.name)
                if isinstance(message, Steal):
                    message = replace(message, count=message.count + self._run.scenario.greed)
                elif isinstance(message, Results):
                    message = replace(message, batches=list(map(self._run.taken, message.batches)))
                self._run.post.carry(broker.name, to, message, hear, peer, max(now, broker.links[to]))
                self._run.losses.has_sent(self._run.nodes.of(broker.name), message)
            else:
                worker = self._run.nodes.of(to).workers[WorkerName(to)]
                self._run.post.carry(broker.name, to, message, worker.arrive, worker)

    def has_delivered(self, broker: Broker) -> bool:
        """Return whether all has arrived, and was heard, that a broker has sent to its peers."""
        if any(name not in broker.gone for name in broker.early):
            return False
        for name in broker.state.peers:
            peer = self._run.nodes.of(name).broker
            if self._run.post.is_under_way(broker.name, name) or (peer is not None and peer.unheard[broker.state.name]):
                return False
        return True
