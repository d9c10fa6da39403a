"""`scoop.futures`: SCOOP's verbs with SCOOP's signatures, on `scoop_hpc.futures`.

Keywords that are not the verb's own are the function's, as they were before SCOOP 0.7, which dropped them silently; its
own examples still rely on that.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from scoop_hpc import futures
from scoop_hpc.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    DoneAndNotDone,
    Future,
    TimeoutError,
)
from scoop_hpc.task import TaskFunction

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "CancelledError",
    "Future",
    "TimeoutError",
    "as_completed",
    "map",
    "mapReduce",
    "mapScan",
    "map_as_completed",
    "shutdown",
    "submit",
    "wait",
]

_SHELL = "<console>"  # where code.interact() says that functions come from


def submit(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
    """Schedule ``func(*args, **kwargs)``; return its future."""
    return futures.submit(travelling(func), *args, **kwargs)


def map(  # noqa: A001
    func: Callable[..., Any],
    *iterables: Iterable[Any],
    timeout: float | None = None,
    chunksize: int | None = None,
    **kwargs: Any,
) -> Iterator[Any]:
    """Yield ``func(*items, **kwargs)`` for each tuple of items from *iterables*, in their order."""
    return futures.map(_with(func, kwargs), *iterables, timeout=timeout, chunksize=chunksize)


def map_as_completed(
    func: Callable[..., Any],
    *iterables: Iterable[Any],
    timeout: float | None = None,
    chunksize: int | None = None,
    **kwargs: Any,
) -> Iterator[Any]:
    """Yield the same results as `map`, as they come."""
    return futures.map_as_completed(_with(func, kwargs), *iterables, timeout=timeout, chunksize=chunksize)


def mapReduce(
    mapFunc: Callable[..., Any],
    reductionFunc: Callable[[Any, Any], Any],
    *iterables: Iterable[Any],
    timeout: float | None = None,
    **kwargs: Any,
) -> Any:
    """Return the results of `map`, merged two by two by *reductionFunc*, which must be associative."""
    return futures.map_reduce(_with(mapFunc, kwargs), travelling(reductionFunc), *iterables, timeout=timeout)


def mapScan(
    mapFunc: Callable[..., Any],
    reductionFunc: Callable[[Any, Any], Any],
    *iterables: Iterable[Any],
    timeout: float | None = None,
    **kwargs: Any,
) -> list[Any]:
    """Return the list of what `mapReduce` gives for the first result, the first two, ..., all."""
    return list(futures.map_scan(_with(mapFunc, kwargs), travelling(reductionFunc), *iterables, timeout=timeout))


def wait(fs: Iterable[Future[Any]], timeout: float | None = -1, return_when: str = ALL_COMPLETED) -> DoneAndNotDone:
    """Wait until all *fs* are done, or the first, or the first that raised; negative *timeout*: without limit."""
    limit = None if timeout is None or timeout < 0 else timeout
    return futures.wait(fs, timeout=limit, return_when=return_when)


def as_completed(fs: Iterable[Future[Any]], timeout: float | None = None) -> Iterator[Future[Any]]:
    """Yield each of *fs* once, as it is done; raise TimeoutError *timeout* seconds after the call."""
    return futures.as_completed(fs, timeout=timeout)


def shutdown(wait: bool = True) -> None:
    """Do nothing, as in SCOOP: the end of the program is the end of the run."""


def _with(func: Callable[..., Any], kwargs: dict[str, Any]) -> Callable[..., Any]:
    """Return *func* with its keywords bound, fit to travel."""
    func = travelling(func)
    return functools.partial(func, **kwargs) if kwargs else func


def travelling(func: Any) -> Any:
    """Return *func*, or, if it was typed into an interactive shell, a copy that goes to other workers by value.

    No other worker finds such a function in its program; under its own name, it would be looked for there.
    """
    if type(func) is TaskFunction:
        function = travelling(func.__wrapped__)
        return func if function is func.__wrapped__ else TaskFunction(function, func.options)
    if not isinstance(func, types.FunctionType) or func.__code__.co_filename != _SHELL:
        return func
    copy = types.FunctionType(func.__code__, func.__globals__, func.__name__, func.__defaults__, func.__closure__)
    copy.__kwdefaults__ = func.__kwdefaults__
    copy.__dict__.update(func.__dict__)
    copy.__qualname__ = f"<shell>.{func.__qualname__}"
    return copy
