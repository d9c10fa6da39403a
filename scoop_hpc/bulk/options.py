"""Options of the tasks that make many calls: those of the function that they call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scoop_hpc.task import TaskOptions, WithOptions, options_of


class BulkTask(WithOptions):
    """The function *func*, one of this package's, which calls a function of the user's that has *options*.

    It repeats nothing: the user's function does, for each call.
    """

    __slots__ = ("func",)

    def __init__(self, func: Callable[..., Any], options: TaskOptions) -> None:
        self.func = func
        self.options = options

    def __call__(self, *args: Any) -> Any:
        return self.func(*args)

    def __repr__(self) -> str:
        return repr(self.func)

    def __reduce__(self) -> tuple[Any, ...]:
        return BulkTask, (self.func, self.options)


def bulk_task(func: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return *func*, which calls *function* for many items, with the options of that if it has any."""
    options = options_of(function)
    return func if options is None else BulkTask(func, options)
