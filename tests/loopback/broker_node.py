"""Brokers, each with one worker and an agent that are the test, and outcomes that their workers send each other."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import zmq
from proxy import Proxy

from scoop_hpc.broker.policy import Policy
from scoop_hpc.broker.server import BrokerPlan, BrokerServer
from scoop_hpc.protocol.messages import Batch, BrokerUp, Curve, Message, Ready, Results, Stop
from scoop_hpc.protocol.names import AGENT, NodeIndex, WorkerName, worker_name
from scoop_hpc.transport import sockets
from scoop_hpc.transport.entrance import nameless_entrance

_BLOCK = 200_000  # bytes: a few messages are that large


class Node:
    """A broker, with one worker and an agent that are this test."""

    def __init__(self, index: int, directory: Path, curve: Curve, policy: Policy) -> None:
        self.index = NodeIndex(index)
        self.curve = curve
        self.worker = worker_name(index, 1)
        self._entrance = nameless_entrance(str(directory), self.index)
        at, listening = self._entrance.endpoint, self._entrance.listening
        plan = BrokerPlan(self.index, 2, at, listening, curve, ("127.0.0.1",))
        self._server = BrokerServer(plan, policy)
        self._entrance.listening = -1  # it is the server's
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.agent, self.socket = (self._connected(name, at) for name in (AGENT, self.worker))
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
        self._entrance.close()
        self.proxy.close()
        self.other_proxy.close()


def _port(addresses: tuple[str, ...]) -> int:
    return int(addresses[0].rpartition(":")[2])


class Traffic:
    """Outcomes that the workers of two nodes send each other, at any rate that they bear."""

    def __init__(self, nodes: tuple[Node, Node], chance: random.Random) -> None:
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
