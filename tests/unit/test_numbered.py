"""Numbered messages, whatever is lost between the two ends: no socket."""

from __future__ import annotations

import random
from collections import deque

import msgspec
import pytest

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import MESSAGES, Buffer, Message
from scoop_hpc.protocol.names import ProcessName
from scoop_hpc.transport.numbered import Inbox, Incoming, Outgoing, Told, is_numbered

PEER = ProcessName("1")


def as_received(frames: list[Buffer]) -> list[bytes]:
    return [bytes(frame) for frame in frames]


def sent(outgoing: Outgoing, *texts: bytes) -> list[list[bytes]]:
    """Add messages; return them as they arrive."""
    return [as_received(outgoing.add([text])) for text in texts]


def taken(incoming: Incoming, messages: list[list[bytes]]) -> list[bytes]:
    """Return the texts of those *messages* that are taken."""
    return [taken[0] for message in messages if (taken := incoming.take(message)) is not None]


def kept(outgoing: Outgoing) -> list[list[bytes]]:
    return [as_received(frames) for frames in outgoing.kept()]


def test_messages_arrive_in_order_without_their_numbers() -> None:
    assert taken(Incoming(), sent(Outgoing(), b"a", b"", b"c")) == [b"a", b"", b"c"]


def test_all_frames_arrive() -> None:
    frames: list[Buffer] = [b"head", bytearray(b"body"), memoryview(b"more")]
    assert Incoming().take(as_received(Outgoing().add(frames))) == [b"head", b"body", b"more"]


def test_second_copy_is_dropped() -> None:
    incoming, (message,) = Incoming(), sent(Outgoing(), b"a")
    assert taken(incoming, [message, message]) == [b"a"]


def test_message_after_a_lost_one_is_dropped_and_comes_again_behind_that() -> None:
    outgoing, incoming = Outgoing(), Incoming()
    first, _, third = sent(outgoing, b"a", b"b", b"c")
    assert taken(incoming, [first, third]) == [b"a"]
    outgoing.have_arrived(incoming.arrived)
    assert taken(incoming, kept(outgoing)) == [b"b", b"c"]


def test_what_was_written_before_the_loss_was_seen_and_arrives_in_order_is_not_sent_again() -> None:
    outgoing, incoming = Outgoing(), Incoming()
    assert taken(incoming, sent(outgoing, b"a", b"b")) == [b"a", b"b"]
    outgoing.have_arrived(incoming.arrived)
    assert kept(outgoing) == []


def test_numbers_go_on_after_all_has_arrived() -> None:
    outgoing, incoming = Outgoing(), Incoming()
    taken(incoming, sent(outgoing, b"a"))
    outgoing.have_arrived(1)
    assert taken(incoming, sent(outgoing, b"b")) == [b"b"]
    assert incoming.arrived == 2


def test_what_has_arrived_is_not_kept() -> None:
    outgoing = Outgoing()
    sent(outgoing, b"a", b"b", b"c")
    outgoing.have_arrived(2)
    assert len(outgoing) == 1


def test_late_word_of_what_has_arrived_changes_nothing() -> None:
    outgoing = Outgoing()
    sent(outgoing, b"a", b"b", b"c")
    outgoing.have_arrived(2)
    outgoing.have_arrived(1)
    assert len(outgoing) == 1


def test_more_cannot_have_arrived_than_was_sent() -> None:
    outgoing = Outgoing()
    sent(outgoing, b"a")
    with pytest.raises(ProtocolError, match="2 messages have arrived of 1 that were sent"):
        outgoing.have_arrived(2)


def test_message_too_short_for_a_number_is_refused() -> None:
    with pytest.raises(ProtocolError, match="has no number"):
        Incoming().take([b"\0" + b"234567", b"body"])


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_no_message_is_taken_for_a_numbered_one(kind: type[Message]) -> None:
    fields = msgspec.structs.fields(kind)
    values: list[object] = [[] if field.name == "batches" else None for field in fields]
    frames = codec.encode(kind(*values))
    assert not is_numbered(as_received(frames))
    assert is_numbered(as_received(Outgoing().add(frames)))


def test_unnumbered_message_arrives_at_any_time_and_counts_nothing() -> None:
    incoming = Incoming()
    greet = [b"greet"]
    assert taken(incoming, [greet, *sent(Outgoing(), b"a"), greet]) == [b"greet", b"a", b"greet"]
    assert incoming.arrived == 1


def test_sender_is_told_after_many_messages() -> None:
    outgoing, incoming = Outgoing(), Incoming()
    count = 0
    while not incoming.is_due():
        count += len(taken(incoming, sent(outgoing, b"a")))
    assert 16 <= count <= 256
    assert incoming.tell() == count
    assert not incoming.is_due()


