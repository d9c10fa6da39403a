"""The futures of a pool's client, to be used in any thread, and their questions to the pool."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import Callable
from concurrent.futures._base import CANCELLED
from typing import Any, NamedTuple, Protocol

from scoop_hpc.errors import NotRunningError
from scoop_hpc.protocol.messages import Cancel, Query
from scoop_hpc.worker.durations import Cost

QuestionKind = type[Query] | type[Cancel]


class Call(NamedTuple):
    """A call that was submitted. One is made for every future: a frozen dataclass would take twice as long."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Pooled(Protocol):
    """A future's view of its pool."""

    def ask(self, future: PoolFuture, kind: QuestionKind) -> bool | None:
        """Ask about a task that was sent; return the answer, None if it does not come in time.

        A Query asks whether the task waits in a queue. A Cancel also drops it if it does.
        """


class PoolFuture(concurrent.futures.Future):  # type: ignore[type-arg]
    """The result of a task of a pool."""

    def __init__(
        self, pool: Pooled, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__()
        self.call: Call | None = Call(function, args, kwargs)  # until it is taken, to send or to cancel it
        self.cost = UNKNOWN_COST  # until it is admitted
        self.serial: int | None = None  # once it is sent
        self._pool = pool
        self._process = os.getpid()

    def cancel(self) -> bool:
        """Cancel the task if it has not begun, whichever queue it waits in; return whether it is cancelled."""
        if self.take_call() is not None:
            self.drop()
        elif not self.done() and os.getpid() == self._process:
            self._pool.ask(self, Cancel)
        return self.cancelled()

    def running(self) -> bool:
        """Return whether the task is being executed: it has begun, and is not done."""
        if self.call is not None or self.done() or os.getpid() != self._process:
            return False
        return not self._pool.ask(self, Query) and not self.done()

    def take_call(self) -> Call | None:
        """Return the call, once: None if it was taken before."""
        with self._condition:
            call, self.call = self.call, None
        return call

    def drop(self) -> None:
        """Be cancelled: the task will not be executed."""
        if super().cancel():
            with self._condition:
                if self._state == CANCELLED:  # wake those who wait for it
                    self.set_running_or_notify_cancel()

    def result(self, timeout: float | None = None) -> Any:
        """Return the task's result, or raise its error, with the remote traceback as the cause."""
        self._check()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the task's error, None if it returned."""
        self._check()
        return super().exception(timeout)

    def _check(self) -> None:
        if not self.done() and os.getpid() != self._process:
            raise NotRunningError("the future belongs to the process that this one was forked from: wait for it there")


class Question:
    """A question about the task of *future*, and its answer."""

    def __init__(self, future: PoolFuture, kind: QuestionKind) -> None:
        self.future = future
        self.kind = kind
        self.answer: bool | None = None
        self.told = threading.Event()  # set once the future knows of the answer, too


UNKNOWN_COST = Cost()
