"""Waiters for futures: a greenlet, parked at the event loop of the worker's main thread, or another thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import get_ident
from time import monotonic
from typing import Any, Protocol

from scoop_hpc.pickling import main_received


class Parks(Protocol):
    """The event loop, as a waiter uses it."""

    ready: deque[Waiter]
    thread: int  # the event loop's

    def leave(self, waiter: Waiter) -> None:
        """Switch to the event loop until *waiter* is resumed."""

    def nudge(self) -> None:
        """Let the event loop look at what is ready; called by other threads."""


class Waiter:
    """A *greenlet* that parks: woken at most once, by a future or by its *deadline* of `time.monotonic`.

    One that is *brief* will soon be back: tasks that come meanwhile are welcome.
    """

    __slots__ = ("_greenlet", "_loop", "brief", "deadline", "parked", "woken")

    def __init__(self, loop: Parks, greenlet: Any, deadline: float | None, brief: bool = False) -> None:
        self._loop = loop
        self._greenlet = greenlet
        self.deadline = deadline
        self.brief = brief
        self.parked = False
        self.woken = False

    def is_of(self, greenlet: Any) -> bool:
        """Return whether it is this *greenlet* that waits."""
        return self._greenlet is greenlet

    def wake(self) -> None:
        """Let the greenlet go on; fit to watch a future. Any thread may call it."""
        if not self.woken:
            self.woken = True
            self._loop.ready.append(self)
            if get_ident() != self._loop.thread:
                self._loop.nudge()

    def park(self) -> bool:
        """Leave the current task until `wake` or the deadline; return whether it was woken before the deadline."""
        if not self.woken:
            environment = main_received.names.given
            self._loop.leave(self)
            if main_received.names.given is not environment:  # another task that came meanwhile has globals of its own
                main_received.enter_again(environment)
        expired = self.deadline is not None and monotonic() >= self.deadline
        return not expired

    def resume(self) -> None:
        """Go on with the greenlet, if it is still here. Called by the event loop."""
        if self.parked:
            self._greenlet.switch()


class Mailbox:
    """Calls for one thread, other than the main one, to make when it waits for futures, or looks at them."""

    def __init__(self) -> None:
        self.event = threading.Event()  # set by whatever the thread should look at
        self._calls: deque[Callable[[], object]] = deque()

    def post(self, call: Callable[[], object]) -> None:
        """Have the thread make *call*."""
        self._calls.append(call)
        self.event.set()

    def make_calls(self) -> None:
        """Make the calls that were posted. Called by the thread."""
        while self._calls:
            self._calls.popleft()()


class ThreadWaiter:
    """A thread other than the main one that waits: woken by a future or by its *deadline* of `time.monotonic`.

    While it is blocked it is *counted*, so that its futures get on although the main thread may be elsewhere.
    """

    __slots__ = ("_counted", "_mailbox", "deadline", "woken")

    def __init__(
        self, mailbox: Mailbox, counted: Callable[[], AbstractContextManager[object]], deadline: float | None
    ) -> None:
        self._mailbox = mailbox
        self._counted = counted
        self.deadline = deadline
        self.woken = False

    def wake(self) -> None:
        """Let the thread go on; fit to watch a future."""
        self.woken = True
        self._mailbox.event.set()

    def park(self) -> bool:
        """Wait until `wake` or the deadline; return whether it was woken before the deadline."""
        self._mailbox.make_calls()
        while not self.woken:
            left = None if self.deadline is None else self.deadline - monotonic()
            if left is not None and left <= 0:
                break
            with self._counted():
                self._mailbox.event.wait(left)
            self._mailbox.event.clear()
            self._mailbox.make_calls()
        return self.deadline is None or monotonic() < self.deadline


AnyWaiter = Waiter | ThreadWaiter


class Event:
    """An event for `concurrent.futures.wait` and `as_completed`, instead of a `threading.Event`."""

    def __init__(self, waiter: Callable[[float | None], AnyWaiter]) -> None:
        self._new_waiter = waiter
        self._set = False
        self._waiter: AnyWaiter | None = None

    def set(self) -> None:
        """Let who waits go on; called by a future that is done, in whichever thread."""
        self._set = True
        if self._waiter is not None:
            self._waiter.wake()

    def clear(self) -> None:
        """Take back `set`."""
        self._set = False

    def is_set(self) -> bool:
        """Return whether it was set."""
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Let the worker do other work until `set`, or for *timeout* seconds; return whether it was set."""
        deadline = None if timeout is None else monotonic() + timeout
        while not self._set:
            self._waiter = self._new_waiter(deadline)
            if not self._set and not self._waiter.park():
                break
        return self._set
