"""The event loop: a greenlet that tasks switch to when they block, and that resumes them when they are ready.

::

    '--park--> loop --step-> greenlet of tasks <-- [ inbox ] tasks of others, [ local ] of this worker
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
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

from scoop_hpc.errors import NotRunningError, WorkerLostError
from scoop_hpc.pickling import batching
from scoop_hpc.protocol.messages import Batch
from scoop_hpc.worker import asyncio_bridge, frame_chunks
from scoop_hpc.worker.exchange import Exchange
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.losses import told_of
from scoop_hpc.worker.program import interrupts
from scoop_hpc.worker.runner import Runner
from scoop_hpc.worker.timers import Timers
from scoop_hpc.worker.waiting import Waiter

_R = TypeVar("_R")

_SPARE = 16  # greenlets that are kept
_SAME_INTERRUPT = 1.0  # seconds: one Ctrl-C comes from the terminal and, by way of the driver, from the agent


class Loop:
    """The event loop is the greenlet that makes it; if *serial*, one of its own: the program is the maker then."""

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
        self._state = exchange.state
        self._runner = runner
        self._serial = serial
        self._slot_is_taken = slot_is_taken
        self.thread = get_ident()
        self._greenlet = greenlet(self._run_serially) if serial else getcurrent()
        self._context = contextvars.copy_context()  # of which every task gets a copy
        self._spare: list[greenlet] = []  # that have done what they were started for: to make one takes 8 us
        self.told = False  # the program has had an exception because it is to end, or gets it when this goes on
        self.given_up: BaseException | None = None  # why no outcome will come any more
        self._interrupted: BaseException | None = None  # what the program, which was parked, is to raise
        self._interrupted_at = float("-inf")
        self._program: greenlet | None = None
        self._program_waits: Waiter | None = None  # with a deadline

    # what a task does

    def is_current(self) -> bool:
        """Return whether the event loop runs, and no task."""
        return getcurrent() is self._greenlet

    def waiter(self, deadline: float | None, brief: bool = False) -> Waiter:
        """Return a waiter for the current greenlet."""
        return Waiter(self, getcurrent(), deadline, brief)

    def nudge(self) -> None:
        """Look at what another thread has made ready. Called by that."""
        self._exchange.wake()

    def leave(self, waiter: Waiter) -> None:
        """Switch to the event loop until *waiter* is resumed."""
        if getcurrent() is self._greenlet:
            raise NotRunningError("a future's callback cannot wait for another future here")
        if self._serial and self._greenlet.dead:  # Ctrl-C came while it ran
            self._greenlet = greenlet(self._run_serially)
        if waiter.deadline is not None:
            self.timers.add(waiter)
            if getcurrent() is self._program:
                self._program_waits = waiter
        self._runner.note_poll()
        running, unpolled = self._runner.running, self._runner.unpolled
        aside, attempt, left = self._runner.aside, self._runner.attempt, monotonic()
        state = self._runner.state
        of_program = state is not None and state.of_program
        loop = asyncio_bridge.suspend() if "asyncio.events" in sys.modules else None
        begun = self._exchange.begun
        slot = 0 if begun is None else begun.pause()
        slices = self._runner.slices
        stack = [] if slices is None else slices.suspend()
        waiter.parked = True
        if self._serial:
            self._state.busy_since = 0.0
        try:
            self._greenlet.switch()
        finally:
            if self._serial:
                self._state.busy_since = monotonic()
            if begun is not None:
                begun.resume(slot)
            if slices is not None:
                slices.resume(stack)
            waiter.parked = False
            waiter.woken = True
            if loop is not None:
                asyncio_bridge.resume(loop)
            if state is not None:
                state.to_program(monotonic()) if of_program else state.to_tasks(monotonic())
            if self._program_waits is waiter:
                self._program_waits = None
            self._runner.running, self._runner.unpolled = running, unpolled
            self._runner.since = now = monotonic()
            self._runner.aside, self._runner.attempt = aside + now - left, attempt
        if getcurrent() is self._program:
            if self._interrupted is not None:  # what it waits for came before it could be told
                error, self._interrupted = self._interrupted, None
                raise error
            if self.given_up is not None and not self.told:
                self.told = True
                raise self.given_up  # it came with the failure of what is waited for, and says why

    # what the process does

    def run_program(
        self,
        program: Callable[[], int],
        join_threads: Callable[[], None] = lambda: None,
        at_exit: Callable[[], None] = lambda: None,
    ) -> int:
        """Run *program* as the origin's, wait for what it has left, then run *at_exit*; return its exit status.

        The program's part of that are *join_threads* and *at_exit*, too: they may go on with futures.
        """
        signal.signal(signal.SIGINT, self._on_interrupt)
        status = self._run_as_program(program)
        try:
            self._state.busy_since = monotonic()
            join_threads()
            self.ending = True
            self._state.busy_since = 0.0
            if status == 0:
                self._run_unfinished()
        except KeyboardInterrupt:
            status = 130
        except SystemExit as end:  # a callback's
            status = end.code & 0xFF if isinstance(end.code, int) else int(end.code is not None)
        self.ending = False
        self._run_as_program(at_exit)
        self.ending = True
        try:
            if status == 0:
                self._run_unfinished()
        except KeyboardInterrupt:
            status = 130
        return status

    def _run_as_program(self, program: Callable[[], _R]) -> _R:
        """Run *program* in a greenlet of its own, and meanwhile what it waits for; return what it returns."""
        results: list[_R] = []
        self._program = greenlet(lambda: results.append(frame_chunks.call(program)), self._greenlet)
        self._program.gr_context = self._context
        self._state.busy_since = monotonic()
        self._program.switch()
        self._state.busy_since = 0.0
        while not results:
            try:
                if self.given_up is not None and not self.told:  # it was about to wait when that came
                    self.told, self._interrupted = True, self.given_up
                if self._interrupted is not None:
                    raise self._interrupted
                self.step()
            except BaseException as error:  # a signal handler's, or a callback's: the program is who may handle it
                self._interrupted = None
                self._state.busy_since = monotonic()
                self._program.throw(error)
                self._state.busy_since = 0.0
        return results[0]

    def _run_unfinished(self) -> None:
        """Run what was submitted and not waited for, as an Executor does at its end."""
        while self.given_up is None and self._unfinished():
            self.step()

    def _unfinished(self) -> bool:
        state = self._state
        self._exchange.drop_taken()
        here = state.local or state.leaving or state.foreign or state.inbox or self.ready
        return bool(state.sent or self._exchange.has_news() or here or state.substituted_since)

    def _on_interrupt(self, number: int, frame: object) -> None:
        """Take Ctrl-C: it stops what runs here, and reaches the program also if that is not what runs."""
        last, self._interrupted_at = self._interrupted_at, monotonic()
        if self._interrupted_at - last > _SAME_INTERRUPT:
            self.told = True
            self._interrupted = None if getcurrent() is self._program else KeyboardInterrupt()
            raise interrupts.mark(KeyboardInterrupt())

    def runs_program(self) -> bool:
        """Return whether the program runs, or a task in its stead."""
        return getcurrent() is self._program

    def is_joining(self) -> bool:
        """Return whether the program has ended, but for its threads."""
        return self._program is not None and self._program.dead and not self.ending

    def interrupt(self, error: BaseException) -> None:
        """Raise *error* in what runs here, and in the program. Called by a signal's handler.

        While this loop itself runs, nothing is broken off; but for the program's threads nobody waits any longer.
        """
        self.told = True
        current = getcurrent()
        if current is not self._program:
            self._interrupted = error
        if current is self._greenlet and self._program is not None and not self.is_joining():
            self._exchange.wake()
        else:
            raise interrupts.mark(error)

    def serve(self) -> None:
        """Run tasks until the broker says Stop."""
        self._context = contextvars.copy_context()  # with what the program's module has set
        while not self._state.stopped:
            try:
                self.step()
            except SystemExit:
                self._state.busy_since = 0.0
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
        exchange, state = self._exchange, self._state
        queued = self.ready or state.arrived or state.own or state.failed or exchange.deferred
        if not queued and not ((state.local or state.inbox or state.foreign) and self._may_run()):
            left = self._left() if self.timers.heap or state.substituted_since else None
            if self.questions:
                exchange.poll(left)
            elif (self._program_waits is None and not state.substituted_since) or self.may_start():
                exchange.poll(left, wants=True)
            else:
                exchange.want_nothing()
                exchange.poll(left)
        elif monotonic() - state.polled > state.poll_seconds:
            exchange.poll(0)
        elif (state.local or state.leaving) and state.has_to_share():
            exchange.share()
        if self.timers.heap:
            self.timers.expire()
        if exchange.deferred:
            self._start(self._runner.as_program, exchange.deferred.popleft())
        elif state.arrived:
            self._deliver(state.arrived.popleft())
        elif state.own:
            serial, outcome = state.own.popleft()
            future = state.claim(serial, outcome.unpolled)
            if future is not None:
                self._settle(future, outcome.value, outcome.error)
        elif state.failed:
            future, error = state.failed.popleft()
            account = future.cost.account  # a map has none, and sees to it by itself
            if isinstance(error, WorkerLostError) and account is not None and exchange.accounts is not None:
                position = future.position
                exchange.accounts.lose(account, told_of(error, position), position or None)
            self._settle(future, None, error)
        elif self.ready and not (self.ready[0].brief and self._may_run()):
            waiter = self.ready.popleft()
            if not (state.inbox or waiter.brief):
                exchange.withdraw()  # what came now would wait behind what goes on now
            if not exchange.progress_thread.armed and state.has_tasks_to_look_after:
                exchange.arm()
            self._runner.since = now = monotonic()
            state.busy_since = now
            waiter.resume()
            state.busy_since = 0.0
            if self._exchange.accounts is not None and not waiter.is_of(self._program):
                self._exchange.accounts.worked(now, monotonic())
        elif self._may_run():
            self._start(self._work)

    def _left(self) -> float | None:
        """Return how long to wait at most; None: for ever."""
        left = self.timers.left() if self.timers.heap else None
        if not self._state.substituted_since:
            return left
        look = self._state.policy.serve_look  # whether a substitute is blocked
        return look if left is None else min(left, look)

    def _may_run(self) -> bool:
        """Return whether there is a task that may begin; one that may not is given away."""
        state = self._state
        if state.foreign:
            self._exchange.adopt()
        if self.questions or not (state.local or state.inbox):
            return False
        if state.is_spared and state.local and not state.stays(state.local[-1].cost):
            self._exchange.give_back()
            return False
        if self._program_waits is None and not state.substituted_since:
            return True
        if not self.may_start():
            if state.size > 1:
                self._exchange.give_back()
            return False
        return True

    def may_start(self) -> bool:
        """Return whether a task that may last may start.

        Not where the program waits with a deadline, and others can do it, nor where a substitute runs one already.
        """
        if self._state.substituted_since and self._slot_is_taken():
            return False
        return self._program_waits is None or self._state.size == 1

    def _start(self, function: Callable[..., object], *args: Any) -> None:
        """Run *function* in a greenlet of its own, in the program's context [contextvars], until it parks or ends."""
        task = self._spare.pop() if self._spare else greenlet(self._live, self._greenlet)
        task.parent = self._greenlet
        program = self._program
        context = None if program is None or program.dead else program.gr_context
        task.gr_context = (context or self._context).copy()
        if not self._exchange.progress_thread.armed and self._state.has_tasks_to_look_after:
            self._exchange.arm()
        self._runner.since = now = monotonic()
        self._state.busy_since = now
        self._runner.running = None
        task.switch(function, args)
        self._state.busy_since = 0.0
        if self._exchange.accounts is not None:
            self._exchange.accounts.worked(now, monotonic())
        self._runner.running = None

    def _live(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Live a greenlet's life, where there is room for frames."""
        frame_chunks.call(self._serve_turns, function, args)

    def _serve_turns(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Call one function after the other."""
        while True:
            function(*args)
            del function, args  # which may be large
            if len(self._spare) >= _SPARE:
                return
            self._spare.append(getcurrent())
            function, args = self._greenlet.switch()

    def _deliver(self, batch: Batch) -> None:
        """Give outcomes to their futures."""
        for serial, item, unpolled in batching.load_outcomes(batch.frames):
            future = self._state.claim(serial, unpolled)
            if future is None:
                continue
            value, error = batching.value_of(item)
            if future.rare is None and not future.settled:
                future.settle(value, error)
            else:
                self._settle(future, value, error)

    def _settle(self, future: Future, value: Any, error: BaseException | None) -> None:
        """Settle a future from the event loop: callbacks may wait, and get a greenlet of their own."""
        if future.has_callbacks:
            self._start(self._runner.settle, future, value, error)
        elif not future.settled:
            future.settle(value, error)

    def _work(self) -> None:
        """Run tasks, here and now, until one of them parks or the event loop has something to do."""
        if self._runner.state is not None:
            self._runner.state.to_tasks(monotonic())
        begun = self._exchange.begun
        if begun is not None:
            begun.resume()
        exchange, state = self._exchange, self._state
        try:
            while True:
                task = exchange.next_task() if state.inbox else None
                if task is not None:
                    self._runner.run_task(task)
                else:
                    exchange.withdraw()
                    try:
                        future = state.local.pop()
                    except IndexError:
                        return
                    self._runner.run_future(future)
                if monotonic() - state.polled > state.poll_seconds:
                    exchange.poll(0)
                    self.timers.expire()
                if self._interrupted or state.stopped or self.ready or exchange.has_news():
                    return
                if not (state.local or state.inbox or state.foreign) or not self._may_run():
                    return
        finally:
            if begun is not None:
                begun.pause()
