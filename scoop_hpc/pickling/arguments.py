"""Values that cannot be an argument or the result of a task, wherever that runs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Sequence
from itertools import chain
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType, MethodType
from typing import Any, NoReturn

from scoop_hpc.task import TaskFunction

# Only types that can never travel, and that nothing inherits from: a look at the type is all that a submit can afford.
_UNSENDABLE = {
    GeneratorType: "a generator, which cannot travel to another worker: make a list of it",
    AsyncGeneratorType: "an asynchronous generator, which cannot travel to another worker: make a list of it",
    CoroutineType: "a coroutine, which cannot travel to another worker: await it, and pass what it returns",
}
_TYPES = NEVER_RESULTS = frozenset(_UNSENDABLE)
_INSTEAD = {
    GeneratorType: "a generator, which cannot travel: let the task return a list of what it yields",
    AsyncGeneratorType: "an asynchronous generator, which cannot travel: let the task return a list of what it yields",
    CoroutineType: "a coroutine, which nobody awaits: let the task be a function that returns asyncio.run({}(...))",
}


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


def are_sendable(values: Iterable[Any]) -> bool:
    """Return whether `refuse_unsendable` would take all of *values* as arguments; takes 15 ns for each."""
    return _TYPES.isdisjoint(map(type, values))


def all_sendable(items: Iterable[tuple[Any, ...]]) -> bool:
    """Return whether `refuse_unsendable` would take all of *items*, each a call's arguments; takes 50 ns for each."""
    return are_sendable(chain.from_iterable(items))


def sendable(items: Sequence[tuple[Any, ...]]) -> int:
    """Return how many of *items* come before the first that `refuse_unsendable` would refuse."""
    return next((n for n, args in enumerate(items) if not all_sendable([args])), len(items))


def refuse_result(function: Any, value: Any) -> NoReturn:
    """Raise TypeError, for *function* has returned a *value* of NEVER_RESULTS, which ends here.

    >>> def each():
    ...     yield 1
    >>> refuse_result(each, each())
    Traceback (most recent call last):
    TypeError: each() returned a generator, which cannot travel: let the task return a list of what it yields
    """
    if not isinstance(value, AsyncGeneratorType):  # that warns of nothing
        with contextlib.suppress(Exception):  # the user's `finally`
            value.close()
    name = _name(function)
    raise TypeError(f"{name}() returned {_INSTEAD[type(value)].format(name)}")


def _name(function: Any) -> str:
    if type(function) is TaskFunction:
        return _name(function.__wrapped__)
    ours = type(function).__module__.startswith("scoop_hpc.")  # an Executor's
    if (ours or isinstance(function, functools.partial)) and hasattr(function, "func"):
        return _name(function.func)
    return str(function.__name__ if isinstance(function, (FunctionType, MethodType)) else type(function).__name__)


def _complaint(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    named: list[tuple[int | str, Any]] = [*enumerate(args, 1), *kwargs.items()]
    name, value = next((name, value) for name, value in named if type(value) in _TYPES)
    return f"argument {name!r} is {_UNSENDABLE[type(value)]}"
