"""The broker's process: sockets around `BrokerState`.

::

    workers, agent --ipc--> ROUTER main  <--tcp, CURVE-- peers
                            ROUTER trunk --tcp, CURVE--> peers     a connection to each that is used, see `PeerLinks`

Where all brokers are on this machine, tcp is replaced by ipc in a private directory. Else that directory is needed only
until the node's workers are connected; then the broker removes it, so that nothing stays of it if the scheduler kills
every process of the node at once.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable

import zmq
from msgspec import Struct

from scoop_hpc.broker.actions import Send
from scoop_hpc.broker.envelopes import Envelope, is_sealed, opened
from scoop_hpc.broker.peers import PeerLinks
from scoop_hpc.broker.policy import Policy
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.errors import ProtocolError
from scoop_hpc.events import NOBODY, Observers, StrangerRefused
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    Arrived,
    BrokerUp,
    Curve,
    Drained,
    Fault,
    Gone,
    Greet,
    Greeted,
    Message,
    Peers,
    Ready,
    Stop,
)
from scoop_hpc.protocol.names import (
    AGENT,
    BrokerName,
    NodeIndex,
    ProcessName,
    broker_name,
    broker_of,
    is_broker,
    is_client,
)
from scoop_hpc.protocol.strangers import Strangers, shortened
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import sockets
from scoop_hpc.transport.lines import Heard, Trunk
from scoop_hpc.transport.maps import spelled_out
from scoop_hpc.transport.numbered import Inbox, Outgoing, is_numbered


class BrokerPlan(Struct, frozen=True):
    """The arguments of a broker."""

    node: NodeIndex
    takers: int  # the workers on this node, without the origin
    endpoint: str  # of this node's own processes
    listening: int  # descriptor of the socket there
    curve: Curve | None  # None if all brokers are on this machine
    addresses: tuple[str, ...]  # of this node, the most promising first; unused without *curve*


class BrokerServer:
    """The broker of one node."""

    def __init__(self, plan: BrokerPlan, policy: Policy = Policy(), observers: Observers = NOBODY) -> None:
        self._plan = plan
        self._policy = policy
        self._observers = observers
        self._name = broker_name(plan.node)
        self._state = BrokerState(self._name, policy, observers, plan.takers)
        self._strangers = Strangers()
        self._agent_is_here = False
        self._has_drained = False  # the node leaves, and has nothing to do: the agent knows
        self._for_agent: list[Message] = []  # until then: a ROUTER drops messages for unknown names
        self._context: sockets.Context = zmq.Context()
        self._poller = zmq.Poller()
        self._authenticator: keys.Authenticator | None = None
        silence = None if plan.curve is None else sockets.silence_within(policy.broken)
        self._main = sockets.make(self._context, zmq.ROUTER, self._name, silence=silence)
        sockets.bind_listening(self._main, plan.endpoint, plan.listening)
        if plan.curve is None:
            self._up = BrokerUp(plan.node, (plan.endpoint,), plan.takers)
        else:
            self._authenticator = keys.Authenticator(self._context, plan.curve)
            port = sockets.bind_tcp(self._main, plan.curve)
            main = tuple(sockets.url(address, port) for address in plan.addresses)
            self._up = BrokerUp(plan.node, main, plan.takers)
            self._poll(self._authenticator.socket)
        self._poll(self._main)
        self._trunk = Trunk(self._context, self._name, plan.curve, sockets.silence_within(policy.broken))
        self._poll(self._trunk.socket)
        self._peers = PeerLinks(self._trunk, self._name, policy, self._state.neighbours, are_far=plan.curve is not None)
        self._inbox = Inbox()
        self._answered_by: dict[BrokerName, BrokerName] = {}  # who hears this broker by way of which neighbour
        self._came_by: dict[BrokerName, BrokerName] = {}  # from which peer the envelopes of another one were passed on
        self._clients: dict[ProcessName, Outgoing] = {}  # what is for them
        self._unanswered: dict[BrokerName, Greet] = {}  # of brokers that the agent has not named yet

    def _poll(self, socket: sockets.Socket) -> None:
        self._poller.register(socket, zmq.POLLIN)

    def serve(self) -> None:
        """Serve until the agent says Stop."""
        parent = os.getppid()
        looked = time.monotonic()
        wait = self._policy.tick
        while True:
            ready = self._poller.poll(int(wait * 1000))
            wait = self._policy.rest if not ready and self._state.is_at_rest else self._policy.tick
            for socket, _ in ready:
                if socket is self._main:
                    if not self._serve_main():
                        return
                elif self._authenticator is not None and socket is self._authenticator.socket:
                    self._authenticator.step()
                else:
                    self._serve_links()
            if self._trunk.keeps:
                self._serve_links()
            now = time.monotonic()
            self._dispatch(self._state.tick(now))
            if now >= looked + self._policy.tick:
                looked = now
                self._look(now)
                if os.getppid() != parent:
                    return

    def _look(self, now: float) -> None:
        """Note which connections have broken, and tell peers what has arrived from them."""
        for peer in self._peers.look(now):
            self._state.connection_broke(peer, now)
        for told in self._inbox.tell_all():
            self._answer(told.name, Arrived(told.arrived))
        if self._state.is_drained and self._peers.have_all() and not self._has_drained:
            self._has_drained = True
            sockets.send_to(self._main, AGENT, Drained())

    def close(self) -> None:
        """Close all sockets, after a moment for messages still to be sent."""
        self._context.destroy(linger=int(self._policy.linger * 1000))

    def _serve_main(self) -> bool:
        """Take the messages that have arrived, one at least, up to a limit; return False after Stop."""
        for taken in range(self._policy.messages_at_once):
            if taken and not sockets.has_arrived(self._main):
                return True
            sender, *frames = sockets.receive_named(self._main)
            name = ProcessName(sender.decode(errors="backslashreplace"))
            try:
                if not self._take_frames(frames, name):
                    return False
            except ProtocolError as error:
                self._refuse(name, error)
        return True

    def _take_frames(self, frames: list[bytes], name: ProcessName, by: BrokerName | None = None) -> bool:
        """Take in one message of the main socket, unless it came before, or too early; return False after Stop.

        Another broker may have passed it on, *by* whom it is answered.
        """
        if is_numbered(frames):
            taken = self._inbox.take(name, frames)
            if taken is None:
                return True
            if self._inbox.is_due(name):
                self._answer(name, Arrived(self._inbox.tell(name)))
            frames = taken
        if by is None and is_sealed(frames):
            self._take_envelope(opened(frames), name)
            return True
        message = codec.decode(frames)
        if type(message) is Greet and by is None:
            self._answered_by.pop(BrokerName(name), None)
        elif type(message) is Greet and by is not None:
            self._answered_by[BrokerName(name)] = by
        return self._take(message, name)

    def _take_envelope(self, envelope: Envelope, by: ProcessName) -> None:
        """Take in what a peer has for this broker by way of another one, or pass on what is for others."""
        if by not in self._state.peers:
            raise ProtocolError(f"{by!r} is no peer, and passes on what {envelope.source} has sent")
        if envelope.to != self._name:
            self._came_by[envelope.source] = BrokerName(by)
            next_one = self._state.neighbours.next_hop(envelope.to)
            self._peers.pass_on(envelope, next_one, time.monotonic())
            return
        try:
            self._take_frames(list(map(bytes, envelope.frames)), envelope.source, BrokerName(by))
        except ProtocolError as error:
            self._refuse(envelope.source, error)

    def _answer(self, name: ProcessName, message: Arrived | Greeted) -> None:
        """Answer on the connection that was made from the other end, or by way of the one that was made to here."""
        by = self._answered_by.get(BrokerName(name))
        if by is None:
            sockets.send_to(self._main, name, message)
        else:
            envelope = Envelope(BrokerName(name), self._name, codec.encode(message))
            sockets.send_frames(self._main, [by.encode(), *envelope.sealed()])

    def _pass_back(self, envelope: Envelope) -> None:
        """Pass on an answer, on the connection by which came what it answers."""
        by, passed = self._came_by.get(envelope.to), envelope.passed_on()
        if by is not None and passed is not None:
            sockets.send_frames(self._main, [by.encode(), *passed.sealed()])

    def _on_greet(self, message: Greet, name: ProcessName) -> None:
        """Answer whom the state machine will hear; brokers may be quicker than the driver's word about them."""
        if message.to != self._name:
            return
        if name in self._state.peers or (is_client(name) and broker_of(name) == self._name):
            self._answer(name, Greeted(message.attempt, self._inbox.greet(name)))
            if is_client(name):
                outgoing = self._clients.setdefault(name, Outgoing())
                outgoing.have_arrived(message.arrived)
                for frames in outgoing.kept():
                    sockets.send_frames(self._main, [name.encode(), *frames])
        elif is_broker(name) and not self._peers.is_gone(name):
            self._unanswered[name] = message

    def _refuse(self, name: ProcessName, error: ProtocolError) -> None:
        """Drop an invalid message; if its sender is part of the run, drop that peer, or end the run."""
        if name in self._state.peers:
            self._drop(BrokerName(name), error)
        elif self._state.knows(name):
            self._end_run(name, error)
        elif self._strangers.is_new(name):
            refused = StrangerRefused(self._name, name, shortened(error))
            print(f"scoop-hpc: warning: {refused}", file=sys.stderr, flush=True)
            if self._observers:
                self._observers.tell(refused)

    def _drop(self, peer: BrokerName, error: ProtocolError) -> None:
        """Neither hear nor tell a peer anything any more whose message is invalid: one of the two has to go."""
        if not self._peers.is_gone(peer):
            what = f"broker {self._name} dropped broker {peer}: invalid message: {shortened(error)}"
            print(f"scoop-hpc: warning: {what}", file=sys.stderr, flush=True)
            self._part((peer,))
            self._state.connection_broke(peer, float("-inf"))

    def _part(self, brokers: Iterable[BrokerName]) -> None:
        """Drop all that is for brokers, or comes from them."""
        for name in brokers:
            self._inbox.drop(name)
            self._unanswered.pop(name, None)
            self._answered_by.pop(name, None)
            self._came_by.pop(name, None)
            self._peers.part(name)

    def _meet(self, peers: Peers) -> None:
        """Answer those of the new peers that were quicker."""
        self._lose((*peers.gone, *peers.left))
        for peer in self._peers.meet(peers.brokers, time.monotonic()):
            greet = self._unanswered.pop(peer, None)
            if greet is not None:
                self._on_greet(greet, peer)

    def _lose(self, nodes: Iterable[NodeIndex]) -> None:
        """Drop all that is for brokers of nodes that are gone; what was to go by way of them goes another way."""
        gone = set(map(broker_name, nodes))
        self._part(gone)
        self._peers.turn(gone, time.monotonic())

    def _end_run(self, who: str, error: ProtocolError) -> None:
        self._dispatch([Send(AGENT, Fault(f"invalid message of {who} to broker {self._name}: {shortened(error)}"))])

    def _take(self, message: Message, name: ProcessName) -> bool:
        """Take in one message of the main socket; return False after Stop."""
        if isinstance(message, Greet):
            self._on_greet(message, name)
        elif isinstance(message, Arrived):
            if name in self._clients:  # else it was left by an earlier connection, see `Inbox`
                self._clients[name].have_arrived(message.count)
        elif name == AGENT and isinstance(message, Ready):
            self._agent_is_here = True
            for held in (self._up, *self._for_agent):
                sockets.send_to(self._main, AGENT, held)
        else:
            sends = self._state.handle(message, name)
            if isinstance(message, Peers):
                self._meet(message)
            elif isinstance(message, Gone):
                self._lose((*message.nodes, *message.left))
            self._dispatch(sends)
            if isinstance(message, Stop):
                return False
        return True

    def _serve_links(self) -> None:
        """Take what peers have answered, up to a limit."""
        for _ in range(self._policy.messages_at_once):
            heard = self._trunk.receive()
            if heard is None:
                return
            try:
                if is_sealed(heard.frames):
                    envelope = opened(heard.frames)
                    if envelope.to != self._name:
                        self._pass_back(envelope)
                        continue
                    heard = Heard(envelope.source, list(map(bytes, envelope.frames)))
                if self._peers.take(heard):
                    self._state.connection_made(heard.name)
            except ProtocolError as error:
                self._drop(heard.name, error)

    def _dispatch(self, sends: list[Send]) -> None:
        for send in sends:
            if is_broker(send.to):
                self._peers.send(send.to, send.message, time.monotonic())
            elif send.to == AGENT and not self._agent_is_here:
                self._for_agent.append(send.message)
            elif send.to in self._clients:
                message = send.message if self._plan.curve is None else spelled_out(send.message)
                frames = self._clients[send.to].add(codec.encode(message))
                sockets.send_frames(self._main, [send.to.encode(), *frames])
            else:
                sockets.send_to(self._main, send.to, send.message)
