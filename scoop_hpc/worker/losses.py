"""What is known of tasks that are lost with their workers: their functions' names, and the errors in their place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from scoop_hpc.errors import TimeLimitError, WorkerLostError
from scoop_hpc.pickling.unpicklable import go_on_after
from scoop_hpc.protocol.messages import TaskLost
from scoop_hpc.task import options_of
from scoop_hpc.transport.begun import Begun


def lost(message: TaskLost) -> WorkerLostError:
    """Return the error of a task that will not be tried again."""
    causes = tuple(loss.cause for loss in message.losses)
    if message.time_limit is not None:
        text = f"the task exceeded its time limit of {message.time_limit:g} s"
        return TimeLimitError(f"{text}: {_listed(causes)}", causes)
    workers = "its worker" if len(causes) == 1 else f"{len(causes)} workers, one after the other"
    return WorkerLostError(f"the task was lost with {workers}: {_listed(causes)}", causes)


def name_item(error: WorkerLostError, number: int, caller: str) -> None:
    """Say in *error* which item of a map it is about, counted from 1."""
    error.args = (f"item {number} of {caller}: {error}", error.losses)


def told_of(error: WorkerLostError, position: int) -> WorkerLostError:
    """Return what is told of a lost task: *error*, with the *position* of the task in its map if there is one.

    The error itself gets that from the map, once its result is taken.
    """
    if not position:
        return error
    told = copy.copy(error)
    name_item(told, position, "map")
    return told


def _listed(causes: tuple[str, ...]) -> str:
    return "; ".join(causes)


def name_called(begun: Begun, function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[..., Any] | None:
    """Note the name of *function* in *begun*, and return it if it need not be noted for its next call."""
    name, is_ours = name_of_call(function, args)
    if name:
        begun.call(name)
    return None if is_ours else function


def name_of_call(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, bool]:
    """Return the name of what is called, empty if there is none, and whether its next call may have another.

    A chunk's function is ours, and the user's is its first argument, another one for each map.
    """
    try:
        options = options_of(function)
        if options is not None and options.name is not None:
            return options.name, False
        calls_another = is_ours(function) and bool(args) and callable(args[0])
        return _name_of(args[0] if calls_another else function), calls_another
    except BaseException as error:  # a callable's own __getattr__
        go_on_after(error)
        return "", True


def is_ours(function: Callable[..., Any]) -> bool:
    """Return whether *function* is one of this package, which calls those of the user."""
    try:
        return function.__module__.startswith("scoop_hpc.")
    except BaseException as error:  # a callable's own __getattr__
        go_on_after(error)
        return False


def _name_of(function: Any) -> str:
    function = getattr(function, "func", function)  # of a functools.partial
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else type(function).__qualname__
