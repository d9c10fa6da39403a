"""Messages for peers whose place a broker does not know: held back until it does, dropped once they are gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from scoop_hpc.broker.peers import PeerLinks
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Beat, BrokerUp, Greet, Greeted, Message
from scoop_hpc.protocol.names import BrokerName, NodeIndex, broker_name
from scoop_hpc.transport import sockets
from scoop_hpc.transport.numbered import Inbox

SELF, PEER, OTHER = broker_name(0), broker_name(7), broker_name(8)


class Links:
    """The links of broker 0, and the main socket of broker 7."""

    def __init__(self, directory: Path) -> None:
        self.context: sockets.Context = zmq.Context()
        self.polled: list[sockets.Socket] = []
        self.links = PeerLinks(self.context, SELF, None, 1.0, 15.0, self.polled.append, self.polled.remove)
        self.router: sockets.Socket = self.context.socket(zmq.ROUTER)
        self.router.bind(f"ipc://{directory}/7")
        self.up = BrokerUp(NodeIndex(7), (f"ipc://{directory}/7",), (f"ipc://{directory}/7.meta",))
        self._inbox = Inbox()

    def received(self) -> list[Message]:
        """Return the messages up to the first that is no Greet, having answered those."""
        while True:
            assert self.router.poll(10_000)
            sender, *frames = self.router.recv_multipart()
            taken = self._inbox.take(SELF, frames)
            assert taken is not None
            message = codec.decode(taken)
            if not isinstance(message, Greet):
                return [message]
            answer = Greeted(message.attempt, self._inbox.greet(SELF))
            self.router.send_multipart([sender, *codec.encode(answer)])
            assert self.polled[0].poll(10_000)
            assert self.links.serve(PEER) == self.up.meta[0]


@pytest.fixture
def links(tmp_path: Path) -> Iterator[Links]:
    links = Links(tmp_path)
    yield links
    links.context.destroy(linger=0)


def test_message_waits_until_the_peer_is_known(links: Links) -> None:
    links.links.send(PEER, Beat())
    links.links.meet([links.up], 0.0)
    assert links.received() == [Beat()]


def test_broker_is_no_peer_of_its_own(links: Links) -> None:
    assert links.links.meet([BrokerUp(NodeIndex(0), ("a",), ("b",))], 0.0) == []


def test_peer_is_met_once(links: Links) -> None:
    assert links.links.meet([links.up], 0.0) == [PEER]
    assert links.links.meet([links.up], 0.0) == []


def test_message_for_an_unknown_broker_waits_when_others_are_met(links: Links) -> None:
    links.links.send(OTHER, Beat())
    assert links.links.meet([links.up], 0.0) == [PEER]


def test_peer_that_is_gone_is_not_polled_and_not_met_again(links: Links) -> None:
    links.links.meet([links.up], 0.0)
    (socket,) = links.polled
    links.links.part(PEER)
    assert links.polled == []
    assert socket.closed
    assert links.links.name_at(socket) is None
    assert links.links.meet([links.up], 0.0) == []


@pytest.mark.parametrize("name", [PEER, OTHER])
def test_message_for_a_broker_that_is_gone_is_dropped(links: Links, name: BrokerName) -> None:
    links.links.send(name, Beat())
    links.links.meet([links.up], 0.0)
    links.links.part(name)
    links.links.send(name, Beat())
    assert links.links.is_gone(name)


def test_parting_tells_where_the_meta_socket_was_found(links: Links) -> None:
    links.links.send(PEER, Beat())
    links.links.meet([links.up], 0.0)
    links.received()
    assert links.links.part(PEER) == links.up.meta[0]
    assert links.links.part(PEER) is None
