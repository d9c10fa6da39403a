"""Messages to and from ZeroMQ frames: a header in MessagePack, then the frames of the batches as they are.

Annotations are values here, as in `messages`.
"""

import math
import operator
from collections.abc import Sequence
from typing import Union

import msgspec

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import messages
from scoop_hpc.protocol.messages import (
    USUAL,
    Batch,
    Buffer,
    Count,
    Demand,
    Loss,
    Message,
    Number,
    Reference,
    Request,
    Results,
    Serial,
    Size,
    TaskLost,
    Tasks,
    Terms,
    Watch,
    Withdraw,
)
from scoop_hpc.protocol.names import WorkerName, may_own

_Places = tuple[int, ...]  # of the references among a batch's frames, in their order


class _TaskHead(msgspec.Struct, frozen=True, array_like=True):
    """A batch of tasks without its frames."""

    owner: WorkerName
    serial: Serial
    length: Number  # frames
    places: _Places
    count: Size
    dropped: tuple[int, ...]
    terms: Terms | None
    losses: tuple[Loss, ...]
    hops: Count


class _TaskHeads(msgspec.Struct, frozen=True, array_like=True, tag="Tasks"):
    """The header of Tasks."""

    heads: list[_TaskHead]
    answer: Number | None
    wanted: Demand | None


class _PlacedTaskHeads(_TaskHeads, frozen=True, array_like=True, tag="Tasks"):
    """The same where tasks are items of maps; without them the header has not a byte more."""

    positions: tuple[tuple[Count, ...], ...] = ()  # of each batch


class _ResultHead(msgspec.Struct, frozen=True, array_like=True):
    """A batch of outcomes without its frames."""

    owner: WorkerName
    serial: Serial
    length: Number  # frames
    places: _Places
    done: tuple[Serial, ...]


class _ResultHeads(msgspec.Struct, frozen=True, array_like=True, tag="Results"):
    """The header of Results."""

    heads: list[_ResultHead]
    request: Request | Withdraw | None
    wanted: Demand | None


_length = operator.attrgetter("length")
_SHOWN = 200  # characters of an invalid message that an error shows
_PLAIN = tuple(kind for kind in messages.MESSAGES if kind not in (Tasks, Results))
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message | _PlacedTaskHeads | _ResultHeads] = msgspec.msgpack.Decoder(
    Union[_PLAIN + (_PlacedTaskHeads, _ResultHeads)]  # noqa: UP007
)


def encode(message: Message) -> list[Buffer]:
    """Return the frames of *message*."""
    kind = type(message)
    if kind is Tasks:
        assert isinstance(message, Tasks)
        batches = message.batches
        heads = [
            _TaskHead(
                p.owner,
                p.serial,
                len(p.frames),
                _places(p.frames),
                p.count,
                p.dropped,
                None if p.terms is USUAL else p.terms,
                p.losses,
                p.hops,
            )
            for p in batches
        ]
        header = _TaskHeads(heads, message.answer, message.wanted)
        for p in batches:
            if p.positions:
                positions = tuple([p.positions for p in batches])
                header = _PlacedTaskHeads(heads, message.answer, message.wanted, positions)
                break
        frames: list[Buffer] = [_encoder.encode(header)]
    elif kind is Results:
        assert isinstance(message, Results)
        batches = message.batches
        outcomes = [_ResultHead(p.owner, p.serial, len(p.frames), _places(p.frames), p.done) for p in batches]
        frames = [_encoder.encode(_ResultHeads(outcomes, message.request, message.wanted))]
    else:
        return [_encoder.encode(message)]
    for batch in batches:
        frames += batch.frames
    return frames


def decode(frames: Sequence[Buffer]) -> Message:
    """Return the message in *frames*; raise ProtocolError, and no other error, if they are invalid."""
    try:
        header = _decoder.decode(frames[0])
    except (msgspec.MsgspecError, IndexError, ValueError, RecursionError) as error:  # ValueError: text not in UTF-8
        raise ProtocolError(f"cannot read a message of {len(frames)} frames: {_cut(ascii(str(error)))}") from error
    if isinstance(header, Message):
        if len(frames) != 1:
            raise ProtocolError(f"{len(frames) - 1} frames too many after {_shown(header)}")
        if isinstance(header, TaskLost):
            _check_number(header.time_limit)
        elif isinstance(header, Watch):
            _check_number(header.interval)
        return header
    if 1 + sum(map(_length, header.heads)) != len(frames):
        raise ProtocolError(f"{len(frames)} frames do not fit the header {_shown(header)}")
    batches = []
    start = 1
    if isinstance(header, _PlacedTaskHeads):
        for head in header.heads:
            if head.dropped:
                _check_dropped(head)
            if not may_own(head.owner):
                raise ProtocolError(f"no worker is called {_shown(head.owner)}")
            body = _body(frames[start : start + head.length], head.places)
            terms = USUAL
            if head.terms is not None:
                _check_number(head.terms.time_limit)
                terms = head.terms
            batches.append(
                Batch(head.owner, head.serial, body, head.count, head.dropped, terms, head.losses, hops=head.hops)
            )
            start += head.length
        if header.positions:
            _check_positions(header)
            batches = [msgspec.structs.replace(batch, positions=each) for batch, each in zip(batches, header.positions)]
        return Tasks(batches, header.answer, header.wanted)
    for outcome in header.heads:
        if not may_own(outcome.owner):
            raise ProtocolError(f"no worker is called {_shown(outcome.owner)}")
        body = _body(frames[start : start + outcome.length], outcome.places)
        batches.append(Batch(outcome.owner, outcome.serial, body, done=outcome.done))
        start += outcome.length
    return Results(batches, header.request, header.wanted)


def _shown(header: object) -> str:
    return _cut(repr(header))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _check_dropped(head: _TaskHead) -> None:
    """Raise ProtocolError unless those that are dropped are tasks of the batch, each once, and others are left."""
    dropped = set(head.dropped)
    if len(dropped) < len(head.dropped) or min(dropped) < head.serial or max(dropped) >= head.serial + head.count:
        raise ProtocolError(f"what is dropped is not in the batch: {_shown(head)}")
    if len(dropped) >= head.count:
        raise ProtocolError(f"{len(dropped)} of {head.count} tasks are dropped, and none is left")


def _check_positions(header: _PlacedTaskHeads) -> None:
    """Raise ProtocolError unless each batch has as many positions as tasks, or none."""
    counts = [head.count for head in header.heads]
    if len(header.positions) != len(counts) or any(
        positions and len(positions) != count for positions, count in zip(header.positions, counts)
    ):
        raise ProtocolError(f"the positions do not fit the tasks: {_shown(header)}")


def _check_number(seconds: float | None) -> None:
    """Raise ProtocolError for NaN, which is within all bounds."""
    if seconds is not None and math.isnan(seconds):
        raise ProtocolError("a time in seconds is not a number")


def _places(frames: Sequence[Buffer]) -> _Places:
    if len(frames) == 1 and type(frames[0]) is not Reference:  # nearly all batches
        return ()
    return tuple([place for place, frame in enumerate(frames) if type(frame) is Reference])


def _body(frames: Sequence[Buffer], places: _Places) -> list[Buffer]:
    body = list(frames)
    if not places:  # nearly all batches
        return body
    last = -1
    for place in places:
        if not last < place < len(body):  # each once: all are copied
            raise ProtocolError(f"frame {place} of {len(body)} cannot be a reference")
        body[place] = Reference(body[place])
        last = place
    return body
