"""The future of a task, and the call that it stands for."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Hashable
from typing import Any, Callable, Optional, Protocol

from scoop_hpc.worker.calls import Outcome
from scoop_hpc.worker.chunks import run_chunk


class Waits(Protocol):
    """What a future needs of its worker."""

    def wait_for(self, future: Future, deadline: Optional[float]) -> None:
        """Return when *future* is done or the *deadline* of `time.monotonic` is over."""

    def glance(self, future: Future) -> None:
        """Get on with *future*, without waiting for others."""


def _key(function: Any) -> Hashable:
    """Return what all copies of *function* have in common, however they came here."""
    function = getattr(function, "func", function)  # of a functools.partial
    code = getattr(function, "__code__", None)
    return type(function).__qualname__ if code is None else (code.co_filename, code.co_firstlineno)


class Call:
    """What a future will do: a function with its arguments, and the key under which its duration is known."""

    __slots__ = ("args", "function", "key", "kwargs")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.key = _key(args[0] if function is run_chunk else function)


class Future(concurrent.futures.Future):  # type: ignore[type-arg]
    """A task's result to come, as `concurrent.futures.Future`; waiting for it lets the worker run other tasks."""

    _done_callbacks: list[Callable[[Any], object]]

    def __init__(self, waits: Waits, call: Call) -> None:
        super().__init__()
        self._waits = waits
        self._call: Optional[Call] = call
        self.key = call.key
        self.serial = 0  # once it is exported
        self.seconds = 0.0  # how long the task ran, once it is done

    def result(self, timeout: Optional[float] = None) -> Any:
        """Return what the task returned, or raise what it raised, its traceback there as the cause.

        Raises `concurrent.futures.TimeoutError` after *timeout* seconds.
        """
        if not self.settled:
            self._waits.wait_for(self, None if timeout is None else time.monotonic() + timeout)
        return super().result(0)

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """Return what the task raised, None if it returned."""
        if not self.settled:
            self._waits.wait_for(self, None if timeout is None else time.monotonic() + timeout)
        return super().exception(0)

    def done(self) -> bool:
        """Return whether the task is done; a program that asks again and again will be told in time."""
        if not self.settled:
            self._waits.glance(self)
        return self.settled

    def cancel(self) -> bool:
        """Cancel the task if it has neither started nor left this worker; return whether it is cancelled."""
        if self.cancelled():
            return True
        if self.take_call() is None:
            return False
        super().cancel()
        self.set_running_or_notify_cancel()
        return True

    def forget(self, callback: Callable[[Any], None]) -> None:
        """Take back a callback that has not been called."""
        with self._condition:
            if callback in self._done_callbacks:
                self._done_callbacks.remove(callback)

    @property
    def settled(self) -> bool:
        """Whether the task is done, as far as known here; unlike `done`, this does not look for news."""
        return super().done()

    @property
    def unstarted(self) -> bool:
        """Whether the task has neither started nor left this worker."""
        return self._call is not None

    def take_call(self) -> Optional[Call]:
        """Return the call, to run or export it; None if somebody has taken it already."""
        call, self._call = self._call, None
        return call

    def settle(self, outcome: Outcome) -> None:
        """Take the task's outcome."""
        self.seconds = outcome.seconds
        if outcome.error is None:
            self.set_result(outcome.value)
        else:
            self.set_exception(outcome.error)
