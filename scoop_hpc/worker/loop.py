"""The worker's hub: the greenlet that all others leave for when they wait, and that lets them go on.

::

    '--park--> hub --step--> greenlet of tasks <-- [ inbox ] tasks of others, [ local ] of this worker
                ^                 |
                '--- [ ready ] <--'  a waiter whose future is done

A task leaves in `Waiter.park`, and comes back from `step`, nowhere else. This is the only module that knows greenlets.
"""

from __future__ import annotations

import contextvars
import signal
import sys
from collections import deque
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import Any

from greenlet import getcurrent, greenlet

from scoop_hpc.errors import NotRunningError
from scoop_hpc.pickling import batching
from scoop_hpc.protocol.messages import Batch
from scoop_hpc.worker import asyncio_bridge, frame_chunks
from scoop_hpc.worker.exchange import POLL, Exchange
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.runner import Runner
from scoop_hpc.worker.timers import Timers
from scoop_hpc.worker.waiting import Waiter

_SPARE = 16  # greenlets that are kept
_LOOK = 0.01  # seconds between looks at whether a substitute is blocked
_SAME_INTERRUPT = 1.0  # seconds: one Ctrl-C comes from the terminal and, by way of the driver, from the agent


class Loop:
    """The hub is the greenlet that makes it; if *serial*, one of its own: then the program is that greenlet."""

    def __init__(
        self,
        exchange: Exchange,
        runner: Runner,
        serial: bool = False,
        slot_is_taken: Callable[[], bool] = lambda: False,
    ) -> None:
        self.ready: deque[Waiter] = deque()
        self.timers = Timers()
        self.questions = 0  # that wait for their answers: no task is begun meanwhile
        self.ending = False  # the program has ended; what it submitted is still to be run
        self._exchange = exchange
        self._runner = runner
        self._serial = serial
        self._slot_is_taken = slot_is_taken
        self.thread = get_ident()
        self._greenlet = greenlet(self._run_serially) if serial else getcurrent()
        self._context = contextvars.copy_context()  # of which every task gets a copy
        self._spare: list[greenlet] = []  # that have done what they were started for: to make one takes 8 us
        self._interrupted = False  # while the program was parked
        self._interrupted_at = float("-inf")
        self._program: greenlet | None = None
        self._program_waits: Waiter | None = None  # with a deadline

    # what a task does

    def is_current(self) -> bool:
        """Whether the hub runs, and no task."""
        return getcurrent() is self._greenlet

    def waiter(self, deadline: float | None, brief: bool = False) -> Waiter:
        """Return a waiter for the current greenlet."""
        return Waiter(self, getcurrent(), deadline, brief)

    def nudge(self) -> None:
        """Look at what another thread has made ready. Called by that."""
        self._exchange.wake()

    def leave(self, waiter: Waiter) -> None:
        """Switch to the hub until *waiter* is resumed."""
        if getcurrent() is self._greenlet:
            raise NotRunningError("a future's callback cannot wait for another future here")
        if self._serial and self._greenlet.dead:  # Ctrl-C came while it ran
            self._greenlet = greenlet(self._run_serially)
        if waiter.deadline is not None:
            self.timers.add(waiter)
            if getcurrent() is self._program:
                self._program_waits = waiter
        self._runner.listen()
        running, deaf = self._runner.running, self._runner.deaf
        state = self._runner.state
        of_program = state is not None and state.of_program
        loop = asyncio_bridge.suspend()
        waiter.parked = True
        if self._serial:
            self._exchange.busy_since = 0.0
        try:
            self._greenlet.switch()
        finally:
            if self._serial:
                self._exchange.busy_since = monotonic()
            waiter.parked = False
            waiter.woken = True
            asyncio_bridge.resume(loop)
            if state is not None:
                state.to_program() if of_program else state.to_tasks()
            if self._program_waits is waiter:
                self._program_waits = None
            self._runner.running, self._runner.deaf = running, deaf
            self._runner.since = monotonic()

    # what the process does

    def run_program(self, program: Callable[[], int], join_threads: Callable[[], None] = lambda: None) -> int:
        """Run *program* as the origin's, and wait for what it has left; return its exit status."""
        status: list[int] = []
        signal.signal(signal.SIGINT, self._on_interrupt)
        self._program = greenlet(lambda: status.append(frame_chunks.call(program)), self._greenlet)
        self._program.gr_context = self._context
        self._exchange.busy_since = monotonic()
        self._program.switch()
        while not status:
            try:
                self._exchange.busy_since = 0.0
                if self._interrupted:
                    raise KeyboardInterrupt
                self.step()
            except BaseException as error:  # a signal handler's, or a callback's: the program is who may handle it
                self._interrupted = False
                self._exchange.busy_since = monotonic()
                self._program.throw(error)
        try:
            self._exchange.busy_since = monotonic()
            join_threads()  # they may go on with futures
            self.ending = True
            self._exchange.busy_since = 0.0
            while status[0] == 0 and self._unfinished():
                self.step()  # as an Executor does at its end: what was submitted is run
        except KeyboardInterrupt:
            return 130
        except SystemExit as end:  # a callback's
            return end.code & 0xFF if isinstance(end.code, int) else int(end.code is not None)
        return status[0]

    def _unfinished(self) -> bool:
        exchange = self._exchange
        exchange.drop_taken()
        here = exchange.local or exchange.leaving or exchange.foreign or exchange.inbox or self.ready
        return bool(exchange.sent or exchange.news() or here or exchange.substituted_since)

    def _on_interrupt(self, number: int, frame: object) -> None:
        """Take Ctrl-C: it stops what runs here, and reaches the program also if that is not what runs."""
        last, self._interrupted_at = self._interrupted_at, monotonic()
        if self._interrupted_at - last > _SAME_INTERRUPT:
            self._interrupted = getcurrent() is not self._program
            raise KeyboardInterrupt

    def serve(self) -> None:
        """Run tasks until the broker says Stop."""
        self._context = contextvars.copy_context()  # with what the program's module has set
        while not self._exchange.stopped:
            try:
                self._exchange.busy_since = 0.0
                self.step()
            except SystemExit:
                print(
                    f"scoop-hpc: worker {self._exchange.name}: a callback of a future called sys.exit()",
                    file=sys.stderr,
                )

    def _run_serially(self) -> None:
        while True:
            self.step()

    # what it does in turn

    def step(self) -> None:
        """Do one thing, or wait until there is one."""
        exchange = self._exchange
        if not self._pending():
            if not self.questions:
                if self._may_start():
                    exchange.want()
                else:
                    exchange.ask(0, idle=True)
            exchange.poll(0 if self._pending() else self._left())
        elif monotonic() - exchange.polled > POLL:
            exchange.poll(0)
        elif exchange.to_share():
            exchange.share()
        self.timers.expire()
        if exchange.deferred:
            self._start(self._runner.as_program, exchange.deferred.popleft())
        elif exchange.arrived:
            self._deliver(exchange.arrived.popleft())
        elif exchange.own:
            serial, outcome = exchange.own.popleft()
            future = exchange.claim(serial, outcome.deaf)
            if future is not None:
                self._settle(future, outcome.value, outcome.error)
        elif exchange.failed:
            future, error = exchange.failed.popleft()
            self._settle(future, None, error)
        elif self.ready and not (self.ready[0].brief and self._runnable()):
            waiter = self.ready.popleft()
            if not (exchange.inbox or waiter.brief):
                exchange.ask(0, idle=True)  # what came now would wait behind what goes on now
                exchange.flush()
            self._runner.since = exchange.busy_since = monotonic()
            waiter.resume()
            exchange.busy_since = 0.0
        elif self._runnable():
            self._start(self._work)

    def _pending(self) -> bool:
        """Whether there is something to do."""
        return bool(self.ready or self._exchange.news()) or self._runnable()

    def _left(self) -> float | None:
        """Return how long to wait at most; None: for ever."""
        left = self.timers.left()
        if not self._exchange.substituted_since:
            return left
        return _LOOK if left is None else min(left, _LOOK)

    def _runnable(self) -> bool:
        """Whether there is a task that may begin; one that may not is given away."""
        exchange = self._exchange
        if exchange.foreign:
            exchange.adopt()
        if self.questions or not (exchange.local or exchange.inbox):
            return False
        if not self._may_start():
            if self._exchange.size > 1:
                exchange.give_back()
            return False
        return True

    def _may_start(self) -> bool:
        """Whether a task that may last may start.

        Not where the program waits with a deadline, and others can do it, nor where a substitute runs one already.
        """
        if self._exchange.substituted_since and self._slot_is_taken():
            return False
        return self._program_waits is None or self._exchange.size == 1

    def _start(self, function: Callable[..., object], *args: Any) -> None:
        """Run *function* in a greenlet of its own, in the program's context [contextvars], until it parks or ends."""
        task = self._spare.pop() if self._spare else greenlet(self._serve_turns, self._greenlet)
        task.parent = self._greenlet
        task.gr_context = self._fresh_context()
        self._runner.since = self._exchange.busy_since = monotonic()
        self._runner.running = None
        task.switch(function, args)
        self._exchange.busy_since = 0.0
        self._runner.running = None

    def _serve_turns(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Call one function after the other: a greenlet's life."""
        while True:
            frame_chunks.call(function, *args)
            del function, args  # which may be large
            if len(self._spare) >= _SPARE:
                return
            self._spare.append(getcurrent())
            function, args = self._greenlet.switch()

    def _fresh_context(self) -> contextvars.Context:
        program = self._program
        return (self._context if program is None or program.dead else program.gr_context or self._context).copy()

    def _deliver(self, batch: Batch) -> None:
        """Give outcomes to their futures."""
        for serial, item, deaf in batching.load_outcomes(batch.frames):
            future = self._exchange.claim(serial, deaf)
            if future is not None:
                self._settle(future, *batching.value_of(item))

    def _settle(self, future: Future, value: Any, error: BaseException | None) -> None:
        """Settle a future from the hub: callbacks may wait, and get a greenlet of their own."""
        if future.has_callbacks:
            self._start(self._runner.settle, future, value, error)
        elif not future.settled:
            future.settle(value, error)

    def _work(self) -> None:
        """Run tasks, here and now, until one of them parks or the hub has something to do."""
        exchange = self._exchange
        if self._runner.state is not None:
            self._runner.state.to_tasks()
        while True:
            task = exchange.next_task() if exchange.inbox else None
            if task is not None:
                self._runner.run_task(task)
            else:
                exchange.ask(0, idle=True)
                exchange.flush()
                try:
                    future = exchange.local.pop()
                except IndexError:
                    return
                self._runner.run_future(future)
            if monotonic() - exchange.polled > POLL:
                exchange.poll(0)
                self.timers.expire()
            if self._interrupted or exchange.stopped or self.ready or exchange.news() or not self._runnable():
                return
