"""The broker's process: sockets around `BrokerState`.

::

    workers, agent --ipc--> ROUTER main <--tcp, CURVE-- peers' DEALERs
                            DEALERs -----tcp, CURVE---> peers' ROUTERs     one for each peer, see `PeerLink`
                            PUB meta, SUB <-----------> peers' PUBs

Where all brokers are on this machine, tcp is replaced by ipc in a private directory. Else that directory is needed only
until the node's workers are connected; then the broker removes it, so that nothing stays of it if the scheduler kills
every process of the node at once.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from scoop_hpc.broker.state import META, BrokerState, Send
from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    Beat,
    BrokerUp,
    Curve,
    Fault,
    Greet,
    Greeted,
    Load,
    Message,
    Peers,
    Ready,
    Stop,
)
from scoop_hpc.protocol.names import AGENT, BrokerName, NodeIndex, ProcessName, broker_name, is_broker
from scoop_hpc.protocol.strangers import Strangers
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import sockets
from scoop_hpc.transport.maps import spelled_out

_TICK = 0.25  # seconds
_NEXT_ADDRESS = 1.0  # seconds to wait for an answer from one address of a peer
_BROKEN = 5.0  # seconds from a broken connection to the end of the run: the death of a peer has a better name by then


@dataclass(frozen=True, slots=True)
class BrokerPlan:
    """What a broker must know to start."""

    node: NodeIndex
    workers: int  # on this node
    directory: str  # private, for its ipc sockets
    curve: Curve | None  # None if all brokers are on this machine
    addresses: tuple[str, ...]  # of this node, the most promising first; unused without *curve*


def main_endpoint(directory: str, node: NodeIndex) -> str:
    """Return where the broker of *node* meets its workers and its agent."""
    return f"ipc://{directory}/{node}"


class PeerLink:
    """The way to one peer: tries its addresses in turn, and holds messages back until one has answered."""

    def __init__(self, context: sockets.Context, own_name: BrokerName, peer: BrokerUp, curve: Curve | None) -> None:
        self.name = broker_name(peer.node)
        self.socket = sockets.make(context, zmq.DEALER, own_name, watch_silence=curve is not None)
        if curve is not None:
            keys.dial(self.socket, curve)
        self.watch = sockets.Watch(self.socket)
        self.broken_since: float | None = None
        self._far = curve is not None  # on another machine
        self._peer = peer
        self._attempt = -1
        self._tried = float("-inf")
        self._open = False
        self._held: list[Message] = []

    def send(self, message: Message) -> None:
        """Send *message*, now or once the peer has answered."""
        if self._open:
            self._send(message)
        else:
            self._held.append(message)

    def _send(self, message: Message) -> None:
        """Send *message*, with what it refers to where the peer has no access to that."""
        whole = spelled_out(message) if self._far else message
        sockets.send(self.socket, whole, copy=whole is message)

    def hear(self) -> str | None:
        """Take the peer's answers; return where its meta socket is reached if it has just been found."""
        message = sockets.receive(self.socket)
        found = None
        while message is not None:
            if not isinstance(message, Greeted):
                raise ProtocolError(f"broker {self.name} sent {message!r} for an answer")
            if message.attempt == self._attempt and not self._open:
                self._open = True
                found = self._peer.meta[self._attempt % len(self._peer.meta)]
                for held in self._held:
                    self._send(held)
                self._held.clear()
            message = sockets.receive(self.socket)
        return found

    def look(self, now: float) -> None:
        """Note whether an open connection has broken: what was under way on it is lost."""
        for made, _ in self.watch.news():
            if self._open and not made and self.broken_since is None:
                self.broken_since = now

    def keep_trying(self, now: float) -> None:
        """Go on to the next address if the last one tried has not answered in time."""
        if self._open or now < self._tried + _NEXT_ADDRESS:
            return
        addresses = self._peer.main
        if self._attempt >= 0:
            self.socket.disconnect(addresses[self._attempt % len(addresses)])
        self._tried = now
        self._attempt += 1
        sockets.connect(self.socket, addresses[self._attempt % len(addresses)])
        sockets.send(self.socket, Greet(self.name, self._attempt))


