"""Messages to and from ZeroMQ frames: a MessagePack header, then the frames of its parcels untouched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

import msgspec

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol import messages
from scoop_hpc.protocol.messages import Buffer, Message, Parcel, Results, Tasks

_Heads = list[tuple[str, int, int]]  # owner, serial, how many frames


class TaskHeads(msgspec.Struct, frozen=True, array_like=True, tag="Tasks"):
    """What travels in the header of Tasks."""

    heads: _Heads
    answer: int


class ResultHeads(msgspec.Struct, frozen=True, array_like=True, tag="Results"):
    """What travels in the header of Results."""

    heads: _Heads


_PLAIN = tuple(kind for kind in messages.MESSAGES if kind not in (Tasks, Results))
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Union[Message, TaskHeads, ResultHeads]] = msgspec.msgpack.Decoder(
    Union[_PLAIN + (TaskHeads, ResultHeads)]
)


def encode(message: Message) -> list[Buffer]:
    """Return the frames of *message*."""
    if isinstance(message, (Tasks, Results)):
        heads = [(parcel.owner, parcel.serial, len(parcel.frames)) for parcel in message.parcels]
        header = TaskHeads(heads, message.answer) if isinstance(message, Tasks) else ResultHeads(heads)
        frames: list[Buffer] = [_encoder.encode(header)]
        for parcel in message.parcels:
            frames += parcel.frames
        return frames
    return [_encoder.encode(message)]


def decode(frames: Sequence[Buffer]) -> Message:
    """Return the message in *frames*; raise ProtocolError if there is none."""
    try:
        header = _decoder.decode(frames[0])
    except (msgspec.MsgspecError, IndexError) as error:
        raise ProtocolError(f"cannot read a message of {len(frames)} frames: {error}") from error
    if isinstance(header, Message):
        if len(frames) != 1:
            raise ProtocolError(f"{len(frames) - 1} frames too many after {header!r}")
        return header
    if 1 + sum(count for _, _, count in header.heads) != len(frames):
        raise ProtocolError(f"{len(frames)} frames do not fit the header {header!r}")
    parcels = []
    start = 1
    for owner, serial, count in header.heads:
        parcels.append(Parcel(owner, serial, list(frames[start : start + count])))
        start += count
    return Tasks(parcels, header.answer) if isinstance(header, TaskHeads) else Results(parcels)
