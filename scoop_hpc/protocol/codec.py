"""Messages to and from ZeroMQ frames: a MessagePack header, then the frames of its batches untouched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

import msgspec

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import messages
from scoop_hpc.protocol.messages import (
    Batch,
    Buffer,
    Count,
    Demand,
    Message,
    Number,
    Reference,
    Request,
    Results,
    Tasks,
)

_Places = tuple[int, ...]  # of the references among a batch's frames
_TaskHead = tuple[
    str, Count, Count, _Places, Number, tuple[int, ...]
]  # owner, serial, frames, references, tasks, dropped


class TaskHeads(msgspec.Struct, frozen=True, array_like=True, tag="Tasks"):
    """What travels in the header of Tasks."""

    heads: list[_TaskHead]
    answer: int


class ResultHeads(msgspec.Struct, frozen=True, array_like=True, tag="Results"):
    """What travels in the header of Results."""

    heads: list[tuple[str, Count, Count, _Places]]  # owner, serial, frames, references
    request: Request | None
    wanted: Demand | None


_SHOWN = 200  # characters of what cannot be understood
_PLAIN = tuple(kind for kind in messages.MESSAGES if kind not in (Tasks, Results))
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message | TaskHeads | ResultHeads] = msgspec.msgpack.Decoder(
    Union[_PLAIN + (TaskHeads, ResultHeads)]  # noqa: UP007
)


def encode(message: Message) -> list[Buffer]:
    """Return the frames of *message*."""
    kind = type(message)
    if kind is Tasks:
        assert isinstance(message, Tasks)
        batches = message.batches
        heads = [(p.owner, p.serial, len(p.frames), _references(p.frames), p.count, p.dropped) for p in batches]
        frames: list[Buffer] = [_encoder.encode(TaskHeads(heads, message.answer))]
    elif kind is Results:
        assert isinstance(message, Results)
        batches = message.batches
        outcomes = [(p.owner, p.serial, len(p.frames), _references(p.frames)) for p in batches]
        frames = [_encoder.encode(ResultHeads(outcomes, message.request, message.wanted))]
    else:
        return [_encoder.encode(message)]
    for batch in batches:
        frames += batch.frames
    return frames


def decode(frames: Sequence[Buffer]) -> Message:
    """Return the message in *frames*; raise ProtocolError, and nothing else, if there is none."""
    try:
        header = _decoder.decode(frames[0])
    except (msgspec.MsgspecError, IndexError, ValueError, RecursionError) as error:  # ValueError: text not in UTF-8
        raise ProtocolError(f"cannot read a message of {len(frames)} frames: {error}") from error
    if isinstance(header, Message):
        if len(frames) != 1:
            raise ProtocolError(f"{len(frames) - 1} frames too many after {_shown(header)}")
        return header
    if 1 + sum([head[2] for head in header.heads]) != len(frames):
        raise ProtocolError(f"{len(frames)} frames do not fit the header {_shown(header)}")
    batches = []
    start = 1
    if isinstance(header, TaskHeads):
        for owner, serial, length, places, count, dropped in header.heads:
            if dropped and len(dropped) >= count:
                raise ProtocolError(f"{len(dropped)} tasks of {count} cannot be dropped, and one be left")
            batches.append(Batch(owner, serial, _body(frames[start : start + length], places), count, dropped))
            start += length
        return Tasks(batches, header.answer)
    for owner, serial, length, places in header.heads:
        batches.append(Batch(owner, serial, _body(frames[start : start + length], places)))
        start += length
    return Results(batches, header.request, header.wanted)


def _shown(header: object) -> str:
    text = repr(header)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _references(frames: Sequence[Buffer]) -> _Places:
    if len(frames) == 1 and type(frames[0]) is not Reference:  # nearly all batches
        return ()
    return tuple([place for place, frame in enumerate(frames) if type(frame) is Reference])


def _body(frames: Sequence[Buffer], references: _Places) -> list[Buffer]:
    body = list(frames)
    for place in references:
        if not 0 <= place < len(body):
            raise ProtocolError(f"frame {place} of {len(body)} cannot be a reference")
        body[place] = Reference(body[place])
    return body
