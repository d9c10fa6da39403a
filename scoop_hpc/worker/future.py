"""The future of a task: `concurrent.futures.Future`, made light enough for a hundred thousand of them.

What the base class makes for every future (a condition with its lock, two lists) is made here when somebody asks for
it: a future that is submitted, run and read costs 200 bytes and a microsecond instead of 1,500 bytes and five.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

from scoop_hpc.pickling.packed import ATOMS
from scoop_hpc.protocol.messages import Terms
from scoop_hpc.worker.durations import Cost

PENDING, RUNNING, FINISHED = "PENDING", "RUNNING", "FINISHED"  # the states of concurrent.futures
CANCELLED, CANCELLED_AND_NOTIFIED = "CANCELLED", "CANCELLED_AND_NOTIFIED"
_SETTLED = frozenset({FINISHED, CANCELLED, CANCELLED_AND_NOTIFIED})

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

_making = threading.Lock()  # of what is rare, and of lists of watchers, by whichever thread


class Waits(Protocol):
    """The worker of a future, as that uses it."""

    def wait_for(self, future: Future, deadline: float | None) -> None:
        """Return when *future* is done or the *deadline* of `time.monotonic` is over."""

    def glance(self, future: Future) -> None:
        """Get on with *future*, without waiting for others."""

    def withdraw(self, future: Future) -> bool:
        """Keep the task of *future* from being run, wherever it is; return whether it had not begun."""

    def begun(self, future: Future) -> bool:
        """Return whether the task of *future* runs now, wherever it is."""

    def attend(self, future: Future) -> None:
        """See to it that *future* gets on although its owner may wait outside of this package, in asyncio for one."""

    def equip(self, waiter: Any) -> None:
        """Give a waiter of `concurrent.futures.wait` or `as_completed` an event that lets the worker go on."""


class _Waiters(list):  # type: ignore[type-arg]
    """The list that `concurrent.futures.wait` puts its waiter into."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self._waits = waits

    def append(self, waiter: Any) -> None:
        self._waits.equip(waiter)
        super().append(waiter)


class _Rare:
    """Parts that few futures need: for waiters of the standard library, and for callbacks."""

    __slots__ = ("callbacks", "condition", "observers", "polled")

    def __init__(self, waits: Waits) -> None:
        self.condition = threading.Condition()
        self.callbacks: list[Callable[[Any], object]] = []
        self.observers = _Waiters(waits)
        self.polled = False  # another thread asks again and again whether it is done


