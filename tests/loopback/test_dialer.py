"""A broker is found among its addresses, over real sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from msgspec.structs import replace

from scoop_hpc.errors import BrokenPoolError
from scoop_hpc.pool.link import ClientLink
from scoop_hpc.pool.policy import ClientPolicy
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Beat, BrokerUp, Greet, Greeted, Message, Open
from scoop_hpc.protocol.names import CLIENT, NodeIndex, broker_name
from scoop_hpc.transport.numbered import Inbox

POLICY = ClientPolicy(next_address=0.05, rounds=1000, look=0.01, broken=0.1)


class Broker:
    """A socket at the second of two addresses."""

    def __init__(self, directory: Path) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.ROUTER)
        addresses = f"ipc://{directory}/nobody", f"ipc://{directory}/broker"
        self.socket.bind(addresses[1])
        self._inbox = Inbox()
        self.way = Open(1, BrokerUp(NodeIndex(0), addresses), None)

    def receive(self) -> tuple[bytes, Message]:
        """Return the next message and its sender."""
        sender, *frames = self.socket.recv_multipart()
        taken = self._inbox.take(CLIENT, frames)
        assert taken is not None
        return sender, codec.decode(taken)

    def answer(self) -> None:
        """Answer a Greet."""
        sender, greet = self.receive()
        assert isinstance(greet, Greet)
        self.greeted(sender, greet)

    def greeted(self, sender: bytes, greet: Greet) -> None:
        """Answer this Greet."""
        assert greet.to == broker_name(0)
        answer = Greeted(greet.attempt, self._inbox.greet(CLIENT))
        self.socket.send_multipart([sender, *codec.encode(answer)])

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.close()


def heard(broker: Broker, link: ClientLink, likely: bool = False) -> Message | None:
    """Return the first message of the link beside its Greets, which are answered: again where that came too late."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        link.look()
        assert link.receive(likely) == []
        if broker.socket.poll(10):
            sender, message = broker.receive()
            if not isinstance(message, Greet):
                return message
            broker.greeted(sender, message)
    return None


def test_messages_are_held_back_until_the_broker_answers_at_one_address(broker: Broker) -> None:
    link = ClientLink(broker.way, POLICY)
    link.send(Beat())
    while not broker.socket.poll(10):
        link.look()
    broker.answer()
    assert not broker.socket.poll(20)
    assert heard(broker, link) == Beat()
    link.close()


def test_message_that_seemed_likely_and_has_not_come_is_none(broker: Broker) -> None:
    link = ClientLink(broker.way, POLICY)
    assert link.receive(likely=True) == []
    link.send(Beat())
    assert heard(broker, link, likely=True) == Beat()
    link.close()


def test_broker_that_never_answers_breaks_the_pool(broker: Broker) -> None:
    link = ClientLink(broker.way, replace(POLICY, rounds=2))
    with pytest.raises(BrokenPoolError, match="no answer from the first broker of the pool at ipc://.*/nobody, ipc://"):
        until_broken(link)
    link.close()


def test_lost_connection_breaks_the_pool(broker: Broker) -> None:
    link = ClientLink(broker.way, POLICY)
    link.send(Beat())
    assert heard(broker, link) == Beat()
    broker.close()
    with pytest.raises(BrokenPoolError, match="the connection to the pool's first broker broke: tasks may be lost"):
        until_broken(link)
    link.close()


def until_broken(link: ClientLink) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        link.receive()
        link.look()
        time.sleep(0.01)
