"""Options of a task: what a function is given by `scoop_hpc.futures.task`, and keeps wherever it is called or sent.

::

    task(function, retries=2) --> TaskFunction --calls, again after an exception of *retry_on*--> function
                                       |
                                       '-- options, which `options_of` finds through what is around it

Retries are made in place, by the process that makes the call, so they are each call's own in a map, too. All other
options are for the run, which reads them.
"""

from __future__ import annotations

import contextlib
import copyreg
import functools
import inspect
import math
import numbers
import operator
import os
import sys
from collections.abc import Callable
from types import CodeType, FunctionType, MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, final, overload

from msgspec import Struct
from msgspec.structs import replace

from scoop_hpc.errors import InputError

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_R = TypeVar("_R")
_S = TypeVar("_S")

_NOTES = hasattr(BaseException, "add_note")  # from Python 3.11 on, tracebacks show them [PEP 678]
_MOST_LOSSES = 100  # each of which is told of in the messages about the call
_COPIED = frozenset(functools.WRAPPER_ASSIGNMENTS)


class _NotGiven:
    """The value of an option that is not given."""

    def __repr__(self) -> str:
        return "<not given>"


_NOT_GIVEN: Any = _NotGiven()


class TaskOptions(Struct, frozen=True):
    """The options of a task, checked."""

    retries: int = 0  # how often a call is repeated after an exception
    retry_on: tuple[type[Exception], ...] = (Exception,)  # after which ones
    time_limit: float | None = None  # seconds
    name: str | None = None  # for messages
    max_losses: int = 3  # workers that may be lost with a call, until it fails

    def __reduce__(self) -> tuple[Any, ...]:
        return TaskOptions, self.values()

    def values(self) -> tuple[Any, ...]:
        """Return the values of the options, in order."""
        return self.retries, self.retry_on, self.time_limit, self.name, self.max_losses

    def given(self) -> dict[str, Any]:
        """Return the options that are not as they are without being given."""
        values = {name: getattr(self, name) for name in TaskOptions.__struct_fields__}
        return {name: value for name, value in values.items() if value != getattr(_DEFAULT, name)}

    def look_like(self, values: tuple[Any, ...]) -> bool:
        """Return whether these are their *values*, or differ by copies of classes only, made by other processes."""
        return self.values() == values or _with_names(self.values()) == _with_names(values)


_DEFAULT = TaskOptions()


def _with_names(values: tuple[Any, ...]) -> tuple[Any, ...]:
    retries, retry_on, *rest = values
    return retries, [(kind.__module__, kind.__qualname__) for kind in retry_on], rest


class WithOptions:
    """A callable of this package that calls a function of the user's; *options* are of that, None if it has none."""

    __slots__ = ("options",)

    options: TaskOptions | None


def options_of(function: object) -> TaskOptions | None:
    """Return the options of *function*, None if it has none; finds those of a partial and of a method, too.

    >>> options_of(functools.partial(task(print, retries=2), 1))
    TaskOptions(retries=2, retry_on=(<class 'Exception'>,), time_limit=None, name=None, max_losses=3)
    """
    while True:
        kind = type(function)
        if issubclass(kind, WithOptions):
            return cast("WithOptions", function).options
        if issubclass(kind, functools.partial):
            function = cast("functools.partial[Any]", function).func
        elif kind is MethodType:
            function = cast("MethodType", function).__func__
        else:
            return None


def repeated_by(function: object) -> int:
    """Return how often *function* was called again in this process, after an exception, as its options say."""
    while True:
        kind = type(function)
        if kind is TaskFunction:
            return cast("TaskFunction[..., Any]", function).repeats
        if issubclass(kind, functools.partial):
            function = cast("functools.partial[Any]", function).func
        elif kind is MethodType:
            function = cast("MethodType", function).__func__
        else:
            return 0