class BrokerServer:
    """The broker of one node."""

    def __init__(self, plan: BrokerPlan) -> None:
        self._plan = plan
        self._name = broker_name(plan.node)
        self._state = BrokerState(self._name)
        self._links: dict[ProcessName, PeerLink] = {}
        self._strangers = Strangers()
        self._agent_is_here = False
        self._for_agent: list[Message] = []  # until it is: a ROUTER drops what is for somebody unknown
        self._for_peers: list[Send] = []  # until it is known where they are
        self._context: sockets.Context = zmq.Context()
        self._poller = zmq.Poller()
        self._authenticator: keys.Authenticator | None = None
        self._main = sockets.make(self._context, zmq.ROUTER, self._name, watch_silence=plan.curve is not None)
        sockets.bind_ipc(self._main, main_endpoint(plan.directory, plan.node))
        self._publisher = sockets.make(self._context, zmq.PUB)
        self._subscriber = sockets.make(self._context, zmq.SUB)
        addresses: tuple[tuple[str, ...], tuple[str, ...]]
        if plan.curve is None:
            addresses = (main_endpoint(plan.directory, plan.node),), (f"ipc://{plan.directory}/{plan.node}.meta",)
            sockets.bind_ipc(self._publisher, addresses[1][0])
        else:
            self._authenticator = keys.Authenticator(self._context, plan.curve)
            keys.dial(self._subscriber, plan.curve)
            addresses = (
                self._tcp(sockets.bind_tcp(self._main, plan.curve)),
                self._tcp(sockets.bind_tcp(self._publisher, plan.curve)),
            )
            self._poller.register(self._authenticator.socket, zmq.POLLIN)
        self._subscriber.subscribe(b"")
        self._up = BrokerUp(plan.node, *addresses)
        self._poller.register(self._main, zmq.POLLIN)
        self._poller.register(self._subscriber, zmq.POLLIN)

    def _tcp(self, port: int) -> tuple[str, ...]:
        return tuple(sockets.url(address, port) for address in self._plan.addresses)

    def serve(self) -> None:
        """Serve until the agent says Stop."""
        tick = time.monotonic()
        parent = os.getppid()
        while True:
            for socket, _ in self._poller.poll(int(_TICK * 1000)):
                if socket is self._main:
                    if not self._serve_main():
                        return
                elif socket is self._subscriber:
                    self._guarded(self._serve_meta)
                elif self._authenticator is not None and socket is self._authenticator.socket:
                    self._authenticator.step()
                else:
                    self._guarded(self._serve_link, socket)
            now = time.monotonic()
            if now >= tick:
                tick = now + _TICK
                self._dispatch(self._state.tick())
                self._look_after_links(now)
                if os.getppid() != parent:
                    return

    def close(self) -> None:
        """Close all sockets; give what is still to be sent a moment."""
        self._context.destroy(linger=200)

    def _serve_main(self) -> bool:
        """Take all messages that are there, within reason; return False after Stop."""
        for _ in range(100):
            try:
                sender, *frames = self._main.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return True
            name = ProcessName(sender.decode(errors="backslashreplace"))
            try:
                message = codec.decode(frames)
                if not self._take(message, name):
                    return False
            except ProtocolError as error:
                self._refuse(name, error)
        return True

    def _guarded(self, serve: Callable[..., None], *args: sockets.Socket) -> None:
        """Take in what peers say; the run ends where that has no meaning."""
        try:
            serve(*args)
        except ProtocolError as error:
            self._dispatch([Send(AGENT, Fault(f"invalid message of a peer to broker {self._name}: {error}"))])

    def _refuse(self, name: ProcessName, error: ProtocolError) -> None:
        """Drop a message that has no meaning; if it came from a part of the run, that cannot go on."""
        if self._state.knows(name):
            self._dispatch([Send(AGENT, Fault(f"invalid message of {name} to broker {self._name}: {error}"))])
        elif self._strangers.is_new(name):
            text = f"scoop-hpc: warning: broker {self._name} dropped a message of {name!r}: {error}"
            print(text, file=sys.stderr, flush=True)

    def _take(self, message: Message, name: ProcessName) -> bool:
        """Take in one message of the main socket; return False after Stop."""
        if isinstance(message, Greet):
            if message.to == self._name:
                sockets.send_to(self._main, name, Greeted(message.attempt))
        elif name == AGENT and isinstance(message, Beat):
            sockets.send_to(self._main, AGENT, message)
        elif name == AGENT and isinstance(message, Ready):
            self._agent_is_here = True
            for held in (self._up, *self._for_agent):
                sockets.send_to(self._main, AGENT, held)
        else:
            sends = self._state.handle(message, name)
            if isinstance(message, Peers):
                self._meet(message)
            self._dispatch(sends)
            if isinstance(message, Stop):
                return False
        if isinstance(message, Ready) and self._plan.curve is not None and self._all_are_here():
            shutil.rmtree(self._plan.directory, ignore_errors=True)
        return True

    def _all_are_here(self) -> bool:
        return self._agent_is_here and len(self._state.workers) == self._plan.workers

    def _serve_meta(self) -> None:
        message = sockets.receive(self._subscriber)
        while message is not None:
            if not isinstance(message, Load):
                raise ProtocolError(f"the meta socket brought {message!r}")
            self._dispatch(self._state.handle(message, message.broker))
            message = sockets.receive(self._subscriber)

    def _serve_link(self, socket: sockets.Socket) -> None:
        link = next(link for link in self._links.values() if link.socket is socket)
        meta = link.hear()
        if meta is not None:
            sockets.connect(self._subscriber, meta)

    def _look_after_links(self, now: float) -> None:
        for link in self._links.values():
            link.keep_trying(now)
            link.look(now)
            if link.broken_since is not None and now > link.broken_since + _BROKEN:
                link.broken_since = None
                reason = f"the connection between the brokers {self._name} and {link.name} broke: tasks may be lost"
                self._dispatch([Send(AGENT, Fault(reason))])

    def _meet(self, peers: Peers) -> None:
        """Connect to the other brokers."""
        for peer in peers.brokers:
            if peer.node == self._plan.node:
                continue
            link = PeerLink(self._context, self._name, peer, self._plan.curve)
            self._links[link.name] = link
            self._poller.register(link.socket, zmq.POLLIN)
            link.keep_trying(time.monotonic())
        early, self._for_peers = self._for_peers, []
        self._dispatch(early)

    def _dispatch(self, sends: list[Send]) -> None:
        for send in sends:
            if send.to == META:
                sockets.send(self._publisher, send.message)
            elif send.to in self._links:
                self._links[send.to].send(send.message)
            elif send.to == AGENT and not self._agent_is_here:
                self._for_agent.append(send.message)
            elif is_broker(send.to):  # a worker was quicker than the driver, which says where the peers are
                self._for_peers.append(send)
            else:
                sockets.send_to(self._main, send.to, send.message)
