"""Messages for peers whose place a broker does not know: held back until it does, dropped once they are gone."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
import zmq

from scoop_hpc.broker.envelopes import is_sealed, opened
from scoop_hpc.broker.neighbours import Neighbours
from scoop_hpc.broker.peers import PeerLinks
from scoop_hpc.broker.policy import Policy
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Arrived, Beat, BrokerUp, Bye, Greet, Greeted, Message, Moved
from scoop_hpc.protocol.names import ORIGIN, BrokerName, NodeIndex, broker_name, node_of
from scoop_hpc.transport import sockets
from scoop_hpc.transport.lines import Heard, Trunk
from scoop_hpc.transport.numbered import Inbox

SELF, PEER, OTHER = broker_name(0), broker_name(7), broker_name(8)
PEER_ONE, PEER_OTHER = broker_name(1), broker_name(2)


UNUSED = 10.0
POLICY = Policy(next_address=1.0, most_links=1, unused=UNUSED)
WAYS = Neighbours(SELF, POLICY)  # who knows of few brokers, and reaches all at once


class Links:
    """The links of broker 0, and the main socket of broker 7."""

    def __init__(self, directory: Path) -> None:
        self.context: sockets.Context = zmq.Context()
        self.trunk = Trunk(self.context, SELF, None, 15.0)
        self.links = PeerLinks(self.trunk, SELF, POLICY, WAYS, are_far=False)
        self.router: sockets.Socket = self.context.socket(zmq.ROUTER)
        self.router.bind(f"ipc://{directory}/7")
        self.up = BrokerUp(NodeIndex(7), (f"ipc://{directory}/7",))
        self._inbox = Inbox()

    def serve(self) -> bool:
        """Take the next answer of a peer; return whether there is a connection by that."""
        assert self.trunk.socket.poll(10_000)
        heard = self.trunk.receive()
        return heard is not None and self.links.take(heard)

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
            assert self.serve()


@pytest.fixture
def links(tmp_path: Path) -> Iterator[Links]:
    links = Links(tmp_path)
    yield links
    links.context.destroy(linger=0)


def test_message_waits_until_the_peer_is_known(links: Links) -> None:
    links.links.send(PEER, Beat(), 0.0)
    links.links.meet([links.up], 0.0)
    assert links.received() == [Beat()]


def test_broker_is_no_peer_of_its_own(links: Links) -> None:
    assert links.links.meet([BrokerUp(NodeIndex(0), ("a",))], 0.0) == []


def test_peer_is_met_once(links: Links) -> None:
    assert links.links.meet([links.up], 0.0) == [PEER]
    assert links.links.meet([links.up], 0.0) == []


def test_message_for_an_unknown_broker_waits_when_others_are_met(links: Links) -> None:
    links.links.send(OTHER, Beat(), 0.0)
    assert links.links.meet([links.up], 0.0) == [PEER]


def test_no_connection_is_made_before_there_is_something_to_send(links: Links) -> None:
    links.links.meet([links.up], 0.0)
    assert not links.router.poll(50)
    assert links.links.look(0.0) == []
    links.links.send(PEER, Beat(), 0.0)
    assert links.links.look(0.0) == [PEER]  # there is none yet
    assert links.links.look(0.1) == []
    assert links.received() == [Beat()]


def test_peer_that_is_gone_is_not_heard_and_not_met_again(links: Links) -> None:
    links.links.meet([links.up], 0.0)
    links.links.send(PEER, Beat(), 0.0)
    assert links.received() == [Beat()]
    links.links.part(PEER)
    assert not links.links.take(Heard(PEER, list(map(bytes, codec.encode(Bye())))))
    assert links.links.meet([links.up], 0.0) == []


@pytest.mark.parametrize("name", [PEER, OTHER])
def test_message_for_a_broker_that_is_gone_is_dropped(links: Links, name: BrokerName) -> None:
    links.links.send(name, Beat(), 0.0)
    links.links.meet([links.up], 0.0)
    links.links.part(name)
    links.links.send(name, Beat(), 0.0)
    assert links.links.is_gone(name)


class Peer:
    """The main socket of a broker that others greet."""

    def __init__(self, links: Links, directory: Path, name: BrokerName) -> None:
        self.name = name
        self._links = links
        self._router: sockets.Socket = links.context.socket(zmq.ROUTER)
        self._router.router_handover = True
        self._router.bind(f"ipc://{directory}/{name}")
        self.up = BrokerUp(node_of(name), (f"ipc://{directory}/{name}",))
        self._inbox = Inbox()
        self.greets = 0

    def received(self) -> Message:
        """Return the next message that is no Greet, after the answers to those; tell that it has arrived."""
        return codec.decode(self.received_frames())

    def received_frames(self) -> list[bytes]:
        """Return the same as frames."""
        while True:
            assert self._router.poll(10_000)
            sender, *frames = self._router.recv_multipart()
            taken = self._inbox.take(SELF, frames)
            if taken is None:
                continue
            message = None if is_sealed(taken) else codec.decode(taken)
            answer: Message
            if isinstance(message, Greet):
                self.greets += 1
                answer = Greeted(message.attempt, self._inbox.greet(SELF))
            else:
                answer = Arrived(self._inbox.tell(SELF))
            self._router.send_multipart([sender, *codec.encode(answer)])
            self._links.serve()
            if not isinstance(message, Greet):
                return taken


def test_connection_that_was_unused_for_longest_rests_and_goes_on_where_it_ended(links: Links, tmp_path: Path) -> None:
    one, other = Peer(links, tmp_path, PEER_ONE), Peer(links, tmp_path, PEER_OTHER)
    links.links.meet([one.up, other.up], 0.0)
    for number in range(3):
        for peer in (one, other):
            sent = Moved(ORIGIN, (number,), PEER, 1)
            links.links.send(peer.name, sent, 0.0)
            assert peer.received() == sent
            assert list(links.links._links) == [peer.name]  # one at most
    assert (one.greets, other.greets) == (3, 3)


def test_what_there_is_no_room_for_waits_until_others_have_got_theirs(links: Links, tmp_path: Path) -> None:
    one, other = Peer(links, tmp_path, PEER_ONE), Peer(links, tmp_path, PEER_OTHER)
    links.links.meet([one.up, other.up], 0.0)
    links.links.send(one.name, Beat(), 0.0)
    links.links.send(other.name, Beat(), 0.0)
    links.links.send(other.name, Bye(), 0.0)
    links.links.look(0.1)
    assert list(links.links._links) == [one.name]
    assert one.received() == Beat()
    links.links.look(0.2)
    assert list(links.links._links) == [other.name]
    assert other.received() == Beat()
    assert other.received() == Bye()


def test_connection_that_nothing_was_sent_on_for_long_rests_until_there_is_something(
    links: Links, tmp_path: Path
) -> None:
    peer = Peer(links, tmp_path, PEER_ONE)
    links.links.meet([peer.up], 0.0)
    links.links.send(peer.name, Beat(), 0.0)
    assert peer.received() == Beat()
    assert links.links.look(UNUSED - 0.1) == []
    links.links.send(peer.name, Bye(), 1.0)
    assert links.links.look(1.0 + UNUSED) == []
    assert list(links.links._links) == [peer.name]  # for that may be still to arrive
    assert peer.received() == Bye()
    assert links.links.look(1.0 + UNUSED) == []
    assert list(links.links._links) == []
    links.links.send(peer.name, Bye(), 20.0)
    assert peer.received() == Bye()
    assert peer.greets == 2


def test_links_to_many_peers_cost_one_open_file_each(links: Links, tmp_path: Path) -> None:
    links.links = PeerLinks(links.trunk, SELF, Policy(unused=UNUSED), WAYS, are_far=False)
    peers = [Peer(links, tmp_path, broker_name(index)) for index in range(1, 9)]
    links.links.meet([peer.up for peer in peers], 0.0)
    opened = []
    for peer in peers:
        links.links.send(peer.name, Beat(), 0.0)
        assert peer.received() == Beat()
        opened.append(len(os.listdir("/proc/self/fd")))
    assert {after - before for before, after in itertools.pairwise(opened)} == {2}  # one of each end
    assert links.links.look(UNUSED) == []
    links.trunk.socket.poll(0)
    while len(os.listdir("/proc/self/fd")) > opened[0] - 2:
        links.trunk.socket.poll(10)


def test_connection_that_libzmq_has_given_up_is_made_anew(links: Links, tmp_path: Path) -> None:
    peer = Peer(links, tmp_path, PEER_ONE)
    links.links.meet([peer.up], 0.0)
    links.links.send(peer.name, Beat(), 0.0)
    assert peer.received() == Beat()
    links.links.look(0.1)
    links.trunk.socket.disconnect(peer.up.main[0])  # as after an error of the other end's in the protocol
    links.trunk.socket.poll(0)
    links.links.send(peer.name, Bye(), 0.2)
    while links.links.look(0.2) == []:
        links.trunk.socket.poll(10)
        links.links.send(peer.name, Bye(), 0.2)
    assert peer.received() == Bye()
    assert peer.greets == 2


class ByOther:
    """Ways on which what is for one broker goes by another one, as long as that lives."""

    def __init__(self) -> None:
        self.is_there = True

    def way_to(self, peer: BrokerName) -> BrokerName:
        return PEER_OTHER if self.is_there and peer == PEER_ONE else peer

    def leads_over(self, peer: BrokerName, others: Collection[BrokerName]) -> bool:
        return peer == PEER_ONE and PEER_OTHER in others


class Between:
    """The main socket of a broker that passes on what is for others: here, that is the test."""

    def __init__(self, links: Links, other: Peer) -> None:
        self._links = links
        self._other = other
        self.inbox = Inbox()

    def passed(self) -> Message | None:
        """Return the message that it gets next for the other end; None if it has come there before."""
        frames = self._other.received_frames()
        envelope = opened(frames)
        assert (envelope.to, envelope.source) == (PEER_ONE, SELF)
        taken = self.inbox.take(SELF, list(map(bytes, envelope.frames)))
        return None if taken is None else codec.decode(taken)

    def answer(self, message: Message) -> bool:
        """Let the other end answer; return whether it is reached by that."""
        return self._links.links.take(Heard(PEER_ONE, list(map(bytes, codec.encode(message)))))


def test_what_goes_by_way_of_another_broker_is_sent_again_when_nobody_answers(links: Links, tmp_path: Path) -> None:
    links.links = PeerLinks(links.trunk, SELF, Policy(next_address=5.0, unheard=1.0), ByOther(), are_far=False)
    one, other = Peer(links, tmp_path, PEER_ONE), Peer(links, tmp_path, PEER_OTHER)
    links.links.meet([one.up, other.up], 0.0)
    between = Between(links, other)
    links.links.send(PEER_ONE, Bye(), 0.0)
    assert between.passed() == Greet(PEER_ONE, 1, 0)
    assert links.links.look(0.1) == []  # others look after that connection
    assert between.answer(Greeted(1, between.inbox.greet(SELF)))
    assert between.passed() == Bye()
    assert links.links.look(0.2) == []
    assert not between.answer(Arrived(1))
    links.links.send(PEER_ONE, Beat(), 0.3)
    assert between.passed() == Beat()
    for now in (0.4, 1.3):
        links.links.look(now)
    links.links.look(1.5)  # a second without a word
    assert between.passed() == Greet(PEER_ONE, 2, 0)
    links.links.look(3.4)
    links.links.look(3.6)  # two more
    assert between.passed() == Greet(PEER_ONE, 3, 0)
    assert not between.answer(Greeted(2, 1))  # an old one
    assert between.answer(Greeted(3, 1))
    assert between.passed() is None  # it was there
    assert not between.answer(Arrived(2))
    assert links.links.have_all()


def test_what_goes_by_way_of_another_broker_goes_at_once_when_that_is_gone(links: Links, tmp_path: Path) -> None:
    ways = ByOther()
    links.links = PeerLinks(links.trunk, SELF, Policy(), ways, are_far=False)
    one, other = Peer(links, tmp_path, PEER_ONE), Peer(links, tmp_path, PEER_OTHER)
    links.links.meet([one.up, other.up], 0.0)
    between = Between(links, other)
    links.links.send(PEER_ONE, Bye(), 0.0)
    assert between.passed() == Greet(PEER_ONE, 1, 0)
    assert between.answer(Greeted(1, between.inbox.greet(SELF)))
    assert between.passed() == Bye()  # and is lost with it
    ways.is_there = False
    links.links.part(PEER_OTHER)
    links.links.turn({PEER_OTHER}, 0.1)
    assert one.received() == Bye()


def test_message_whose_beginning_was_read_as_its_connection_was_closed_is_whole(links: Links) -> None:
    links.links.meet([links.up], 0.0)
    links.links.send(PEER, Beat(), 0.0)
    assert links.received() == [Beat()]
    links.router.send_multipart([SELF.encode(), *codec.encode(Arrived(1)), b"more", b"and more"])
    assert links.trunk.socket.poll(10_000)  # libzmq reads its first frame for that
    links.links.part(PEER)
    assert links.trunk.keeps
    heard: list[Heard | None] = []
    receiving = threading.Thread(target=lambda: heard.append(links.trunk.receive()), daemon=True)
    receiving.start()
    receiving.join(10)
    assert heard == [None]  # it is of nobody any more
    assert not links.trunk.keeps
