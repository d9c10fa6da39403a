"""What a greenlet waits by: parked at the hub, until a future or a deadline wakes it."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Any, Callable, Optional, Protocol

from scoop_hpc.worker import arrived


class Parks(Protocol):
    """What a waiter needs of the hub."""

    ready: deque[Waiter]

    def leave(self, waiter: Waiter) -> None:
        """Switch to the hub until *waiter* is resumed."""


class Waiter:
    """A *greenlet* that parks: woken at most once, by a future or by its *deadline* of `time.monotonic`.

    One that is *brief* will soon be back: tasks that come meanwhile are welcome.
    """

    __slots__ = ("_greenlet", "_hub", "brief", "deadline", "parked", "woken")

    def __init__(self, hub: Parks, greenlet: Any, deadline: Optional[float], brief: bool = False) -> None:
        self._hub = hub
        self._greenlet = greenlet
        self.deadline = deadline
        self.brief = brief
        self.parked = False
        self.woken = False

    def wake(self) -> None:
        """Let the greenlet go on; fit to watch a future."""
        if not self.woken:
            self.woken = True
            self._hub.ready.append(self)

    def park(self) -> bool:
        """Leave the current task until `wake` or the deadline; return whether it was woken before the deadline."""
        if not self.woken:
            environment = arrived.names.given
            self._hub.leave(self)
            if arrived.names.given is not environment:  # another task that came meanwhile has globals of its own
                arrived.enter_again(environment)
        expired = self.deadline is not None and monotonic() >= self.deadline
        return not expired

    def resume(self) -> None:
        """Go on with the greenlet, if it is still here. Called by the hub."""
        if self.parked:
            self._greenlet.switch()


class Event:
    """What `concurrent.futures.wait` and `as_completed` wait for, instead of a `threading.Event`."""

    def __init__(self, waiter: Callable[[Optional[float]], Waiter], wake: Callable[[Waiter], None]) -> None:
        self._new_waiter = waiter
        self._wake = wake
        self._set = False
        self._waiter: Optional[Waiter] = None

    def set(self) -> None:
        """Let who waits go on; called by a future that is done, in whichever thread."""
        self._set = True
        if self._waiter is not None:
            self._wake(self._waiter)

    def clear(self) -> None:
        """Take back `set`."""
        self._set = False

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._set

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Let the worker do other work until `set`, or for *timeout* seconds; return whether it was set."""
        deadline = None if timeout is None else monotonic() + timeout
        while not self._set:
            self._waiter = self._new_waiter(deadline)
            if not self._waiter.park():
                break
        return self._set
