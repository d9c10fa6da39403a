"""A client: it owns futures, and has the workers of a pool execute them.

::

    any thread: submit --> [ offered ] --admit--> [ waiting ] --pump, so far as may be under way--> broker
                                                      |                  |
                                            cancel <--'     [ news ] <--take-- results
                                                               '--tell--> futures, callbacks

Nothing here waits, or knows of threads, but for `offer` and `ask`, which any of them may call. Futures are told by
`tell`, apart from the rest: their callbacks, and the values that are unpickled for them, may take their time.
"""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures._base import CANCELLED
from typing import Any, Protocol

from scoop_hpc.errors import NotRunningError, ProtocolError, UnpicklableError
from scoop_hpc.pickling import batching
from scoop_hpc.pool.policy import ClientPolicy
from scoop_hpc.protocol.messages import (
    Batch,
    Cancel,
    CancelAnswer,
    Message,
    Query,
    QueryAnswer,
    Results,
    Tasks,
)
from scoop_hpc.protocol.names import CLIENT
from scoop_hpc.worker.durations import Cost, Costs

_Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Pooled(Protocol):
    """What a client's future needs of its pool."""

    def is_queued(self, future: PoolFuture, cancel: bool) -> bool | None:
        """Return whether a task that was sent still waits in a queue, None if nobody knows; drop it if *cancel*."""


