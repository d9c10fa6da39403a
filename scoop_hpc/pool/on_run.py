"""An Executor's futures in a run: futures of this worker, at most so many of them under way at once.

Futures that its own tasks submit do not count: tasks wait for them, and if all that the limit allows did so, none would
ever end.
"""

from __future__ import annotations

import contextvars
import functools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from scoop_hpc import tracebacks
from scoop_hpc.errors import BrokenPoolError, RunEndedError
from scoop_hpc.pickling import batching
from scoop_hpc.pickling.unpicklable import reason_of
from scoop_hpc.pool.status import ExecutorStatus
from scoop_hpc.protocol.messages import Buffer, Terms
from scoop_hpc.task import WithOptions, options_of
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.future import Future

_failures: dict[str, str | None] = {}  # of initializers run here, by the key of their Executor; None: it went well
_inside: contextvars.ContextVar[str | None] = contextvars.ContextVar("inside", default=None)  # whose call this task is
_taking = threading.Lock()  # the call of a future, to submit it or to cancel it

_Call = tuple["CallFor", tuple[Any, ...], dict[str, Any], Cost | None, Terms | None]


class CallFor(WithOptions):
    """The function *func*, called for the Executor *key*: in a worker where the call *initializer* was made before."""

    __slots__ = ("func", "initializer", "key")

    def __init__(self, key: str, initializer: Sequence[Buffer] | None, func: Callable[..., Any]) -> None:
        self.key = key
        self.initializer = initializer
        self.options = options_of(func)
        self.func = func  # a name that the controller looks for, when it learns how long functions take

    def __repr__(self) -> str:
        return repr(self.func)

    def __reduce__(self) -> tuple[Any, ...]:
        return CallFor, (self.key, self.initializer, self.func)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.initializer is not None:
            self._initialize(self.initializer)
        outer = _inside.set(self.key)
        try:
            return self.func(*args, **kwargs)
        finally:
            _inside.reset(outer)

    def _initialize(self, call: Sequence[Buffer]) -> None:
        if self.key not in _failures:
            _failures[self.key] = None
            try:
                function, args, kwargs = batching.load_call(call)
                function(*args, **kwargs)
            except BaseException as error:  # the user's function: it may raise anything
                print(tracebacks.text_of(error), file=sys.stderr, end="")
                _failures[self.key] = f"the initializer failed: {reason_of(error)}"
        failure = _failures[self.key]
        if failure is not None:
            broken = BrokenPoolError(failure)
            broken.executor = self.key
            raise broken


class _Queued(Future):
    """A future that waits for its turn within the limit: waiting for it does not run it."""

    def __init__(self, controller: Controller, call: _Call) -> None:
        super().__init__(controller, None, (), {}, Cost())
        self._call: _Call | None = call  # until its turn comes
        self.inner: Future | None = None  # from then on: the worker's future

    def take_call(self) -> _Call | None:
        """Take the call, to submit it; None if it was taken or cancelled before."""
        with _taking:
            call, self._call = self._call, None
        return call

    def cancel(self) -> bool:
        if self.take_call() is not None:
            self.drop()
        elif self.inner is not None:
            self.inner.cancel()
        return self.cancelled()

    def running(self) -> bool:
        return self.inner is not None and self.inner.running()


