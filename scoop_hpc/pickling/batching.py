"""Several calls of one function as one batch, and several outcomes for one owner as another.

A batch of calls is ``(function, items)``; a batch of outcomes is a list of items. Pickled together they share what
they have in common: a call of a known function with small arguments takes 20 bytes and 0.3 us. What is no atom in an
item is a pickle of its own (`Packed`), so that one bad value spoils its own item only.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from scoop_hpc.errors import UnpicklableError
from scoop_hpc.pickling import pickles
from scoop_hpc.pickling.packed import ATOMS, Packed
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.protocol.messages import Buffer
from scoop_hpc.transport.segments import LEAST, Segments

_Environment = Mapping[str, Any]  # see `main_by_value`; None: the one that is in force
_Item = Any  # the arguments of a call, or a Packed of (args, kwargs)


def pack_item(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    environment: _Environment | None = None,
    segments: Segments | None = None,
) -> _Item:
    """Return what stands for the arguments of one call among others; raise UnpicklableError."""
    for arg in args:
        if type(arg) not in ATOMS:
            break
    else:
        if not kwargs:
            return args
    return Packed(pickles.dump_task((args, kwargs), segments, environment))


def dump_calls(
    function: Callable[..., Any],
    items: Sequence[_Item],
    segments: Segments | None = None,
    environment: _Environment | None = None,
) -> list[Buffer]:
    """Return the frames of calls of *function*, each packed by `pack_item`; raise UnpicklableError."""
    return pickles.dump_task((function, items), segments, environment)


def dump_call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Buffer]:
    """Return the frames of a single call; raise UnpicklableError."""
    return pickles.dump_task((function, (args, kwargs)))


def dump_again(function: Callable[..., Any], item: _Item, environment: _Environment | None = None) -> list[Buffer]:
    """Return the frames of a call that came in a batch, in *environment*, to go on alone; raise UnpicklableError."""
    items = tuple(item) if type(item) is _SingleCall else [item]
    return pickles.dump_task((function, items), None, environment)


class PackedCalls(Struct, frozen=True):
    """The frames of a batch of calls, and the calls that are not in it because they cannot be pickled."""

    frames: list[Buffer]  # empty if there is no call in it
    refused: dict[int, UnpicklableError]  # by their places among the calls


def pack_calls(
    function: Callable[..., Any],
    calls: Sequence[tuple[tuple[Any, ...], dict[str, Any]]],
    segments: Segments | None = None,
    environment: _Environment | None = None,
) -> PackedCalls:
    """Pack calls of *function*, given by their positional and keyword arguments, into one batch."""
    if len(calls) == 1:
        try:
            return PackedCalls(dump_calls(function, calls[0], segments, environment), {})
        except UnpicklableError as error:
            return PackedCalls([], {0: error})
    items = []
    refused: dict[int, UnpicklableError] = {}
    for place, (args, kwargs) in enumerate(calls):
        try:
            items.append(pack_item(args, kwargs, environment, segments))
        except UnpicklableError as error:
            refused[place] = error
    if not items:
        return PackedCalls([], refused)
    try:
        return PackedCalls(dump_calls(function, items, segments, environment), refused)
    except UnpicklableError as error:  # of the function
        if segments is not None:
            segments.discard(frame for item in items if type(item) is Packed for frame in item.frames)
        return PackedCalls([], {place: refused.get(place, error) for place in range(len(calls))})


def load_calls(frames: Sequence[Buffer]) -> tuple[Callable[..., Any], list[_Item]]:
    """Return the function and the items in *frames*; raises whatever unpickling raises."""
    function, items = pickles.load(frames)
    if type(items) is tuple:  # a single call
        return function, [_SingleCall(items)]
    return function, items


def load_call(frames: Sequence[Buffer]) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return the function and the arguments of a single call; raises whatever unpickling raises."""
    function, (args, kwargs) = pickles.load(frames)
    return function, args, kwargs


class _SingleCall(tuple[tuple[Any, ...], dict[str, Any]]):
    """The arguments of a call that came alone."""

    __slots__ = ()


def unpack_item(item: _Item) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments in *item*, for the last time; raises whatever unpickling raises."""
    if type(item) is tuple:
        return item, {}
    arguments: tuple[tuple[Any, ...], dict[str, Any]] = item if type(item) is _SingleCall else item.unpack(last=True)
    return arguments


def pack_outcome(serial: int, outcome: Outcome, segments: Segments | None = None) -> tuple[Any, ...]:
    """Return what stands for one outcome among others. Pickled now: a function may go on to change its result."""
    if outcome.error is None:
        value = outcome.value
        if type(value) in ATOMS and not (type(value) in (bytes, str) and len(value) >= LEAST):
            return serial, value, outcome.unpolled
        try:
            return serial, Packed(pickles.dump(value, segments)), outcome.unpolled
        except BaseException as error:  # a Ctrl-C is not lost: see `Loop`
            outcome = Outcome(error=error, unpolled=outcome.unpolled)
    return serial, PackedError(pickles.dump_outcome(outcome)), outcome.unpolled


def dump_outcomes(items: Sequence[tuple[Any, ...]]) -> list[Buffer]:
    """Return the frames of outcomes, each packed by `pack_outcome`."""
    return pickles.dump(items)


class PackedError(Packed):
    """An outcome that is an error."""

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedError, (pickles.out_of_band(self.frames),)


def load_outcomes(frames: Sequence[Buffer]) -> list[tuple[Any, ...]]:
    """Return (serial, item for `value_of`, unpolled seconds) for each outcome in *frames*."""
    items: list[tuple[Any, ...]] = pickle.loads(frames[0], buffers=frames[1:])
    return items


def value_of(item: Any) -> tuple[Any, BaseException | None]:
    """Return the value or the error in an item of `load_outcomes`; what cannot be unpickled here is a TaskError."""
    if type(item) is Packed:
        try:
            return item.unpack(last=True), None
        except BaseException as error:  # unpickling runs the user's code
            return None, pickles.refusal("cannot unpickle the task's result", error)
    if type(item) is PackedError:
        return None, pickles.load_outcome(item.frames).error
    return item, None