class PoolFuture(concurrent.futures.Future):  # type: ignore[type-arg]
    """A task's result to come, for any thread."""

    def __init__(
        self, pool: Pooled, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__()
        self.call: _Call | None = (function, args, kwargs)  # until somebody takes it, to send or to cancel it
        self.cost = _NO_COST  # once it has been admitted
        self.serial = 0  # once it is sent
        self._pool = pool
        self._process = os.getpid()

    def cancel(self) -> bool:
        """Cancel the task if it has not begun, whichever queue it waits in; return whether it is cancelled."""
        if self.take_call() is not None:
            self.drop()
        elif not self.done() and os.getpid() == self._process:
            self._pool.is_queued(self, cancel=True)
        return self.cancelled()

    def running(self) -> bool:
        """Return whether the task is being executed; what is done or waits in a queue is not."""
        if self.call is not None or self.done() or os.getpid() != self._process:
            return False
        return not self._pool.is_queued(self, cancel=False) and not self.done()

    def take_call(self) -> _Call | None:
        """Return the call, once: None if somebody has taken it before."""
        with self._condition:
            call, self.call = self.call, None
        return call

    def drop(self) -> None:
        """Be cancelled: the task will not be executed."""
        if super().cancel():
            with self._condition:
                if self._state == CANCELLED:  # those who wait for it are told now, too
                    self.set_running_or_notify_cancel()

    def result(self, timeout: float | None = None) -> Any:
        """Return what the task returned, or raise what it raised, its traceback there as the cause."""
        self._check()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the task raised, None if it returned."""
        self._check()
        return super().exception(timeout)

    def _check(self) -> None:
        if not self.done() and os.getpid() != self._process:
            raise NotRunningError("the future belongs to the process that this one was forked from: wait for it there")


class Question:
    """Whether the task of *future* waits in a queue; if so, and if *cancel*, it is dropped."""

    def __init__(self, future: PoolFuture, cancel: bool) -> None:
        self.future = future
        self.cancel = cancel
        self.queued: bool | None = None  # the answer
        self.told = threading.Event()  # the future knows of it


class PoolClient:
    """The futures of one process."""

    def __init__(self, policy: ClientPolicy = ClientPolicy()) -> None:
        self._policy = policy
        self.late = 0  # outcomes that came for no future
        self.stalled = False  # what is offered now would wait for results first
        self._offered: deque[PoolFuture] = deque()
        self._asked: deque[Question] = deque()
        self._waiting: deque[PoolFuture] = deque()
        self._sent: dict[int, PoolFuture] = {}
        self._questions: dict[int, Question] = {}  # that have been sent, by their numbers
        self._news: deque[Callable[[], None]] = deque()
        self._serial = 1  # of the next task
        self._numbers = itertools.count(1)
        self._costs = Costs()
        self._send: Callable[[Message], None] = _nowhere
        self._workers = 0

    def open(self, send: Callable[[Message], None], workers: int) -> None:
        """Have tasks executed by so many workers, whose broker *send* sends to."""
        self._send = send
        self._workers = workers

    @property
    def idle(self) -> bool:
        """Whether all futures are done, and know it."""
        return not (self._offered or self._waiting or self._sent or self._news)

    @property
    def has_news(self) -> bool:
        """Whether there is something to `tell`."""
        return bool(self._news)

    def offer(self, future: PoolFuture) -> None:
        """Take on *future*."""
        self._offered.append(future)

    def ask(self, question: Question) -> None:
        """Have *question* asked, and its future told the answer."""
        self._asked.append(question)

    def pump(self) -> None:
        """Send what is asked, and so many tasks as may be under way."""
        self.stalled = False  # before the others' last offers are admitted: who sees it set later need not say more
        self._admit()
        batches: list[Batch] = []
        bundle = self._bundle()
        while bundle:
            batch = self._pack(bundle)
            if batch is not None:
                batches.append(batch)
            bundle = self._bundle()
        if batches:
            self._send(Tasks(batches))
        while self._asked:
            self._ask(self._asked.popleft())
        self.stalled = bool(self._waiting)

    def take(self, message: Message) -> None:
        """Take in a message of the broker."""
        if isinstance(message, Results):
            for batch in message.batches:
                for serial, item, deaf in batching.load_outcomes(batch.frames):
                    future = self._sent.pop(serial, None)
                    if future is None:
                        self.late += 1
                    else:
                        future.cost.learn(deaf)
                        self._news.append(functools.partial(_settle, future, item))
        elif isinstance(message, (QueryAnswer, CancelAnswer)):
            question = None if message.number is None else self._questions.pop(message.number, None)
            if question is not None:
                self._answer(question, message.is_queued if isinstance(message, QueryAnswer) else message.is_dropped)
        else:
            raise ProtocolError(f"a broker sent a client {message!r}")

    def tell(self) -> None:
        """Tell futures what has become of them. Their callbacks may be called in here."""
        while self._news:
            self._news.popleft()()  # nothing is kept of it here

    def cancel(self) -> None:
        """Cancel what has not begun, wherever it is."""
        self._admit()
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if future.take_call() is not None:
                self._news.append(future.drop)
        for future in self._sent.values():
            self.ask(Question(future, cancel=True))

    def fail(self, error: Callable[[], BaseException]) -> None:
        """Let all futures fail; each with an *error* of its own, for tracebacks are added to it."""
        self._admit()
        futures = [*self._sent.values(), *(future for future in self._waiting if future.take_call() is not None)]
        self._sent.clear()
        self._waiting.clear()
        self._news.extend(functools.partial(future.set_exception, error()) for future in futures)
        for question in (*self._questions.values(), *self._asked):
            self._news.append(question.told.set)
        self._questions.clear()
        self._asked.clear()

    def _admit(self) -> None:
        while self._offered:
            future = self._offered.popleft()
            call = future.call
            if call is not None:
                future.cost = self._costs.of(call[0])
                self._waiting.append(future)

    def _bundle(self) -> Sequence[tuple[PoolFuture, _Call]]:
        """Take the oldest tasks, of one function, as many as may be sent and should travel together."""
        bundle: list[tuple[PoolFuture, _Call]] = []
        waiting = self._waiting
        most = 1
        while waiting and len(bundle) < most:
            call = waiting[0].call
            if bundle and call is not None and call[0] is not bundle[0][1][0]:
                break
            if not bundle:
                cost = waiting[0].cost
                room = self._room(cost)
                if room <= 0:
                    break
                most = min(room, cost.bundle(), 1 + len(waiting) // (self._workers + 1))
            future = waiting.popleft()
            call = future.take_call()
            if call is not None:
                bundle.append((future, call))
        return bundle

    def _room(self, cost: Cost) -> int:
        """Return how many more calls of this *cost* may be under way.

        Enough that no worker starves; what remains here is quickly cancelled, and travels in bundles once it is known
        how long it takes.
        """
        policy = self._policy
        ahead = policy.ahead / max(cost.deaf, policy.quickest) if cost.deaf else 0
        return self._workers * (policy.per_worker + int(ahead)) - len(self._sent)

    def _pack(self, bundle: Sequence[tuple[PoolFuture, _Call]]) -> Batch | None:
        """Return the batch of tasks of one function; what cannot be pickled fails by itself."""
        futures: list[PoolFuture] = []
        items = []
        for future, (_, args, kwargs) in bundle:
            try:
                items.append(batching.pack_item(args, kwargs) if len(bundle) > 1 else (args, kwargs))
                futures.append(future)
            except UnpicklableError as error:
                self._news.append(functools.partial(future.set_exception, error))
        if not items:
            return None
        function = bundle[0][1][0]
        try:
            frames = batching.dump_calls(function, items if len(bundle) > 1 else items[0])
        except UnpicklableError as error:
            self._news.extend(functools.partial(future.set_exception, error) for future in futures)
            return None
        first = self._serial
        self._serial += len(futures)
        for serial, future in enumerate(futures, first):
            future.serial = serial
            self._sent[serial] = future
        return Batch(CLIENT, first, frames, len(futures))

    def _ask(self, question: Question) -> None:
        future = question.future
        if future.serial not in self._sent:  # its outcome has come
            self._answer(question, queued=False)
            return
        number = next(self._numbers)
        self._questions[number] = question
        self._send((Cancel if question.cancel else Query)(CLIENT, future.serial, number))

    def _answer(self, question: Question, queued: bool) -> None:
        question.queued = queued
        if queued and question.cancel and self._sent.pop(question.future.serial, None) is not None:
            self._news.append(question.future.drop)
        self._news.append(question.told.set)


_NO_COST = Cost()


def _nowhere(message: Message) -> None:
    raise ProtocolError(f"there is no broker yet to send {message!r} to")


def _settle(future: PoolFuture, item: Any) -> None:
    value, error = batching.value_of(item)
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)
