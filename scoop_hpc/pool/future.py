"""The futures of a pool's client, to be used in any thread, and their questions to the pool."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from typing import Any

from scoop_hpc.errors import NotRunningError
from scoop_hpc.pool.own_process import own_process
from scoop_hpc.protocol.messages import Cancel, Query
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.future import Future

QuestionKind = type[Query] | type[Cancel]

UNKNOWN_COST = Cost()  # of a call whose function the client has not looked at


class Pooled(ABC):
    """A pool as its futures use it, from any thread. See `scoop_hpc.worker.future.Waits`."""

    def __init__(self) -> None:
        self._owner = own_process.pid

    @abstractmethod
    def ask(self, future: PoolFuture, kind: QuestionKind) -> bool | None:
        """Ask about a task that was sent; return the answer, None if it does not come in time.

        A Query asks whether the task waits in a queue. A Cancel also drops it if it does.
        """

    def name_of(self, cost: Cost) -> str:
        """Return the name of the function whose calls have this *cost*, empty if it is not known."""
        return ""

    def wait_for(self, future: Future, deadline: float | None) -> None:
        """Return when *future* is done or the *deadline* of `time.monotonic` is over."""
        if own_process.pid != self._owner:
            raise NotRunningError("the future belongs to the process that this one was forked from: wait for it there")
        condition = future._condition
        with condition:
            if not future.settled:
                condition.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def withdraw(self, future: Future) -> bool:
        """Keep the task of *future* from being run, wherever it is; return whether it had not begun."""
        if future.take() is not None:
            return True
        if own_process.pid == self._owner and isinstance(future, PoolFuture):
            self.ask(future, Cancel)
        return future.cancelled()

    def begun(self, future: Future) -> bool:
        """Return whether the task of *future* runs now."""
        if future.unstarted or own_process.pid != self._owner or not isinstance(future, PoolFuture):
            return False
        return not self.ask(future, Query) and not future.settled

    # the pool's thread gets on with all futures, whoever waits for them

    def glance(self, future: Future) -> None:  # noqa: B027
        """Do nothing."""

    def attend(self, future: Future) -> None:  # noqa: B027
        """Do nothing."""

    def equip(self, waiter: Any) -> None:  # noqa: B027
        """Do nothing."""


class PoolFuture(Future):
    """The result of a task of a pool."""

    __slots__ = ()

    @property
    def called(self) -> str:
        pool = self._waits
        return pool.name_of(self.cost) if isinstance(pool, Pooled) else ""

    def drop(self) -> None:
        """Be cancelled: the task will not be executed."""
        if not self.settled:
            super().drop()


class Question:
    """A question about the task of *future*, and its answer."""

    def __init__(self, future: PoolFuture, kind: QuestionKind) -> None:
        self.future = future
        self.kind = kind
        self.answer: bool | None = None
        self.told = threading.Event()  # set once the future knows of the answer, too
