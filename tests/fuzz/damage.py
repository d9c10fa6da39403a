"""Frames made from a number: valid messages and damaged ones, and some of no message at all."""

from __future__ import annotations

import random
import re
import types
import typing
from collections.abc import Callable
from typing import Any

import msgspec

from scoop_hpc.protocol import codec, messages
from scoop_hpc.protocol.messages import Message, Reference

_NAMES = (
    "0", "1", "2", "0.0", "0.1", "1.0", "0.g1", "agent", "n1/0", "", "x", "0.", ".0", "\u0664", "-1", "1\n", "9" * 30,
    "9999999999.0", "evil\x1b[2J", "\u2028",
)  # fmt: skip
_NUMBERS = (0, 1, 2, 3, 7, -1, -70, 255, 300, 2**16, 2**16 + 1, 10**12, 2**31, 2**62, 2**63 - 1, 2**64 - 1)
_WORDS = (b"\xff\xfe", b"\xed\xa0\x80", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
          b"\xcf" + b"\xff" * 8, b"\xcb\x7f\xf8" + bytes(6), b"\xc1", b"\xc0")  # fmt: skip


def make_value(kind: Any, chance: random.Random, is_sound: bool = False) -> Any:
    """Return a value of the type *kind*, as its fields are declared; where it *is sound* the codec takes it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if hasattr(kind, "__metadata__"):
        return _within(kind, chance) if is_sound else make_value(kind.__origin__, chance)
    if hasattr(kind, "__supertype__"):
        return make_value(kind.__supertype__, chance, is_sound)
    if kind is messages.Buffer:
        content = chance.randbytes(chance.randrange(5))
        return Reference(content) if chance.random() < 0.2 else content
    if origin in (typing.Union, types.UnionType):
        return make_value(chance.choice(arguments), chance, is_sound)
    if origin is typing.Literal:
        return chance.choice(arguments)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return tuple(make_value(each, chance, is_sound) for each in arguments)
    if origin in (tuple, list):
        return origin(make_value(arguments[0], chance, is_sound) for _ in range(chance.randrange(4)))
    if origin is dict:
        return {make_value(arguments[0], chance, is_sound): make_value(arguments[1], chance, is_sound)}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(kind, chance, is_sound)
    plain: dict[Any, Callable[[], Any]] = {
        int: lambda: chance.choice(_NUMBERS),
        float: lambda: chance.choice((0.0, 0.5, -1.0, 60.0, float("nan"), float("inf"))),
        str: lambda: chance.choice(_NAMES),
        bool: lambda: chance.random() < 0.5,
        bytes: lambda: chance.randbytes(chance.randrange(5)),
        type(None): lambda: None,
    }
    return plain[kind]()


def _within(kind: Any, chance: random.Random) -> Any:
    """Return a value that is allowed by the bounds of an annotated type, and sometimes the largest of all."""
    base = kind.__origin__
    while hasattr(base, "__supertype__"):
        base = base.__supertype__
    bounds = kind.__metadata__[0]
    if base is str:
        return chance.choice([name for name in _NAMES if re.search(bounds.pattern, name)])
    if base is int:
        most = bounds.le if bounds.le is not None else 2**63 - 1 if bounds.lt is None else bounds.lt - 1
        return chance.choice([number for number in (*_NUMBERS, most) if bounds.ge <= number <= most])
    if base is float:
        return chance.choice((0.5, 60.0))
    return ("ipc://a",)


_HINTS: dict[type, dict[str, Any]] = {}


def _struct(kind: type[msgspec.Struct], chance: random.Random, is_sound: bool) -> msgspec.Struct:
    hints = _HINTS.get(kind)
    if hints is None:
        hints = _HINTS[kind] = typing.get_type_hints(kind, include_extras=True)
    fields = {name: make_value(hint, chance, is_sound) for name, hint in hints.items()}
    if kind is messages.Batch:
        if chance.random() < 0.5:
            fields["owner"], fields["serial"] = chance.choice(("0.0", "0.1", "1.0", "7.0")), chance.randrange(1, 5)
            fields["count"] = chance.choice((1, 1, 2, 3, 2**16))
        if is_sound:
            fields["frames"] = fields["frames"] or [b"x"]
            fields["count"] = min(2**16, max(1, fields["count"]))
            fields["dropped"] = (fields["serial"],) if fields["count"] > 1 and chance.random() < 0.3 else ()
            fields["owner"] = fields["owner"] if fields["owner"] in _NAMES[3:6] else "0.1"
            fields["serial"] = abs(fields["serial"]) % 2**40
            fields["done"] = tuple(abs(each) % 2**40 for each in fields["done"])
    return kind(**fields)


def make_message(chance: random.Random, is_sound: bool = False) -> Message:
    """Return some message; not each can be read again unless it *is sound*."""
    message = _struct(chance.choice(messages.MESSAGES), chance, is_sound)
    assert isinstance(message, Message)
    return message


def _encoded(chance: random.Random) -> list[bytes]:
    return [bytes(frame) for frame in codec.encode(make_message(chance, chance.random() < 0.5))]


def _bits(frames: list[bytes], chance: random.Random) -> None:
    place = chance.randrange(len(frames))
    frame = bytearray(frames[place])
    for _ in range(chance.randrange(1, 4) if frame else 0):
        frame[chance.randrange(len(frame))] ^= 1 << chance.randrange(8)
    frames[place] = bytes(frame)


def _splice(frames: list[bytes], chance: random.Random) -> None:
    place = chance.randrange(len(frames))
    at = chance.randrange(len(frames[place]) + 1)
    frames[place] = frames[place][:at] + chance.choice(_WORDS) + frames[place][at + chance.randrange(3) :]


def _truncate(frames: list[bytes], chance: random.Random) -> None:
    place = chance.randrange(len(frames))
    frames[place] = frames[place][: chance.randrange(len(frames[place]) + 1)]


def _shuffle(frames: list[bytes], chance: random.Random) -> None:
    chance.shuffle(frames)


def _double(frames: list[bytes], chance: random.Random) -> None:
    frames.insert(chance.randrange(len(frames) + 1), chance.choice(frames))


def _miss(frames: list[bytes], chance: random.Random) -> None:
    del frames[chance.randrange(len(frames))]


def _retype(frames: list[bytes], chance: random.Random) -> None:
    """Put something else in the place of a field."""
    try:
        fields = msgspec.msgpack.decode(frames[0])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return
    other: Any = chance.choice(
        (None, True, -1, 10**12, 2**64 - 1, "\u0664", b"\xff", [], {}, [[[1]]], 0.5, float("nan"))
    )
    frames[0] = msgspec.msgpack.encode(_with(fields, other, chance))


def _with(fields: Any, other: Any, chance: random.Random) -> Any:
    """Return *fields* with *other* somewhere in it."""
    if not isinstance(fields, list) or not fields or chance.random() < 0.2:
        return other
    at = chance.randrange(len(fields))
    return [*fields[:at], _with(fields[at], other, chance), *fields[at + 1 :]]


def _nest(frames: list[bytes], chance: random.Random) -> None:
    frames[0] = chance.choice((b"\x91", b"\x81\xa1a", b"\xdc\x00\x01")) * chance.randrange(1, 3000) + frames[0]


_DAMAGES = (_bits, _splice, _truncate, _shuffle, _double, _miss, _retype, _nest)


def make_frames(seed: int) -> list[bytes]:
    """Return the frames of *seed*, the same each time."""
    chance = random.Random(seed)
    if chance.random() < 0.1:
        return [chance.randbytes(chance.randrange(40)) for _ in range(chance.randrange(4))]
    frames = _encoded(chance)
    for _ in range(chance.randrange(4)):
        if frames:
            chance.choice(_DAMAGES)(frames, chance)
    return frames