class OnRun:
    """The futures of one Executor, at most *limit* of them under way at once."""

    def __init__(
        self, controller: Controller, limit: int | None, key: str, initializer: Sequence[Buffer] | None
    ) -> None:
        self._controller = controller
        self._limit = limit if limit is not None and limit < controller.size else None
        self._key = key
        self._initializer = initializer
        self._last: CallFor | None = None  # calls of one function travel together if it is one object
        self._broken: str | None = None  # why an initializer has failed
        self._queue: deque[_Queued] = deque()
        self._open: dict[Future, None] = {}  # futures that are not done, the oldest first
        self._under_way = 0
        self._done = 0  # futures, the cancelled ones aside
        self._failed = 0  # of these
        self._lock = threading.Lock()

    def submit(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        cost: Cost | None = None,
        terms: Terms | None = None,
    ) -> Future:
        """Return the future of a call; raise BrokenPoolError if an initializer has failed.

        Without a *cost*, that of all calls of *function*; without *terms*, those of its cost.
        """
        if self._broken is not None:
            raise BrokenPoolError(self._broken)
        self._controller.check()
        call = self._last
        if call is None or call.func is not function:
            call = self._last = CallFor(self._key, self._initializer, function)
        future: Future
        if self._limit is None or self.called_inside():
            future = self._controller.submit(call, args, kwargs, cost, terms=terms)
        else:
            future = queued = _Queued(self._controller, (call, args, kwargs, cost, terms))
            self._queue.append(queued)
            self._feed()
        self.add(future)
        return future

    def add(self, future: Future) -> None:
        """Have `join` wait for *future*, too."""
        self._open[future] = None
        future.watch(functools.partial(self._on_done, future))

    @property
    def most_at_once(self) -> int:
        """The number of calls that may be under way at once."""
        return self._controller.workers if self._limit is None else self._limit

    @property
    def is_plain(self) -> bool:
        """True if any worker may run any number of the calls at once, without an initializer."""
        return self._limit is None and self._initializer is None

    @property
    def controller(self) -> Controller:
        """The worker whose futures these are."""
        return self._controller

    def status(self) -> ExecutorStatus:
        """Return how the calls stand, as far as known here."""
        queued = len(self._queue)
        workers = self.most_at_once
        under_way = max(0, len(self._open) - queued)
        state = "open" if self._broken is None else "broken"
        return ExecutorStatus(state, workers, queued, under_way, self._done, self._failed)

    def called_inside(self) -> bool:
        """Return whether the caller is a task of this Executor."""
        return _inside.get() == self._key

    def cancel(self, futures: Iterable[Future]) -> None:
        """Cancel those of *futures* that have not begun, wherever they wait. All questions go out before any answer."""
        inner = [(each.inner or each) if isinstance(each, _Queued) else each for each in futures]
        self._controller.withdraw_all(inner)

    def finish(self, cancel: bool) -> None:
        """Shut down; with *cancel*, cancel futures that have not begun."""
        if cancel:
            self._queue.clear()
            self.cancel(list(self._open))

    def join(self) -> None:
        """Wait until all futures are done; the worker does other work meanwhile."""
        while self._open:
            self._controller.wait_for(next(iter(self._open)), None)

    def _feed(self) -> None:
        future = self._next()
        while future is not None:
            call = future.take_call()
            if call is None:  # it was cancelled
                with self._lock:
                    self._under_way -= 1
            else:
                try:
                    future.inner = self._controller.submit(*call[:-1], terms=call[-1])
                except RunEndedError as error:
                    with self._lock:
                        self._under_way -= 1
                    future.settle(None, error)
                else:
                    future.inner.add_done_callback(functools.partial(self._pass_on, future))
            future = self._next()

    def _next(self) -> _Queued | None:
        """Return the next future of the queue, if one more may be under way."""
        with self._lock:
            if not self._queue or self._limit is None or self._under_way >= self._limit:
                return None
            self._under_way += 1
            return self._queue.popleft()

    def _pass_on(self, future: Future, inner: Any) -> None:
        """Give the outcome of *inner*, a future of the worker, to *future*, which the program has."""
        with self._lock:
            self._under_way -= 1
        self._feed()
        if inner.cancelled():
            future.drop()
            return
        error = inner.exception()
        future.settle(inner.result() if error is None else None, error)

    def _on_done(self, future: Future) -> None:
        self._open.pop(future, None)
        error = None if future.cancelled() else future.exception()
        with self._lock:
            self._done += not future.cancelled()
            self._failed += error is not None
        if isinstance(error, BrokenPoolError) and error.executor == self._key and self._broken is None:
            self._broken = str(error)
            while self._queue:
                waiting = self._queue.popleft()
                if waiting.take_call() is not None:
                    waiting.set_exception(BrokenPoolError(self._broken))
