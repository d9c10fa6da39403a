"""Envelopes around messages that go by way of other brokers."""

from __future__ import annotations

import pytest

from scoop_hpc.broker.envelopes import Envelope, is_sealed, opened
from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Arrived
from scoop_hpc.protocol.names import broker_name
from scoop_hpc.transport.numbered import is_numbered, with_number

ENVELOPE = Envelope(broker_name(0), broker_name(45), [b"frames", b"of a message"])


def sealed() -> list[bytes]:
    return list(map(bytes, ENVELOPE.sealed()))


def test_envelope_says_for_whom_it_is_and_from_whom() -> None:
    assert is_sealed(sealed())
    assert opened(sealed()) == ENVELOPE


def test_messages_and_numbers_are_no_envelopes() -> None:
    frames = codec.encode(Arrived(3))
    assert not is_sealed(list(map(bytes, frames)))
    assert not is_sealed(list(map(bytes, with_number(7, frames))))
    assert not is_numbered(sealed())
    assert is_numbered(list(map(bytes, with_number(7, sealed()))))


def test_envelope_that_goes_round_in_circles_is_dropped() -> None:
    passed: Envelope | None = ENVELOPE
    for _ in range(16):
        assert passed is not None
        passed = passed.passed_on()
    assert passed is not None
    assert passed.passed_on() is None


@pytest.mark.parametrize(
    "first",
    [b"", b"0 1", b"0 1 2 3", b"0 1 x", b"0.1 1 2", b"agent 1 2", b"0 1 -1", b"0 1 100", b"00 1 2", b"0 1 2\n"]
    + ["٣ 1 2".encode(), b"9" * 5000 + b" 1 2", b"\xff 1 2"],
)
def test_what_is_no_envelope_is_refused(first: bytes) -> None:
    with pytest.raises(ProtocolError, match="is no envelope"):
        opened([b"\1" + first, b"message"])


@pytest.mark.parametrize("inside", [[], sealed()])
def test_envelope_without_a_message_is_refused(inside: list[bytes]) -> None:
    with pytest.raises(ProtocolError, match="has no message in it"):
        opened([sealed()[0], *inside])
