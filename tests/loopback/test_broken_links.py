"""Two brokers whose connections are cut at random moments: what one worker sends the other arrives, once, in order."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from proxy import Proxy

from scoop_hpc.broker.policy import Policy
from scoop_hpc.broker.server import BrokerPlan, BrokerServer, main_endpoint
from scoop_hpc.pool.link import ClientLink
from scoop_hpc.pool.policy import ClientPolicy
from scoop_hpc.protocol.messages import (
    Batch,
    Beat,
    BrokerUp,
    Curve,
    Gone,
    LinkBroken,
    Message,
    Open,
    Peers,
    Ready,
    Results,
    Standing,
    Stop,
)
from scoop_hpc.protocol.names import AGENT, CLIENT, NodeIndex, WorkerName, broker_name, worker_name
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import sockets

_CUTS = 25
_BLOCK = 200_000  # bytes: a few messages of the tests are that large


class Node:
    """A broker, with one worker and an agent that are this test."""

    def __init__(self, index: int, directory: Path, curve: Curve, policy: Policy) -> None:
        self.index = NodeIndex(index)
        self.curve = curve
        self.worker = worker_name(index, 1)
        place = directory / str(index)
        place.mkdir(mode=0o700)
        plan = BrokerPlan(self.index, 2, 2, str(place), curve, ("127.0.0.1",))
        self._server = BrokerServer(plan, policy)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        endpoint = main_endpoint(str(place), self.index)
        self.agent, self.socket = (self._connected(name, endpoint) for name in (AGENT, self.worker))
        sockets.send(self.socket, Ready())
        sockets.send(self.agent, Ready())
        up = self.told()
        assert isinstance(up, BrokerUp)
        self.proxy, self.other_proxy = Proxy(_port(up.main)), Proxy(_port(up.main))
        self.up = BrokerUp(self.index, (sockets.url("127.0.0.1", self.proxy.port),))

    def _serve(self) -> None:
        self._server.serve()
        self._server.close()

    def _connected(self, name: str, endpoint: str) -> zmq.Socket[bytes]:
        connected = sockets.make(self._context, zmq.DEALER, name)
        connected.connect(endpoint)
        return connected

    def told(self, seconds: float = 60) -> Message:
        """Return what the broker tells its agent next."""
        assert self.agent.poll(int(seconds * 1000))
        message = sockets.receive(self.agent)
        assert message is not None
        return message

    def send(self, owner: WorkerName, number: int, size: int = 8) -> None:
        """Send an outcome to a worker."""
        sockets.send(self.socket, Results([Batch(owner, number, [bytes(size)], done=(number,))]))

    def received(self) -> list[int]:
        """Return the numbers of the outcomes that have come."""
        numbers = []
        while (message := sockets.receive(self.socket)) is not None:
            if isinstance(message, Results):
                numbers += [batch.serial for batch in message.batches]
        return numbers

    def close(self) -> None:
        sockets.send(self.agent, Stop())
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._context.destroy(linger=0)
        self.proxy.close()
        self.other_proxy.close()


def _port(addresses: tuple[str, ...]) -> int:
    return int(addresses[0].rpartition(":")[2])


Nodes = tuple[Node, Node]
MakeNodes = Callable[[Policy], Nodes]


@pytest.fixture
def make_nodes(tmp_path: Path) -> Iterator[MakeNodes]:
    with contextlib.ExitStack() as stack:
        curve = keys.make_keys()

        def make(policy: Policy) -> Nodes:
            nodes = Node(0, tmp_path, curve, policy), Node(1, tmp_path, curve, policy)
            for node in nodes:
                stack.callback(node.close)
            return nodes

        yield make


def meet(nodes: Nodes) -> None:
    peers = Peers(tuple(node.up for node in nodes))
    for node in nodes:
        sockets.send(node.agent, peers)


class Traffic:
    """Outcomes that the workers of two nodes send each other, at any rate that they bear."""

    def __init__(self, nodes: Nodes, chance: random.Random) -> None:
        self._ways = [(nodes[0], nodes[1]), (nodes[1], nodes[0])]
        self._chance = chance
        self.sent = [0, 0]
        self.came: list[list[int]] = [[], []]

    def flow(self, until: float) -> None:
        """Let some pass, up to the time *until*."""
        while time.monotonic() < until:
            for way, (source, target) in enumerate(self._ways):
                for _ in range(self._chance.randrange(4)):
                    if self.sent[way] - len(self.came[way]) < 5000:
                        self.sent[way] += 1
                        size = _BLOCK if self._chance.random() < 0.01 else 8
                        source.send(target.worker, self.sent[way], size)
                self.came[way] += target.received()

    def settle(self) -> None:
        """Wait until all that was sent has come."""
        before, deadline = -1, 0.0
        while any(len(came) < sent for came, sent in zip(self.came, self.sent)):
            if sum(map(len, self.came)) > before:  # on a busy machine all of it takes minutes
                before, deadline = sum(map(len, self.came)), time.monotonic() + 60
            assert time.monotonic() < deadline, f"{[len(came) for came in self.came]} of {self.sent} have come"
            for way, (_, target) in enumerate(self._ways):
                self.came[way] += target.received()
            time.sleep(0.001)

    def check(self) -> None:
        """Assert that all has come, once, in order."""
        assert self.came == [list(range(1, sent + 1)) for sent in self.sent]


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_and_nothing_comes_twice_when_connections_are_cut(
    make_nodes: MakeNodes, seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    nodes = make_nodes(Policy(tick=0.02))
    meet(nodes)
    chance = random.Random(seed)
    traffic = Traffic(nodes, chance)
    for _ in range(_CUTS):
        traffic.flow(time.monotonic() + chance.uniform(0, 0.1))
        proxy = chance.choice(nodes).proxy
        if chance.random() < 0.5:  # what is written last disappears
            proxy.swallow(True)
            traffic.flow(time.monotonic() + chance.uniform(0, 0.02))
            proxy.cut(rudely=True)
            proxy.swallow(False)
        else:
            proxy.cut(rudely=chance.random() < 0.5)
    traffic.settle()
    traffic.check()
    assert capfd.readouterr().err == ""


def test_nothing_between_a_pool_and_its_client_is_lost_when_connections_are_cut(
    make_nodes: MakeNodes, capfd: pytest.CaptureFixture[str]
) -> None:
    node, _ = make_nodes(Policy(tick=0.02))
    link = ClientLink(Open(1, node.up, node.curve), ClientPolicy(look=0.01, broken=60.0))
    chance = random.Random(1)
    sent, told = 0, 0
    heard: list[int] = []
    got: list[int] = []

    def hear() -> None:
        link.look()
        for message in link.receive():
            assert isinstance(message, Results)
            heard.extend(batch.serial for batch in message.batches)
        got.extend(node.received())

    told = 1
    link.send(Results([Batch(node.worker, told, [b"outcome"], done=(told,))]))
    while not got:  # a broker tells a client nothing before it was asked
        hear()
    for _ in range(_CUTS):
        end = time.monotonic() + chance.uniform(0, 0.1)
        while time.monotonic() < end:
            sent += 1
            node.send(CLIENT, sent)
            told += 1
            link.send(Results([Batch(node.worker, told, [b"outcome"], done=(told,))]))
            hear()
        node.proxy.cut(rudely=chance.random() < 0.5)
    came, deadline = 0, 0.0
    while len(heard) < sent or len(got) < told:
        if len(heard) + len(got) > came:  # on a busy machine all of it takes minutes
            came, deadline = len(heard) + len(got), time.monotonic() + 60
        assert time.monotonic() < deadline, f"{len(heard)} of {sent}, {len(got)} of {told}"
        hear()
    link.close()
    assert heard == list(range(1, sent + 1))
    assert got == list(range(1, told + 1))
    assert capfd.readouterr().err == ""


def test_connection_that_falls_silent_is_made_again(make_nodes: MakeNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SILENCE", 2.0)
    nodes = make_nodes(Policy(tick=0.02))
    meet(nodes)
    traffic = Traffic(nodes, random.Random(1))
    traffic.flow(time.monotonic() + 0.05)
    for node in nodes:
        node.proxy.swallow(True)
    traffic.flow(time.monotonic() + 2.5)
    for node in nodes:
        node.proxy.swallow(False)
    traffic.settle()
    traffic.check()


def test_link_that_stays_broken_is_reported_until_it_is_made_again(make_nodes: MakeNodes) -> None:
    nodes = make_nodes(Policy(tick=0.02, broken=0.2, broken_again=0.05))
    meet(nodes)
    traffic = Traffic(nodes, random.Random(1))
    traffic.flow(time.monotonic() + 0.05)
    traffic.settle()
    nodes[1].proxy.refuse(True)
    assert [nodes[0].told() for _ in range(2)] == 2 * [LinkBroken(broker_name(1))]
    traffic.flow(time.monotonic() + 0.05)
    nodes[1].proxy.refuse(False)
    traffic.settle()
    traffic.check()
    while nodes[0].agent.poll(500):
        assert nodes[0].told() == LinkBroken(broker_name(1))


def test_peer_is_reached_at_another_address_when_the_one_that_worked_is_dead(make_nodes: MakeNodes) -> None:
    nodes = make_nodes(Policy(tick=0.02, next_address=0.2))
    for node in nodes:
        both = (node.proxy.port, node.other_proxy.port)
        node.up = BrokerUp(node.index, tuple(sockets.url("127.0.0.1", port) for port in both))
    meet(nodes)
    traffic = Traffic(nodes, random.Random(1))
    dead: Proxy | None = None
    for _ in range(3):  # the second of the two, and then the first again
        traffic.flow(time.monotonic() + 0.05)
        traffic.settle()
        working = nodes[1].proxy if dead is not nodes[1].proxy else nodes[1].other_proxy
        if dead is not None:
            dead.refuse(False)
        working.refuse(True)
        dead = working
        traffic.flow(time.monotonic() + 0.05)
        traffic.settle()
    traffic.check()


def test_peer_that_is_never_reached_is_reported(make_nodes: MakeNodes) -> None:
    nodes = make_nodes(Policy(tick=0.02, broken=0.2))
    nodes[1].proxy.refuse(True)
    meet(nodes)
    assert nodes[0].told() == LinkBroken(broker_name(1))


def test_broker_that_was_quicker_than_the_word_about_it_is_heard_after_that(make_nodes: MakeNodes) -> None:
    nodes = make_nodes(Policy(tick=0.02, next_address=0.05))
    peers = Peers(tuple(node.up for node in nodes))
    sockets.send(nodes[0].agent, peers)
    nodes[0].send(nodes[1].worker, 1)
    assert not nodes[1].socket.poll(300)
    sockets.send(nodes[1].agent, peers)
    assert nodes[1].socket.poll(10_000)
    assert nodes[1].received() == [1]


def test_nothing_comes_from_a_broker_that_is_gone(make_nodes: MakeNodes) -> None:
    nodes = make_nodes(Policy(tick=0.02, broken=0.1, broken_again=0.05))
    meet(nodes)
    traffic = Traffic(nodes, random.Random(1))
    traffic.flow(time.monotonic() + 0.05)
    traffic.settle()
    sockets.send(nodes[0].agent, Gone(nodes=(nodes[1].index,), cause="why"))
    while not isinstance(sockets.receive(nodes[0].socket), Gone):
        nodes[0].socket.poll(100)
    sockets.send(nodes[0].agent, Beat())
    while not isinstance(nodes[0].told(), Standing):
        continue  # on a busy machine the link was broken for so short a time before
    nodes[1].send(nodes[0].worker, traffic.sent[1] + 1)
    nodes[0].send(nodes[1].worker, traffic.sent[0] + 1)
    nodes[1].proxy.cut(rudely=True)
    assert not nodes[0].socket.poll(300)
    assert nodes[1].received() == []
    assert not nodes[0].agent.poll(0)


def test_peer_that_sends_nonsense_is_dropped_and_the_agent_is_told(
    make_nodes: MakeNodes, capfd: pytest.CaptureFixture[str]
) -> None:
    nodes = make_nodes(Policy(tick=0.02))
    meet(nodes)
    nodes[0].send(nodes[1].worker, 1)
    assert nodes[1].socket.poll(10_000)
    nodes[1]._server._peers.send(broker_name(0), Stop(), time.monotonic())  # a message, but not one of brokers
    assert nodes[0].told() == LinkBroken(broker_name(1))
    assert capfd.readouterr().err.count("warning: broker 0 dropped broker 1: invalid message: ") == 1