class Future(concurrent.futures.Future):  # type: ignore[type-arg]
    """A task's result to come; waiting for it lets the worker run other tasks.

    Its call is here until somebody takes it, to run or to export it. A future of another worker's task does not exist:
    futures do not travel, and cannot be pickled.
    """

    __slots__ = (
        "_exception",
        "_result",
        "_state",
        "_waits",
        "_watchers",
        "args",
        "cost",
        "function",
        "kwargs",
        "position",
        "rare",
        "serial",
    )

    terms: Terms | None = None  # where they are not those of its cost
    environment: Mapping[str, Any] | None = None  # of the task that submitted this one, in a pool: see `main_by_value`

    def __init__(
        self,
        waits: Waits,
        function: Callable[..., Any] | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        cost: Cost,
    ) -> None:
        self._waits = waits
        self._state = PENDING
        self._result = None
        self._exception = None
        self.rare: _Rare | None = None
        self._watchers: list[Callable[[], object]] | None = None
        self.function = function
        self.args: tuple[Any, ...] | None = args
        self.kwargs = kwargs or None  # an empty dict takes 64 bytes
        self.cost = cost
        self.serial = 0  # once it is exported
        self.position = 0  # in a map, from 1 on; 0: in none

    def __repr__(self) -> str:
        text, called = super().__repr__(), self.called
        return f"{text[:-1]} of {called}()>" if called else text

    @property
    def called(self) -> str:
        """The name of the function that is called, empty if it is not known."""
        account = self.cost.account
        return "" if account is None else account.name

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        # notebooks only
        from scoop_hpc.worker.watched.shown import future_html  # noqa: PLC0415

        state = {PENDING: "not done yet", RUNNING: "running", FINISHED: "finished"}.get(self._state, "cancelled")
        finished = self._state == FINISHED
        return future_html(self.called, state, self._result, self._exception, finished)

    # what the base class's methods find instead of what its constructor makes

    @property
    def _shared(self) -> _Rare:
        if self.rare is None:
            with _making:
                if self.rare is None:
                    self.rare = _Rare(self._waits)
        return self.rare

    # not by @property: for type checkers, concurrent.futures.as_completed takes what has these as attributes
    _condition: threading.Condition = property(lambda self: self._shared.condition)  # type: ignore[assignment]
    _waiters: list[Any] = property(lambda self: self._shared.observers)  # type: ignore[assignment]

    @property
    def _done_callbacks(self) -> list[Callable[[Any], object]]:
        return self._shared.callbacks

    # PEP 3148

    def result(self, timeout: float | None = None) -> Any:
        """Return what the task returned, or raise what it raised, its traceback there as the cause.

        Raises `concurrent.futures.TimeoutError` after *timeout* seconds, `CancelledError` if it was cancelled.
        """
        if self._state != FINISHED:  # what follows is `_wait`, without a call
            if self._state not in _SETTLED:
                self._waits.wait_for(self, None if timeout is None else time.monotonic() + timeout)
            if self._state != FINISHED:
                self._raise_unfinished()
        error = self._exception
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del error, self  # its traceback leads here: no cycle

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the task raised, None if it returned; raises what `result` raises of its own."""
        if self._state != FINISHED:
            self._wait(timeout)
        return self._exception

    def _wait(self, timeout: float | None) -> None:
        if self._state not in _SETTLED:
            self._waits.wait_for(self, None if timeout is None else time.monotonic() + timeout)
        if self._state != FINISHED:
            self._raise_unfinished()

    def _raise_unfinished(self) -> NoReturn:
        raise concurrent.futures.CancelledError if self.settled else concurrent.futures.TimeoutError

    def done(self) -> bool:
        """Return whether the task is done; a program that asks again and again will be told in time."""
        if not self.settled:
            self._waits.glance(self)
        return self.settled

    def is_polled(self) -> bool:
        """Return whether this was asked before; another thread polls it then."""
        before, self._shared.polled = self._shared.polled, True
        return before

    def running(self) -> bool:
        """Return whether the task is being executed, here or elsewhere; what is done or waits in a queue is not."""
        return not self.settled and (self._state == RUNNING or self._waits.begun(self))

    def cancel(self) -> bool:
        """Cancel the task if it has not begun, whichever queue it waits in; return whether it is cancelled."""
        if self._state == FINISHED:
            return False
        if not self.settled:
            if not self._waits.withdraw(self):
                return False
            self.drop()
        return True

    def drop(self) -> None:
        """Be cancelled: the task, which has not begun, will not be run."""
        super().cancel()
        self.set_running_or_notify_cancel()
        self._wake_watchers()

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Call ``fn(future)`` when the task is done; at once if it is."""
        super().add_done_callback(fn)
        if not self.settled:
            self._waits.attend(self)

    def set_result(self, result: Any) -> None:
        """Settle the future with *result*."""
        self._check_unsettled()
        self.settle(result, None)

    def set_exception(self, exception: BaseException | None) -> None:
        """Settle the future with *exception*."""
        self._check_unsettled()
        self.settle(None, exception)

    def _check_unsettled(self) -> None:
        if self.settled:
            raise concurrent.futures.InvalidStateError(f"{self._state}: {self!r}")

    def __reduce__(self) -> Any:
        raise TypeError("a future cannot be sent to another worker: send its result, or wait for it here")

    # the worker

    @property
    def settled(self) -> bool:
        """Return whether the task is done, as far as known here; unlike `done`, this does not look for news."""
        return self._state in _SETTLED

    @property
    def unstarted(self) -> bool:
        """Return whether the task has neither started nor left this worker."""
        return self.function is not None

    @property
    def has_callbacks(self) -> bool:
        """Return whether settling it runs the user's functions."""
        return self.rare is not None and bool(self.rare.callbacks)

    @property
    def has_atoms(self) -> bool:
        """True if all arguments are numbers and text: nobody can change them before they are sent."""
        return not self.kwargs and ATOMS.issuperset(map(type, self.args or ()))

    def take(self) -> Call | None:
        """Take the call, to export or to cancel it; None if somebody has, in whichever thread."""
        function, self.function = self.function, None  # no other thread goes on between the two [see `begin`]
        if function is None:
            return None
        args, kwargs = self.args, self.kwargs
        self.args = self.kwargs = None
        return function, args or (), kwargs or {}

    def begin(self) -> Call | None:
        """Take the call, as it begins here and now; None if somebody has taken it, in whichever thread.

        There is no lock, which would be a twelfth of what a future takes that stays here: CPython lets another thread
        go on where something is called or a loop turns, not in the middle of a line such as the first
        [CPython, Python/ceval.c, CHECK_EVAL_BREAKER].
        """
        function, self.function = self.function, None
        if function is None:
            return None
        self._state = RUNNING
        args, kwargs = self.args, self.kwargs
        self.args = self.kwargs = None
        return function, args or (), kwargs or {}

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Take the task's outcome, and tell everybody who waits for it, in whichever thread."""
        self._result, self._exception = value, error
        self._state = FINISHED
        rare = self.rare
        if rare is not None:  # another thread makes one before it looks at the state
            with rare.condition:
                for observer in rare.observers:
                    observer.add_result(self) if error is None else observer.add_exception(self)
                rare.condition.notify_all()
        if self._watchers is not None:
            self._wake_watchers()
        if rare is not None and rare.callbacks:
            self._invoke_callbacks()

    def watch(self, watcher: Callable[[], object]) -> None:
        """Call *watcher* once when the future is settled, at once if it is; it must not switch greenlets."""
        with _making:
            if self._watchers is None:
                self._watchers = []
            self._watchers.append(watcher)
        if self._state in _SETTLED:  # perhaps by another thread, which has not seen the watcher
            self._wake_watchers()

    def unwatch(self, watcher: Callable[[], object]) -> None:
        """Take back a watcher that has not been called."""
        with _making:
            if self._watchers and watcher in self._watchers:
                self._watchers.remove(watcher)

    def _wake_watchers(self) -> None:
        with _making:
            watchers, self._watchers = self._watchers, None
        for watcher in watchers or ():
            watcher()

    _invoke_callbacks: Callable[[], None]  # of the base class