@final
class TaskFunction(WithOptions, Generic[_P, _R]):
    """A function with options: called, it calls the function, and repeats that as the options say."""

    __slots__ = ("__code__", "__dict__", "__weakref__", "__wrapped__", "_bare", "repeats")

    options: TaskOptions
    __name__: str
    __qualname__: str
    __wrapped__: Callable[_P, _R]
    __code__: (
        CodeType  # the function's, but an object of its own: by that, those with other options are told apart fast
    )

    def __init__(self, function: Callable[_P, _R], options: TaskOptions) -> None:
        self._set(function, options)

    def _set(self, function: Callable[_P, _R], options: TaskOptions) -> None:
        self.options = options
        self._bare: Callable[_P, _R] = _bare(function)
        self.repeats = 0  # calls after an exception, in this process
        if type(function) is FunctionType:
            self.__code__ = function.__code__.replace()
        functools.update_wrapper(self, function, updated=("__dict__",) if type(function) is FunctionType else ())

    def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call the function; repeat that after an exception of *retry_on*, *retries* times at the most.

        The arguments are those of the first call, as that has left them. Of the exceptions, the last is raised; a note
        in it says how many attempts failed.
        """
        retries = self.options.retries
        if not retries:
            return self._bare(*args, **kwargs)
        process, failed = os.getpid(), 0
        while True:
            try:
                return self._bare(*args, **kwargs)
            except Exception as error:
                if os.getpid() != process:  # in a child that the function has forked: the call goes on in the parent
                    raise
                failed += 1
                meant = isinstance(error, self.options.retry_on)
                if failed > retries or not meant:
                    if failed > 1:
                        _note(error, f"{failed} attempts failed: {_why_no_more(retries, meant)}")
                    raise
                self.repeats += 1

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> TaskFunction[_P, _R]: ...
    @overload
    def __get__(
        self: TaskFunction[Concatenate[_S, _Q], _R], instance: _S, owner: type | None = None, /
    ) -> Callable[_Q, _R]: ...
    def __get__(self, instance: Any, owner: type | None = None, /) -> Any:
        """Be a method, as functions are."""
        return self if instance is None else MethodType(self, instance)

    def __repr__(self) -> str:
        name = getattr(self, "__qualname__", None) or repr(self.__wrapped__)
        options = "".join(f", {name}={_shown(value)}" for name, value in self.options.given().items())
        return f"<task {name}{options}>"

    # pickles

    def __reduce__(self) -> tuple[Any, ...]:
        """Be found by name where that leads here; else be made anew of the function."""
        if self.is_found():
            return _named, (self.__module__, self.__dict__["__qualname__"], *self.options.values())
        return self.reduced_by_value()

    def reduced_by_value(self) -> tuple[Any, ...]:
        """Return how it is made anew; the function may refer to it, so that follows."""
        state = self.__wrapped__, self.options, self.attributes()
        return copyreg.__newobj__, (TaskFunction,), state  # type: ignore[attr-defined]  # of pickle's protocol 2

    def __setstate__(self, state: tuple[Callable[_P, _R], TaskOptions, dict[str, Any]]) -> None:
        function, options, attributes = state
        self._set(function, options)
        self.__dict__.update(attributes)

    def is_found(self) -> bool:
        """Return whether its name, in its module, leads to it."""
        found: Any = sys.modules.get(str(self.__module__))
        for name in str(self.__dict__.get("__qualname__")).split("."):
            found = getattr(found, name, None)
        return found is self

    def attributes(self) -> dict[str, Any]:
        """Return the attributes that were set on it, not on the function."""
        function = self.__wrapped__.__dict__ if type(self.__wrapped__) is FunctionType else {}
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in _COPIED and not (name in function and function[name] is value)
        }


def _named(module: str, qualname: str, *values: Any) -> TaskFunction[..., Any]:
    """Return the function of a name, with the options of these *values*.

    It has others, or none, where it was given those by a part of the program that only another worker has executed.
    """
    __import__(module)
    found: Any = sys.modules[module]
    for name in qualname.split("."):
        found = getattr(found, name)
    if type(found) is TaskFunction:
        if found.options.look_like(values):
            return found
        found = found.__wrapped__
    if not callable(found):
        raise TypeError(f"{module}.{qualname} is {found!r} here: it must be callable, as it is where the task is from")
    return TaskFunction(found, TaskOptions(*values))


def _bare(function: Any) -> Any:
    """Return what is to be called of *function*, without the retries of a task function inside."""
    if type(function) is TaskFunction:
        return function._bare
    if type(function) is functools.partial and options_of(function) is not None:
        return functools.partial(_bare(function.func), *function.args, **function.keywords)
    if type(function) is MethodType and type(function.__func__) is TaskFunction:
        return MethodType(function.__func__._bare, function.__self__)
    return function


def _why_no_more(retries: int, meant: bool) -> str:
    if not meant:
        return "after the last, retry_on does not ask for another"
    return f"no more than {retries} {'retry was' if retries == 1 else 'retries were'} asked for"


def _note(error: BaseException, text: str) -> None:
    """Add a note to *error*, whose class may be frozen, if this Python has notes."""
    if _NOTES:
        with contextlib.suppress(Exception):  # what a class of the user's makes of __notes__
            notes = [*getattr(error, "__notes__", ()), text]
            BaseException.__setattr__(error, "__notes__", notes)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(kind.__qualname__ for kind in value)}{',' if len(value) == 1 else ''})"
    return repr(value)


# what programs call, by way of `futures`


@overload
def task(
    function: Callable[_P, _R],
    /,
    *,
    retries: int = ...,
    retry_on: type[Exception] | tuple[type[Exception], ...] = ...,
    time_limit: float | None = ...,
    name: str | None = ...,
    max_losses: int = ...,
) -> TaskFunction[_P, _R]: ...
@overload
def task(
    *,
    retries: int = ...,
    retry_on: type[Exception] | tuple[type[Exception], ...] = ...,
    time_limit: float | None = ...,
    name: str | None = ...,
    max_losses: int = ...,
) -> Callable[[Callable[_P, _R]], TaskFunction[_P, _R]]: ...
def task(
    function: Any = _NOT_GIVEN,
    /,
    *,
    retries: int = _NOT_GIVEN,
    retry_on: type[Exception] | tuple[type[Exception], ...] = _NOT_GIVEN,
    time_limit: float | None = _NOT_GIVEN,
    name: str | None = _NOT_GIVEN,
    max_losses: int = _NOT_GIVEN,
) -> Any:
    """Return *function* with options for its tasks; without it, return a decorator.

    >>> @task(retries=2, retry_on=(OSError,))
    ... def read(path):
    ...     return open(path).read()
    >>> read
    <task read, retries=2, retry_on=(OSError,)>

    It is called as *function* is, here or by ``submit``, ``map``, an `Executor` and whatever else takes a function.

    *retries* is how often a call is repeated after an exception, where it was made and with the same arguments;
    *retry_on* says after which ones, all by default. Without *retries* no exception repeats a call. *time_limit* is in
    seconds, for each call. *name* stands for the function in messages. *max_losses* is with how many workers a call may
    be lost, one after the other, until it fails, 3 if it is not given; where it only waited for others, or its whole
    node was lost, a loss counts a quarter.

    Given a function that has options, or a partial or a method of one, it returns another, whose options are the same
    but for those that are given: *retries* are replaced, not multiplied.

    Raises TypeError or ValueError for an option that cannot be right, and TypeError if *function* is not callable, or
    is a generator or asynchronous function, whose results cannot travel.
    """
    given = {
        "retries": retries,
        "retry_on": retry_on,
        "time_limit": time_limit,
        "name": name,
        "max_losses": max_losses,
    }
    checked = {option: _CHECKS[option](value) for option, value in given.items() if value is not _NOT_GIVEN}
    if function is _NOT_GIVEN:
        return lambda function: _with(function, checked)
    return _with(function, checked)


def _with(function: Any, checked: dict[str, Any]) -> TaskFunction[..., Any]:
    _check_function(function)
    options = _merged(options_of(function) or _DEFAULT, checked)
    return TaskFunction(function.__wrapped__ if type(function) is TaskFunction else function, options)


def _merged(options: TaskOptions, checked: dict[str, Any]) -> TaskOptions:
    """Return *options* with those that are *checked* in their places."""
    merged = replace(options, **checked)
    if merged.retries:
        return merged
    if "retry_on" in checked:
        raise InputError(
            f"retry_on is {_shown(merged.retry_on)}, but retries is 0, so nothing is repeated: give retries=1 or more"
        )
    return replace(merged, retry_on=_DEFAULT.retry_on)


def _check_function(function: Any) -> None:
    if isinstance(function, (staticmethod, classmethod)):
        kind = type(function).__name__
        raise TypeError(f"the function is a {kind}, not a function: put @{kind} above @futures.task, not below")
    if not callable(function):
        raise TypeError(
            f"the function is {function!r}: it must be callable; options are given by name, as futures.task(retries=2)"
        )
    for is_such, what, instead in _NEVER:
        if is_such(function):
            name = getattr(function, "__name__", repr(function))
            raise TypeError(f"{name} is {what}: {instead}")


_NEVER: tuple[tuple[Callable[[Any], bool], str, str], ...] = (  # see `pickling.arguments`
    (inspect.isgeneratorfunction, "a generator function, which cannot be a task", "let it return a list"),
    (inspect.isasyncgenfunction, "an asynchronous generator function, which cannot be a task", "let it return a list"),
    (
        inspect.iscoroutinefunction,
        "an asynchronous function, whose coroutine nobody awaits",
        "let the task be a function that returns asyncio.run(...) of it",
    ),
)


def _integer(value: Any) -> int | None:
    """Return *value* as an integer; None if it is no such number."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def _check_retries(value: Any) -> int:
    retries = _integer(value)
    if retries is None:
        raise TypeError(f"retries is {value!r}: it must be an integer, how often a failed call is repeated")
    if retries < 0:
        raise InputError(f"retries is {value!r}: it must be 0, for none, or more")
    return retries


