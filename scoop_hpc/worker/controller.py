"""The worker's controller: what programs, by way of `futures`, and the worker's process ask of it.

::

    submit ----> [ local ] --share--> others            what is kept and what is sent: see `Exchange`
                     |
    result() --------+--> run here and now              how: see `Runner`
                     |
                     '--> park, and let the event loop go on   see `Loop`

A future that has not started is run by the greenlet that waits for it, while its stack is shallow; else by a fresh one.
Other threads than the main one may submit and wait, too: see `Progress`, which looks after the worker while the main
thread is elsewhere.
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import math
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from threading import get_ident
from time import monotonic
from typing import Any

from scoop_hpc.errors import InputError, NotRunningError, ProgramError, RunEndedError
from scoop_hpc.events import NOBODY, Observers
from scoop_hpc.protocol.messages import Cancel, CancelAnswer, Message, Query, Terms
from scoop_hpc.protocol.names import WorkerName
from scoop_hpc.task import options_of
from scoop_hpc.transport.begun import Begun
from scoop_hpc.transport.segments import Segments
from scoop_hpc.worker.asyncio_bridge import AsyncioBridge
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.exchange import Exchange
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.link import Link
from scoop_hpc.worker.loop import Loop
from scoop_hpc.worker.loop_timing import LoopTimings
from scoop_hpc.worker.losses import name_called
from scoop_hpc.worker.policy import DEFAULT, Policy
from scoop_hpc.worker.program import interrupts
from scoop_hpc.worker.runner import Runner
from scoop_hpc.worker.shared_values import KnownValues
from scoop_hpc.worker.threads import stack
from scoop_hpc.worker.threads.progress import Progress
from scoop_hpc.worker.waiting import AnyWaiter, Event, Mailbox
from scoop_hpc.worker.watched.accounts import Accounts, Meter
from scoop_hpc.worker.watched.awaited import Awaiting, CountedFuture, CountedItems


class Controller:
    """Runs the futures of one worker, called *name*, among *size* workers in all.

    If *serial*, it is the only one, and has no broker: its program was not started by scoop-hpc.
    """

    def __init__(
        self,
        link: Link,
        name: WorkerName,
        size: int,
        serial: bool = False,
        segments: Segments | None = None,
        policy: Policy = DEFAULT,
        observers: Observers = NOBODY,
        begun: Begun | None = None,
        is_spared: bool = False,
        awaiting: Awaiting | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        self.name = name
        self.size = size  # at the start
        self.serial = serial
        self.loop_timings = LoopTimings(policy)
        self.shared_values = KnownValues(self)
        self.policy = policy
        self._awaiting = awaiting  # counts what the program waits for, if anybody watches
        self.exchange = Exchange(link, name, size, segments, policy, observers, begun, is_spared, accounts)
        self._state = self.exchange.state
        self.runner = Runner(self.exchange)
        self.progress = Progress(self.exchange, self.runner)
        self.loop = Loop(self.exchange, self.runner, serial, self.progress.slot_is_taken)
        if serial:
            self._state.busy_since = monotonic()  # the program
        self._thread = get_ident()
        self._stack_is_shallow = stack.is_shallow if serial else stack.measure()
        self._left_to_agent: dict[signal.Signals, Any] = {}
        self._mask: set[Any] = set()
        self._ended: RunEndedError | None = None  # why futures come to nothing any more
        self._barred: BaseException | None = None  # why futures cannot be used now
        self._on_first_use: Callable[[], None] | None = None  # decides whether they may be
        self.refused = ""  # what somebody was told who used them, and may not have passed on
        self._asyncio = AsyncioBridge(self.glance)
        self._glanced = 0.0

    @property
    def workers(self) -> int:
        """The number of workers now: nodes join a run, and leave it."""
        return self._state.workers

    # what programs call, by way of `futures`

    def submit(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        cost: Cost | None = None,
        make: Callable[..., Future] = Future,
        position: int = 0,
        terms: Terms | None = None,
    ) -> Future:
        """Make a future of a call, and keep it here or export it.

        *position*: of the item of a map, from 1 on; *terms*: where they are not those of its *cost*.
        """
        if self._barred is not None:
            self._refuse()
        if cost is None:
            cost = self.runner.durations.of(function)
        if self._awaiting is not None and make is Future and not self.runs_task():
            make = self._awaiting.future
        future = make(self, function, args, kwargs, cost)
        if position:
            future.position = position
        if terms is not None:
            future.terms = terms
        if get_ident() != self._thread:
            self._submit_elsewhere(future)
            return future
        if self.runner.running is not None:
            self.runner.running.spawns = True
        exchange = self.exchange
        if self.size == 1:
            if cost.terms.time_limit is not None:
                raise InputError(
                    f"the task has a time limit of {cost.terms.time_limit:g} s, and no other worker to run it, which "
                    "could be killed then: use -n 2, or more"
                )
            self._state.local.append(future)
            if exchange.on_duty is not None:
                exchange.on_duty()
        elif exchange.submit(future):
            self.runner.note_poll()
            exchange.send_and_look()
            self.runner.since = monotonic()  # what it takes to send is not the task's time
        return future

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        """Return a context in which futures that leave are sent together, if there are several within a millisecond."""
        state = self._state
        if state.gathers or get_ident() != self._thread:
            yield
            return
        state.gathers = True
        try:
            yield
        finally:
            state.gathers = False
            if state.is_due:
                state.is_due = False
                self.exchange.share()

    def _submit_elsewhere(self, future: Future) -> None:
        """Take in what a thread other than the main one submits."""
        running = self.progress.runner.running
        if running is not None:
            running.spawns = True
        self.exchange.submit_elsewhere(future)

    def cost_of(self, task: Callable[..., Any], function: Callable[..., Any]) -> Cost:
        """Return the cost of *task*, one of this package's, where it calls the user's *function*."""
        return self.runner.durations.of_pair(task, function, leaves=self._state.is_spared)

    def own_cost_of(self, function: Callable[..., Any]) -> Cost:
        """Return the cost of a task that makes so few calls of *function* that it need not leave this worker."""
        cost = Cost(self.policy, options_of(function))
        cost.learn(self.policy.own_chunk)
        return cost

    def seconds_of(self, function: Callable[..., Any]) -> float | None:
        """Return how many seconds a call of *function* may take; None if that is not known to be short."""
        cost = self.runner.durations.of(function)
        return None if cost.is_new or cost.spawns or not self._state.stays(cost) else cost.unpolled

    def may_run_here(self) -> bool:
        """Return whether the user's functions may be called here and now, by whoever asks."""
        return (
            self.longest_here > 0
            and get_ident() == self._thread
            and not self.loop.is_current()
            and self.loop.may_start()
            and self._stack_is_shallow()
        )

    def counted(self, label: str, count: int | None) -> CountedItems | None:
        """Count the items of a map of the program's that goes by *label*, if anybody watches; *count*: all of them."""
        if self._awaiting is None or self.runs_task():
            return None
        return self._awaiting.items(label, count)

    def hungry(self) -> bool:
        """Return whether other workers have too little to do, as far as known; who asks again hears of it in time."""
        if self.size == 1:
            return False
        if self._ended is not None:
            self._refuse()
        state = self._state
        if get_ident() == self._thread and monotonic() - state.polled > state.poll_seconds:
            self.runner.note_poll()
            self.exchange.poll(0)
            self.runner.since = monotonic()
        return state.wanted > 0

    def wait_for(self, future: Future, deadline: float | None) -> None:
        """Return when *future* is done or the *deadline* is over, having let the worker do other work."""
        if self._barred is not None:
            self._refuse()
        is_elsewhere = get_ident() != self._thread
        is_shallow = stack.is_shallow if is_elsewhere else self._stack_is_shallow
        if deadline is None and future.function is not None and is_shallow():
            if self._state.is_spared and not self._state.stays(future.cost):
                self.exchange.send_away(future)
            elif is_elsewhere:
                if self.progress.runner.run_future(future):
                    return
            elif self.runner.run_future(future):
                self.exchange.drop_taken()
                return
        waiter = self.progress.waiter(deadline) if is_elsewhere else self.loop.waiter(deadline)
        future.watch(waiter.wake)
        waiter.park()
        if deadline is not None:  # else it was the future that woke it
            future.unwatch(waiter.wake)

    def runs_task(self) -> bool:
        """Return whether a task runs in this thread, or in the main one: whose another thread is, nobody knows."""
        if self.runner.running is not None:
            return True
        return get_ident() != self._thread and self.progress.runner.running is not None

    def meter(self, function: Callable[..., Any]) -> Meter | None:
        """Return what counts the calls of *function* that the task of this thread makes; None where nobody counts."""
        runner = self.runner if get_ident() == self._thread else self.progress.runner
        return runner.meter(function)

    def note_called(self, function: Callable[..., Any]) -> None:
        """Let what is said of this worker's death name *function*, which one of this package's tasks calls."""
        begun = self.exchange.begun
        if begun is not None and get_ident() == self._thread:
            name_called(begun, function, ())

    def account_lost(self, function: Callable[..., Any], error: BaseException, position: int | None = None) -> None:
        """Note that a task has failed because its workers were lost: nobody else can."""
        accounts = self.exchange.accounts
        if accounts is not None:
            accounts.lose(accounts.of(function), error, position)

    @property
    def longest_here(self) -> float:
        """The seconds that a call may last which is made here: none but short ones where the program is at stake."""
        state = self._state
        return math.inf if not state.is_spared else -1.0 if state.is_shaken else self.policy.short

    def as_task(self) -> AbstractContextManager[None]:
        """Return a context for the user's functions that are called here and now, instead of in a task."""
        return self.runner.as_task()

    def run_now(self, future: Future) -> None:
        """Run *future*, which nobody else has, here and now, after a look at the link if it is time."""
        self.check()
        exchange = self.exchange
        self.runner.note_poll()
        exchange.send_and_look()
        self.runner.since = monotonic()
        self.runner.run_future(future)
        error = future.exception()
        if error is not None and interrupts.is_marked(error):  # perhaps nobody asks for this one
            raise error

    def run_if_short(self, future: Future) -> None:
        """Run *future* here and now if it is still here, known to be short, and nothing else wants to be looked at."""
        state = self._state
        if (
            future.function is not None
            and future.cost.short
            and not state.is_shaken
            and not (state.arrived or state.own)
            and monotonic() - state.polled <= state.poll_seconds
            and get_ident() == self._thread
            and self._barred is None
            and self._stack_is_shallow()
        ):
            self.runner.run_future(future)
            self.exchange.drop_taken()

    def glance(self, future: Future) -> None:
        """Get on with *future*: somebody asks again and again whether it is done, and may do nothing else.

        One that has stayed here is run; for the others, what has arrived is taken in, but not too often.
        """
        if self._barred is not None:
            return
        if get_ident() != self._thread:
            if not future.is_polled():
                self.progress.attend(future)
            return
        if self.loop.is_current():
            return
        now = monotonic()
        if future.unstarted:
            self.wait_for(future, None)
        elif now > self._glanced + self.policy.poll_seconds:
            self._glanced = now
            self.loop.waiter(now, brief=True).park()

    def withdraw(self, future: Future) -> bool:
        """Keep the task of *future* from being run, wherever it is; return whether it had not begun."""
        if self.exchange.take(future) is not None:
            return True
        if not future.serial or not self._is_queued(future, cancel=True):
            return False
        return self._state.sent.pop(future.serial, None) is not None  # else another thread settles it now

    def begun(self, future: Future) -> bool:
        """Return whether the task of *future*, which has not begun here, has begun elsewhere."""
        return future.serial > 0 and not self._is_queued(future, cancel=False) and not future.settled

    def _is_queued(self, future: Future, cancel: bool) -> bool:
        """Return whether an exported task waits in some queue; drop it there if *cancel*."""
        if self._barred is not None or (get_ident() == self._thread and self.loop.is_current()):
            return False
        if cancel:
            return bool(self.ask(lambda number: Cancel(self.name, future.serial, number)).is_dropped)
        return bool(self.ask(lambda number: Query(self.name, future.serial, number)).is_queued)

    def ask(self, message_of: Callable[[int], Message], deadline: float | None = None, soon: bool = True) -> Any:
        """Ask the broker; return the message that answers, None if the *deadline* is over.

        An answer that comes *soon* is waited for without beginning a task meanwhile.
        """
        waiter = self.waiter(deadline)
        answers: list[Any] = []

        def reply(message: Any) -> None:
            answers.append(message)
            waiter.wake()

        number = self.exchange.question(message_of, reply)
        holds_loop = soon and get_ident() == self._thread
        self.loop.questions += holds_loop
        try:
            waiter.park()
        finally:
            self.loop.questions -= holds_loop
            self._state.forget(number)
        return answers[0] if answers else None

    def abandon(self, future: Future) -> None:
        """Do not care for *future* any more: keep it from being run, or drop its outcome when that comes."""
        if isinstance(future, CountedFuture):
            future.leave()
        if self.exchange.take(future) is None:
            self.exchange.abandon(future)

    def withdraw_all(self, futures: Iterable[Future]) -> None:
        """Cancel what of *futures* has not begun, wherever it waits. All are asked about before any answer is in."""
        if self._ended is not None:
            return
        sought: dict[int, Future] = {}
        answers: list[CancelAnswer] = []
        waiter = self.waiter(None)

        def reply(answer: CancelAnswer) -> None:
            answers.append(answer)
            if len(answers) == len(sought):
                waiter.wake()

        for future in futures:
            if future.serial in self._state.sent:
                sought[future.serial] = future
            else:
                future.cancel()
        for serial in sought:
            self.exchange.question(functools.partial(Cancel, self.name, serial), reply)
        if sought:
            waiter.park()
        for answer in answers:
            if answer.is_dropped and self._state.sent.pop(answer.serial, None) is not None:
                sought[answer.serial].drop()

    def call_in_loop(self, call: Callable[[], None]) -> None:
        """Have the main thread make *call* in its event loop; called by other threads."""
        self.exchange.defer(call)

    def end(self) -> None:
        """Exchange nothing from now on: the worker ends, although other threads of it may still run."""
        if self.exchange.accounts is not None:
            self.exchange.accounts.add_up()
        self.exchange.end()

    def attend(self, future: Future) -> None:
        """Let *future* get on wherever its owner waits for it: in an event loop of asyncio, or anywhere else."""
        if get_ident() != self._thread or not self._asyncio.attend(future):
            self.progress.attend(future)

    def equip(self, waiter: Any) -> None:
        """Give a waiter of `concurrent.futures` an event whose wait lets the worker go on."""
        if not isinstance(waiter.event, Event):
            waiter.event = Event(self.waiter)

    def ending(self) -> bool:
        """Return whether the program has ended, so that nothing new is to be begun in its name."""
        return self.loop.ending

    @property
    def is_cut_short(self) -> bool:
        """True once the run ends, though its program has not."""
        return self._ended is not None

    def check(self) -> None:
        """Raise NotRunningError, or what else there is against it, if futures cannot be used now."""
        if self._barred is not None:
            self._refuse()

    def waiter(self, deadline: float | None) -> AnyWaiter:
        """Return a waiter for the current greenlet, or for the current thread if that is not the main one."""
        self.check()
        return self.loop.waiter(deadline) if get_ident() == self._thread else self.progress.waiter(deadline)

    def mailbox(self) -> Mailbox | None:
        """Return the mailbox of the current thread, None if it is the main one."""
        return None if get_ident() == self._thread else self.progress.mailbox

    # what the worker's process calls

    def watch_forks(self) -> None:
        """See to it that a process forked by a task does not believe to be the worker."""
        # a worker leaves these to its agent, its children need not
        self._left_to_agent = {
            number: signal.getsignal(number)
            for number in (signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) is not signal.SIG_DFL
        }
        os.register_at_fork(
            before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._after_fork_in_child
        )

    def _before_fork(self) -> None:
        """Keep the locks that the child needs, and from it the signals that it could not heed yet."""
        self.exchange.lock.acquire()
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._left_to_agent)

    def _after_fork(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        self.exchange.lock.release()

    def _after_fork_in_child(self) -> None:
        self.exchange.forked = True
        self._on_first_use = None
        self._barred = NotRunningError("a process forked by a task is no worker: use futures in the task itself")
        for number, handler in self._left_to_agent.items():
            if signal.getsignal(number) is handler:  # and not one of the program's
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)  # what came meanwhile takes effect now

    def bar(self) -> None:
        """Refuse futures: the program's module is being imported."""
        self._barred = ProgramError(
            "the program uses futures while it is imported: put what it does under `if __name__ == '__main__':`"
        )

    def bar_until(self, decide: Callable[[], None]) -> None:
        """Call *decide* when futures are used for the first time, and go on unless that raises."""
        self.bar()
        self._on_first_use = decide

    def unbar(self) -> None:
        """Take futures, at last."""
        self._barred = None

    def give_up(self, reason: str, status: int) -> None:
        """Let no future get on any more: the run ends, for a *reason*. Called by a signal's handler."""
        self._barred = self._ended = self.loop.given_up = RunEndedError(reason, status)
        self._on_first_use = None
        with contextlib.suppress(RuntimeError):  # there is no room for a thread
            # not by `threading`, whose locks the thread may hold that the signal came to
            _thread.start_new_thread(self.exchange.give_up, (lambda: RunEndedError(reason, status),))

    def _refuse(self) -> None:
        """Raise what there is against the use of futures here and now."""
        if self._ended is not None:
            if get_ident() == self._thread and not self.runs_task():
                self.loop.told = True
            raise RunEndedError(*self._ended.args)
        if self._on_first_use is not None:
            decide, self._on_first_use, self._barred = self._on_first_use, None, self._ended
            decide()
        if self._barred is not None:
            self.refused = str(self._barred)
            raise self._barred
