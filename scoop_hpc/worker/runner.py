"""Runs the user's functions, and learns for how long they keep the worker from polling."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from time import monotonic, monotonic_ns
from typing import Any

from scoop_hpc.pickling import main_received, pickles, task_exits
from scoop_hpc.pickling.arguments import NEVER_RESULTS, refuse_result
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.protocol.messages import Batch
from scoop_hpc.worker import asyncio_bridge
from scoop_hpc.worker.durations import Cost, Durations
from scoop_hpc.worker.exchange import Exchange
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.losses import name_called
from scoop_hpc.worker.program.forked import exit_status
from scoop_hpc.worker.program.process_state import ProcessState
from scoop_hpc.worker.program.time_limit import KillTimer
from scoop_hpc.worker.tasks import Given, positions_of
from scoop_hpc.worker.watched.accounts import MOST_TIMES, Meter
from scoop_hpc.worker.watched.slices import Slices

_LEAST = 1e-6  # seconds that a call takes, with what is beside it


class Runner:
    """Runs the tasks of one worker, one inside another or one after the other."""

    in_main = True  # thread of the worker

    def __init__(self, exchange: Exchange, durations: Durations | None = None) -> None:
        self.durations = Durations(exchange.state.policy, exchange.accounts) if durations is None else durations
        self.running: Cost | None = None  # of the task that runs
        self.unpolled = 0.0  # the longest time so far that it kept the worker from looking at its link
        self.since = monotonic()  # that it did so last
        self.aside = 0.0  # seconds since the running task began that are not its own: waits, and tasks inside it
        self.attempt = 1  # of the task of another worker that runs here
        self.state: ProcessState | None = None  # the program's and the tasks', in the origin
        self._called: Callable[..., Any] | None = None  # the function whose name this process's parent knows
        self._exchange = exchange
        self._local = exchange.state.local
        self.slices = Slices(exchange.observers, self.in_main) if exchange.observers.of_tasks else None
        self._prepare = exchange.prepare  # hands out what must not wait for the end of a call; returns when it begins

    def run_future(self, future: Future) -> bool:
        """Run a future of this worker's own, here and now; return False if that is no longer to be done."""
        call = future.begin()
        if call is None:
            return False
        state = self.state
        if state is not None and not state.of_program:
            state = None
        if future.environment is not None:  # another task may have entered its own meanwhile
            main_received.enter_again(future.environment)
        function, args, kwargs = call
        loop = asyncio_bridge.suspend() if "asyncio.events" in sys.modules else None  # a task may have one of its own
        try:
            value, error, _ = self._run(function, args, kwargs, future.cost, 1, future.position)
        finally:
            asyncio_bridge.resume(loop)
        try:
            if state is not None:
                try:
                    if len(self._local) > 1:
                        self._run_followers()
                finally:
                    if not state.of_program:
                        state.turn(self.since)
        finally:
            if future.rare is None:
                future.settle(value, error)
            else:
                self.settle(future, value, error)
        return True

    def _run_followers(self) -> None:
        """Run the quick ones of the futures that wait here, too, while the tasks have their state.

        To let them have it, and the program after that, takes as long as some of them; and who gathers the results of
        many futures asks for these next.
        """
        left = self._exchange.state.policy.follow_seconds
        while left > 0.0 and (future := self._exchange.quick_one(left)) is not None:
            left -= max(future.cost.unpolled, _LEAST)
            if not self.run_future(future):
                return
            error = future.exception()
            if isinstance(error, KeyboardInterrupt):  # nobody may ask for this one
                raise error

    def settle(self, future: Future, value: Any, error: BaseException | None) -> None:
        """Settle *future*; its callbacks are the program's."""
        if future.has_callbacks:
            self.as_program(future.settle, value, error)
        else:
            future.settle(value, error)

    def as_program(self, function: Callable[..., object], *args: Any) -> None:
        """Call *function* in the state of the program, not of the tasks."""
        state = self.state
        if state is None or state.of_program:
            function(*args)
            return
        state.to_program(monotonic())
        try:
            function(*args)
        finally:
            state.to_tasks(monotonic())

    def as_task(self) -> AbstractContextManager[None]:
        """Return a context in which the user's functions run as in a task."""
        context = nullcontext() if self.state is None else self.state.as_task()
        return asyncio_bridge.Aside(context) if "asyncio.events" in sys.modules else context

    def run_task(self, task: Given) -> None:
        """Run another worker's task, and the quick ones like it that wait behind it, or open a batch of them."""
        exchange = self._exchange
        begun = exchange.begun
        slot = 0
        try:
            if isinstance(task, Batch):
                first = self._open(task)
                if first is None:  # all were cancelled on the way
                    return
                task = first
                if isinstance(task, Batch):
                    return self.run_task(task)
            if begun is not None:
                limit = task.terms.time_limit
                deadline = 0 if limit is None else monotonic_ns() + int(limit * 1e9)
                slot = begun.begin(task.owner, task.serial, 1, len(task.losses), deadline)
            args, kwargs = task.arguments()
        except BaseException as error:  # unpickling runs the user's code; a Ctrl-C is not lost: see `Loop`
            self._refuse(task, error)
            if begun is not None and slot:
                begun.end(slot)
            return
        cost, function, attempt = task.cost, task.function, 1 + len(task.losses)
        self.since = self._prepare(cost, monotonic())
        if begun is not None and function is not self._called:
            self._called = name_called(begun, function, args)
        timer = None if begun is None or task.terms.time_limit is None else KillTimer(task.terms.time_limit)
        while True:
            if self.slices is not None:
                self.slices.expect(task.owner, task.serial)
            self.attempt = attempt
            outcome = Outcome(*self._run(function, args, kwargs, cost, attempt, task.position))
            if timer is not None:
                timer.stop()
            if not self.in_main:
                exchange.finish(task.owner, task.serial, outcome)
                break
            following = exchange.finish_and_go_on(task, outcome, self.since)
            if following is None:
                break
            task = following
            if begun is not None:
                begun.go_on(slot, task.serial)
            try:
                args, kwargs = task.arguments()
            except BaseException as error:
                self._refuse(task, error)
                break
        if begun is not None:
            begun.end(slot)

    def _refuse(self, task: Given, error: BaseException) -> None:
        """Note that tasks cannot be unpickled, because of an *error*."""
        exchange = self._exchange
        refusal = pickles.refusal(f"worker {exchange.name} cannot unpickle a task", error)
        self._account_refused(task, refusal)
        for serial in range(task.serial, task.serial + task.count):
            exchange.finish(task.owner, serial, Outcome(error=refusal))

    def _account_refused(self, task: Given, error: BaseException) -> None:
        """Note that tasks have failed because they cannot be unpickled."""
        accounts = self.durations.accounts
        if accounts is not None:
            account = accounts.of(None if isinstance(task, Batch) else task.function)
            for _ in range(task.count):
                account.times.append(0.0)
            account.add_up()
            for position in positions_of(task):
                accounts.fail(account, error, (), {}, 1 + len(task.losses), position=position or None)

    def _open(self, batch: Batch) -> Given | None:
        """Open a batch of tasks, which runs the user's code: should this worker die of it, each of them is to blame."""
        begun = self._exchange.begun
        if begun is None:
            return self._exchange.open(batch, self.durations.of)
        slot = begun.begin(batch.owner, batch.serial, batch.count, len(batch.losses))
        try:
            return self._exchange.open(batch, self.durations.of)
        finally:
            begun.opened(slot)

    def _run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        cost: Cost,
        attempt: int,
        position: int,
    ) -> tuple[Any, BaseException | None, float]:
        """Call the user's function; return its result or what it raised, and how long it was unpolled at most."""
        start = monotonic()
        outer, outer_unpolled, outer_aside = self.running, self.unpolled, self.aside
        if start - self.since > outer_unpolled:
            outer_unpolled = start - self.since
        self.running, self.since = cost, start
        self.unpolled = self.aside = 0.0
        error = None
        slices = self.slices
        if slices is not None:
            slices.begin(function, args, start)
        try:
            context = copy_context()
            state = self.state
            if state is not None:
                if context:
                    state.prepare(context, start)
                elif state.of_program:
                    state.turn(start)
            value = context.run(function, *args, **kwargs) if kwargs else context.run(function, *args)
            if type(value) in NEVER_RESULTS:
                refuse_result(function, value)
        except BaseException as raised:  # the user's function: what it raised is sent on
            value, error = None, task_exits.mark(raised) if isinstance(raised, SystemExit) else raised
        if self._exchange.forked:  # the task has forked, and its child has come back from the user's function
            os._exit(exit_status(error))
        end = monotonic()
        if slices is not None:
            slices.end(end, value)
        unpolled = end - self.since
        if self.unpolled > unpolled:
            unpolled = self.unpolled
        cost.learn(unpolled)
        times, taken = cost.times, end - start
        if times is not None:
            times.append(taken - self.aside)
            if error is not None or len(times) > MOST_TIMES or cost.options is not None:
                self._account(function, args, kwargs, cost, error, attempt, position)
        self.aside = outer_aside + taken
        self.running, self.unpolled, self.since = outer, outer_unpolled, end
        return value, error, unpolled

    def _account(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        cost: Cost,
        error: BaseException | None,
        attempt: int,
        position: int,
    ) -> None:
        """Add up the calls of a function, or note what else there is of the last one."""
        accounts, account, options = self.durations.accounts, cost.account, cost.options
        assert accounts is not None
        assert account is not None
        if len(account.times) > MOST_TIMES:
            account.add_up()
        if options is not None and options.retries:
            account.count_repeats(function)
        if error is not None and not isinstance(error, KeyboardInterrupt):
            account.add_up()
            accounts.fail(account, error, args, kwargs, attempt, options, position or None)

    def meter(self, function: Callable[..., Any]) -> Meter | None:
        """Return what counts the calls of *function* that the running task makes; None where nobody counts."""
        accounts = self.durations.accounts
        return None if accounts is None else Meter(accounts, function, self)

    def note_poll(self) -> None:
        """Note how long the running task has kept the worker from its link until now."""
        now = monotonic()
        if now - self.since > self.unpolled:
            self.unpolled = now - self.since
        self.since = now


class ThreadRunner(Runner):
    """Runs tasks in a thread other than the worker's main one."""

    in_main = False

    def __init__(self, exchange: Exchange, durations: Durations | None = None) -> None:
        super().__init__(exchange, durations)
        self._prepare = self._prepare_here

    def _prepare_here(self, cost: Cost, now: float) -> float:
        if cost.brief:
            return now
        self._exchange.flush()
        return monotonic()