def _check_retry_on(value: Any) -> tuple[type[Exception], ...]:
    kinds = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise TypeError(f"retry_on has {kind!r}: it must be a tuple of exception classes, as (OSError,)")
        if not issubclass(kind, Exception):
            raise TypeError(
                f"retry_on has {kind.__qualname__}, which ends more than a call: only classes of Exception can be there"
            )
    if not kinds:
        raise InputError("retry_on is (), so nothing is repeated: name exception classes, or leave it out")
    return kinds


def _check_time_limit(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"time_limit is {value!r}: it must be a number of seconds, or None")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not 0 < seconds < math.inf:
        raise InputError(f"time_limit is {value!r}: it must be a number of seconds above 0, or None for no limit")
    return seconds


def _check_name(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"name is {value!r}: it must be a string, or None")
    if not value.strip() or not value.isprintable():
        raise InputError(f"name is {value!r}: it must be one line of visible characters, or left out")
    return value


def _check_max_losses(value: Any) -> int:
    losses = _integer(value)
    if losses is None:
        raise TypeError(f"max_losses is {value!r}: it must be an integer, with how many workers a call may be lost")
    if not 1 <= losses <= _MOST_LOSSES:
        raise InputError(f"max_losses is {value!r}: it must be from 1, the first loss is the last, to {_MOST_LOSSES}")
    return losses


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "retries": _check_retries,
    "retry_on": _check_retry_on,
    "time_limit": _check_time_limit,
    "name": _check_name,
    "max_losses": _check_max_losses,
}
