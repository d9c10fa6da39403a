"""What runs in one thread of a worker, told slice by slice to whoever observes tasks.

A task that waits gives up the thread to others, so a slice ends there, and another one begins when the task goes on. A
task that runs another one, because it waits for that, has it on top: their slices are one inside the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from scoop_hpc.events import Observers, TaskRan
from scoop_hpc.worker.losses import name_of_call


class _Slice:
    __slots__ = ("began", "calls", "name", "owner", "serial")

    def __init__(self, name: str, calls: int, began: float, owner: str, serial: int) -> None:
        self.name = name
        self.calls = calls
        self.began = began
        self.owner = owner
        self.serial = serial


class Slices:
    """The slices that a thread is in, from the outermost on."""

    def __init__(self, observers: Observers, in_main: bool) -> None:
        self._observers = observers
        self._in_main = in_main
        self._stack: list[_Slice] = []
        self._origin = ("", 0)  # of the task that begins next
        self._function: Any = None  # that was called last
        self._name = ""

    def expect(self, owner: str, serial: int) -> None:
        """Note whose task begins next."""
        self._origin = (owner, serial)

    def begin(self, function: Callable[..., Any], args: tuple[Any, ...], now: float) -> None:
        """Begin the slice of a call."""
        if function is not self._function:
            self._name, is_ours = name_of_call(function, args)
            self._function = None if is_ours else function
        items = args[-3] if len(args) > 3 else None
        calls = len(items) if self._function is None and isinstance(items, Sequence) else 1
        owner, serial = self._origin
        self._origin = ("", 0)
        self._stack.append(_Slice(self._name, calls, now, owner, serial))

    def end(self, now: float, result: object = None) -> None:
        """End the innermost slice, of a call with this *result*: a chunk may have left some of its calls."""
        innermost = self._stack.pop()
        if innermost.calls > 1:
            innermost.calls -= getattr(result, "left", 0)
        self._tell(innermost, now, goes_on=False)

    def suspend(self) -> list[_Slice]:
        """End all slices, for what they are of waits; return that, for `resume`."""
        stack, self._stack = self._stack, []
        now = monotonic()
        for each in reversed(stack):
            self._tell(each, now, goes_on=True)
        return stack

    def resume(self, stack: list[_Slice]) -> None:
        """Begin the slices anew of what has waited."""
        now = monotonic()
        for each in stack:
            each.began, each.owner = now, ""
        self._stack = stack

    def _tell(self, each: _Slice, now: float, goes_on: bool) -> None:
        self._observers.tell(
            TaskRan(each.name, each.began, now, each.calls, each.owner, each.serial, goes_on, self._in_main)
        )