def test_sender_of_large_messages_is_told_earlier() -> None:
    incoming = Incoming()
    taken(incoming, [as_received(Outgoing().add([b"head", bytes(2**20)]))])
    assert incoming.is_due()
    incoming.tell()
    assert not incoming.is_due()


def test_inbox_tells_only_senders_that_do_not_know() -> None:
    inbox, outgoing = Inbox(), Outgoing()
    for name in (PEER, ProcessName("2")):
        assert inbox.greet(name) == 0
    for message in sent(outgoing, b"a", b"b"):
        inbox.take(PEER, message)
    assert inbox.tell_all() == [Told(PEER, 2)]
    assert inbox.tell_all() == []


def test_who_was_not_greeted_may_only_greet() -> None:
    inbox, (message,) = Inbox(), sent(Outgoing(), b"for the one who was here before")
    assert inbox.take(PEER, message) is None
    assert inbox.take(PEER, [b"greet"]) == [b"greet"]
    assert inbox.greet(PEER) == 0
    assert inbox.take(PEER, message) is not None


def test_greeting_again_tells_what_has_arrived() -> None:
    inbox, outgoing = Inbox(), Outgoing()
    inbox.greet(PEER)
    for message in sent(outgoing, b"a", b"b", b"c"):
        inbox.take(PEER, message)
    assert inbox.greet(PEER) == 3


def test_dropped_sender_is_not_heard() -> None:
    inbox, (message,) = Inbox(), sent(Outgoing(), b"a")
    inbox.greet(PEER)
    inbox.drop(PEER)
    assert inbox.take(PEER, message) is None
    assert not inbox.is_due(PEER)


class Connections:
    """Both ends, and what libzmq does between them: see `Dialer`."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.outgoing = Outgoing()
        self.inbox = Inbox()
        self.pipe: deque[list[bytes]] = deque()  # written, and not yet on its way
        self.wire: deque[list[bytes]] = deque()
        self.back: deque[tuple[int | None, int]] = deque()  # attempt that is answered, and what has arrived
        self.is_open = False
        self.greets = 0
        self.sent = 0
        self.arrived: list[int] = []
        self.losses_unseen = 0
        self.greet()

    def greet(self) -> None:
        self.is_open = False
        self.greets += 1
        self.pipe.append([b"greet %d" % self.greets])

    def send(self) -> None:
        self.sent += 1
        frames = as_received(self.outgoing.add([b"%d" % self.sent]))
        if self.is_open:
            self.pipe.append(frames)

    def write(self) -> None:
        for _ in range(self.chance.randrange(1, 5)):
            if self.pipe:
                self.wire.append(self.pipe.popleft())

    def deliver(self) -> None:
        """Let a message arrive, and some of them be told of."""
        if not self.wire:
            return
        frames = self.inbox.take(PEER, self.wire.popleft())
        if frames is not None and frames[0].startswith(b"greet"):
            self.back.append((int(frames[0][6:]), self.inbox.greet(PEER)))
        elif frames is not None:
            self.arrived.append(int(frames[0]))
        if self.chance.random() < 0.1:
            self.back.extend((None, told.arrived) for told in self.inbox.tell_all())

    def hear(self) -> None:
        if not self.back:
            return
        attempt, arrived = self.back.popleft()
        if attempt is None:
            self.outgoing.have_arrived(arrived)
        elif attempt == self.greets and not self.is_open:
            self.outgoing.have_arrived(arrived)
            self.is_open = True
            self.pipe.extend(kept(self.outgoing))

    def lose(self) -> None:
        """Break the connection: what is on its way is lost, but for a part of it that has arrived already."""
        for _ in range(self.chance.randrange(len(self.wire) + 1)):
            self.deliver()
        self.wire.clear()
        for _ in range(self.chance.randrange(len(self.back) + 1)):
            self.hear()
        self.back.clear()
        self.losses_unseen += 1

    def look(self) -> None:
        if self.losses_unseen:
            self.losses_unseen = 0
            self.greet()

    def step(self) -> None:
        act = self.chance.choices(
            (self.send, self.write, self.deliver, self.hear, self.lose, self.look), (20, 10, 20, 10, 1, 3)
        )[0]
        act()

    def settle(self) -> None:
        while self.losses_unseen or self.pipe or self.wire or self.back:
            for act in (self.look, self.write, self.deliver, self.hear):
                act()


@pytest.mark.parametrize("seed", range(60))
def test_all_arrives_once_and_in_order_whenever_connections_break(seed: int) -> None:
    connections = Connections(seed)
    for _ in range(2000):
        connections.step()
    connections.settle()
    assert connections.arrived == list(range(1, connections.sent + 1))
    connections.outgoing.have_arrived(connections.inbox.tell(PEER))
    assert len(connections.outgoing) == 0
