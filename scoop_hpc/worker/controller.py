"""The worker's controller: futures run in greenlets, and wait without blocking the worker.

::

            submit                     export                      broker
    task ----------> [ local ] -----------------------> link ----------------> others
      |                  |  newest first                 |
      | result()         v                               v
      '--park--> hub --step--> greenlet of a task <-- [ inbox ] tasks of others, oldest first
                  ^                 |
                  '--- [ ready ] <--'  a waiter whose future is done

The hub is the main greenlet. A task leaves it in `step` and comes back in `Waiter.park`, nowhere else. A future that
has not started is run by the greenlet that waits for it, while its stack is shallow; else by a fresh one.

Every future is in one place: unstarted in ``local``, running here, or in ``_sent`` (exported) until its outcome comes.

A worker deaf for long must not sit on work: a call of a function that is known to be `short` stays local until somebody
wants it, all else is exported at once. How long a function keeps a worker deaf is measured (see `Durations`).
"""

from __future__ import annotations

import contextvars
import itertools
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Hashable
from typing import Any, Callable, Optional

from greenlet import getcurrent, greenlet

from scoop_hpc.errors import NotRunningError, ProgramError, ProtocolError, TaskError, UnpicklableError
from scoop_hpc.protocol.messages import Message, Parcel, Request, Results, Stop, Tasks, Wanted
from scoop_hpc.worker import calls
from scoop_hpc.worker.calls import Outcome
from scoop_hpc.worker.durations import Durations
from scoop_hpc.worker.forked import exit_status
from scoop_hpc.worker.future import Call, Future
from scoop_hpc.worker.link import Link
from scoop_hpc.worker.timers import Timers

_POLL = 0.001  # seconds between looks at the link while there is work
_SAME_INTERRUPT = 1.0  # seconds: one Ctrl-C comes from the terminal and, by way of the driver, from the agent

_current: Optional[Controller] = None  # set once in a process


def current() -> Controller:
    """Return this worker's controller; raise NotRunningError outside a run."""
    if _current is None:
        raise NotRunningError("futures need a run: start the program with `scoop-hpc run PROGRAM`")
    return _current


class Waiter:
    """A parked greenlet: woken at most once, by a future or by its deadline."""

    __slots__ = ("_controller", "_greenlet", "deadline", "parked", "woken")

    def __init__(self, controller: Controller, deadline: Optional[float]) -> None:
        self._controller = controller
        self._greenlet = getcurrent()
        self.deadline = deadline  # of time.monotonic(); None: none
        self.parked = False
        self.woken = False

    def wake(self, _: object = None) -> None:
        """Let the greenlet go on; fit to be a future's callback."""
        if not self.woken:
            self.woken = True
            self._controller.ready.append(self)

    def park(self) -> bool:
        """Leave the current task until `wake` or the deadline; return whether it was woken before the deadline."""
        if not self.woken:
            self._controller.leave(self)
        expired = self.deadline is not None and time.monotonic() >= self.deadline
        return not expired

    def resume(self) -> None:
        """Go on with the greenlet, if it is still here. Called by the hub."""
        if self.parked:
            self._greenlet.switch()


def _stack_is_shallow() -> bool:
    """Whether there is room on this stack for a task as deep as itself, and another; takes 0.3 us."""
    try:
        sys._getframe(sys.getrecursionlimit() // 3)
    except ValueError:
        return True
    return False


class _Running:
    """A task that has started: how long it kept the worker from looking at its link, at the most."""

    __slots__ = ("deaf", "key", "started")

    def __init__(self, key: Hashable, now: float) -> None:
        self.key = key
        self.started = now
        self.deaf = 0.0


class Controller:
    """Runs the futures of one worker, called *name*, among *size* workers in all."""

    def __init__(self, link: Link, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.loading = False  # the program's module is being imported: no futures yet
        self.ready: deque[Waiter] = deque()
        self.late = 0  # outcomes that came for no future
        self._link = link
        self._hub = getcurrent()
        self._thread = threading.get_ident()
        self._serials = itertools.count(1)
        self._local: deque[Future] = deque()
        self._inbox: deque[Parcel] = deque()
        self._sent: dict[int, Future] = {}
        self._arrived: deque[Parcel] = deque()  # outcomes; only the hub opens them
        self._outcomes: list[Parcel] = []  # to be sent
        self.timers = Timers()
        self._wanted = 2 * size
        self._request = 0  # the number of the last one
        self._requested = False  # whether that one is open
        self._stopped = False
        self._forked = False  # this process is not the worker, but a child of it
        self._ending = False  # the program has ended; what it submitted is still to be run
        self._context = contextvars.copy_context()  # of which every task gets a copy
        self._glanced = 0.0
        self._interrupted = False  # while the program was parked
        self._interrupted_at = float("-inf")
        self._program: Optional[greenlet] = None
        self._program_waits: Optional[Waiter] = None  # with a deadline
        self._durations = Durations()
        self._task: Optional[_Running] = None
        self._since = self._polled = time.monotonic()

    # what programs call, by way of `futures`

    def submit(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future:
        """Make a future of a call, and keep it here or export it."""
        self._check()
        call = Call(function, args, kwargs)
        future = Future(self, call)
        if self.size > 1 and (self._wanted > 0 or not self._durations.short(call.key)):
            self._export([future])
        else:
            self._local.append(future)
        if time.monotonic() - self._polled > _POLL:
            self._poll(0)
        return future

    def wait_for(self, future: Future, deadline: Optional[float]) -> None:
        """Return when *future* is done or the *deadline* is over, having let the worker do other work."""
        self._check()
        if future.settled:
            return
        if deadline is None and future.unstarted and _stack_is_shallow():
            self._run_future(future)
            self._drop_started()
            return
        waiter = Waiter(self, deadline)
        future.add_done_callback(waiter.wake)
        waiter.park()
        future.forget(waiter.wake)

    def glance(self, future: Future) -> None:
        """Get on with *future*: somebody asks again and again whether it is done, and may do nothing else.

        One that has stayed here is run; for the others, what has arrived is taken in, but not too often.
        """
        if getcurrent() is self._hub or threading.get_ident() != self._thread or self._forked:
            return
        now = time.monotonic()
        if future.unstarted:
            self.wait_for(future, None)
        elif now > self._glanced + _POLL:
            self._glanced = now
            Waiter(self, now).park()

    def abandon(self, future: Future) -> None:
        """Do not care for *future* any more: cancel it, or drop its outcome when that comes."""
        if not future.cancel():
            self._sent.pop(future.serial, None)

    def ending(self) -> bool:
        """Whether the program has ended, so that nothing new is to be begun in its name."""
        return self._ending

    def waiter(self, deadline: Optional[float]) -> Waiter:
        """Return a waiter for the current greenlet."""
        self._check()
        return Waiter(self, deadline)

    def leave(self, waiter: Waiter) -> None:
        """Switch to the hub until *waiter* is resumed."""
        if getcurrent() is self._hub:
            raise NotRunningError("a future's callback cannot wait for another future here")
        if waiter.deadline is not None:
            self.timers.add(waiter)
            if getcurrent() is self._program:
                self._program_waits = waiter
        task = self._task
        self._listen()
        waiter.parked = True
        try:
            self._hub.switch()
        finally:
            waiter.parked = False
            waiter.woken = True
            if self._program_waits is waiter:
                self._program_waits = None
            self._task = task
            self._since = time.monotonic()

    # what the worker's process calls

    def install(self) -> None:
        """Become this process's controller."""
        global _current
        _current = self
        os.register_at_fork(after_in_child=self._note_fork)

    def _note_fork(self) -> None:
        self._forked = True
        for number in (signal.SIGTERM, signal.SIGHUP):  # a worker leaves them to its agent; its children need not
            if signal.getsignal(number) is not signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)

    def run_program(self, program: Callable[[], int]) -> int:
        """Run *program* as the origin's; return its exit status."""
        status: list[int] = []
        signal.signal(signal.SIGINT, self._on_interrupt)
        self._program = greenlet(lambda: status.append(program()), self._hub)
        self._program.gr_context = self._context
        self._program.switch()
        while not status:
            try:
                if self._interrupted:
                    raise KeyboardInterrupt
                self._step()
            except BaseException as error:  # a signal handler's, or a callback's: the program is who may handle it
                self._interrupted = False
                self._program.throw(error)
        self._ending = True
        try:
            while status[0] == 0 and (self._sent or self.ready or self._arrived or self._runnable()):
                self._step()  # as an Executor does at its end: what was submitted is run
        except KeyboardInterrupt:
            return 130
        return status[0]

    def _on_interrupt(self, number: int, frame: object) -> None:
        """Take Ctrl-C: it stops what runs here, and reaches the program also if that is not what runs."""
        last, self._interrupted_at = self._interrupted_at, time.monotonic()
        if self._interrupted_at - last > _SAME_INTERRUPT:
            self._interrupted = getcurrent() is not self._program
            raise KeyboardInterrupt

    def serve(self) -> None:
        """Run tasks until the broker says Stop."""
        self._context = contextvars.copy_context()  # with what the program's module has set
        while not self._stopped:
            try:
                self._step()
            except SystemExit:
                print(f"scoop-hpc: worker {self.name}: a callback of a future called sys.exit()", file=sys.stderr)

    # the hub

    def _step(self) -> None:
        """Do one thing, or wait until there is one."""
        idle = not (self.ready or self._arrived or self._runnable())
        if idle or time.monotonic() - self._polled > _POLL:
            if idle:
                self._ask(self._durations.batch() if self._may_start_unknown() else 0)
            self._poll(self.timers.left() if idle else 0)
        self.timers.expire()
        if self._arrived:
            self._deliver(self._arrived.popleft())
        elif self.ready:
            self._busy()
            self.ready.popleft().resume()
        elif self._runnable():
            self._busy()
            if self._inbox:
                self._start(self._run_parcel, self._inbox.popleft())
            else:
                self._start(self._run_future, self._local.pop())

    def _runnable(self) -> bool:
        self._drop_started()
        if not (self._local or self._inbox):
            return False
        if self._may_start_unknown():
            return True
        self._give_back()
        return False

    def _drop_started(self) -> None:
        """Drop, from the ends of the local futures, those that were run by a waiter or cancelled."""
        while self._local and not self._local[-1].unstarted:
            self._local.pop()
        while self._local and not self._local[0].unstarted:
            self._local.popleft()

    def _may_start_unknown(self) -> bool:
        """Whether a task that may last may start: not where the program waits with a deadline, and others can do it."""
        return self._program_waits is None or self.size == 1

    def _give_back(self) -> None:
        """Hand all that has not started to the broker."""
        if self._inbox:
            self._link.send(Tasks(list(self._inbox)))
            self._inbox.clear()
        unstarted = [future for future in self._local if future.unstarted]
        self._local.clear()
        if unstarted:
            self._export(unstarted)

    def _start(self, function: Callable[..., object], *args: Any) -> None:
        """Run *function* in a greenlet of its own, in the program's context [contextvars], until it parks or ends."""
        self._since = time.monotonic()
        self._task = None
        task = greenlet(function, self._hub)
        program = self._program
        task.gr_context = (
            self._context if program is None or program.dead else program.gr_context or self._context
        ).copy()
        task.switch(*args)
        self._task = None

    def _ask(self, count: int) -> None:
        """Tell the broker how many tasks are welcome."""
        if self.size > 1 and self._requested != bool(count):
            self._requested = bool(count)
            self._request += 1
            self._link.send(Request(count, self._request))

    def _busy(self) -> None:
        """Withdraw the request for tasks: what came now would wait behind what starts now."""
        if not self._inbox:
            self._ask(0)

    # the link

    def _poll(self, timeout: Optional[float]) -> None:
        """Send what is due, take what has arrived."""
        self._listen()
        self._flush()
        for message in self._link.receive(timeout):
            self._take(message)
        self._since = self._polled = time.monotonic()

    def _take(self, message: Message) -> None:
        if isinstance(message, Results):
            self._arrived.extend(message.parcels)
        elif isinstance(message, Tasks):
            self._requested = self._requested and message.answer != self._request
            self._inbox.extend(message.parcels)
        elif isinstance(message, Wanted):
            self._wanted += message.count
            self._export(self._oldest(self._wanted))
        elif isinstance(message, Stop):
            self._stopped = True
        else:
            raise ProtocolError(f"a broker sent worker {self.name} {message!r}")

    def _oldest(self, count: int) -> list[Future]:
        """Take the oldest local futures, *count* at the most."""
        taken: list[Future] = []
        while self._local and len(taken) < count:
            future = self._local.popleft()
            if future.unstarted:
                taken.append(future)
        return taken

    def _export(self, futures: list[Future]) -> None:
        """Send unstarted futures to the broker; one that cannot be pickled fails by itself."""
        parcels = []
        for future in futures:
            call = future.take_call()
            assert call is not None
            try:
                frames = calls.dump_call(call.function, call.args, call.kwargs)
            except UnpicklableError as error:
                future.set_exception(error)
                continue
            serial = next(self._serials)
            self._sent[serial] = future
            future.serial = serial
            parcels.append(Parcel(self.name, serial, frames))
        if parcels:
            self._wanted = max(0, self._wanted - len(parcels))
            self._link.send(Tasks(parcels))

    def _flush(self) -> None:
        if self._outcomes:
            self._link.send(Results(self._outcomes))
            self._outcomes = []

    def _deliver(self, parcel: Parcel) -> None:
        """Give an outcome to its future, in a greenlet of its own: callbacks may wait."""
        future = self._sent.pop(parcel.serial, None)
        if future is None:
            self.late += 1
            return
        outcome = calls.load_outcome(parcel.frames)
        self._durations.learn(future.key, outcome.deaf)
        self._start(future.settle, outcome)

    # tasks

    def _run_future(self, future: Future) -> None:
        """Run a future of this worker's own, here and now."""
        call = future.take_call()
        if call is not None and future.set_running_or_notify_cancel():
            future.settle(self._run(call))

    def _run_parcel(self, parcel: Parcel) -> None:
        """Run another worker's task, and send the outcome."""
        try:
            function, args, kwargs = calls.load(parcel.frames)
        except Exception as error:  # unpickling runs the user's code
            refusal = TaskError(f"worker {self.name} cannot unpickle a task: {type(error).__name__}: {error}")
            refusal.__cause__ = error
            frames = calls.dump_outcome(Outcome(error=refusal))
        else:
            call = Call(function, args, kwargs)
            if not self._durations.short(call.key):
                self._give_back()
                self._flush()
            outcome = self._run(call)
            try:
                frames = calls.dump_outcome(outcome)
            except UnpicklableError as error:
                frames = calls.dump_outcome(Outcome(error=error))
        self._outcomes.append(Parcel(parcel.owner, parcel.serial, frames))
        if time.monotonic() - self._polled > _POLL:
            self._flush()

    def _run(self, call: Call) -> Outcome:
        """Call the user's function; return its result or what it raised, and how long it took."""
        self._listen()
        outer, task = self._task, _Running(call.key, self._since)
        self._task = task
        value = error = None
        try:
            value = call.function(*call.args, **call.kwargs)
        except BaseException as raised:  # the user's function: what it raised is sent on
            error = raised
        if self._forked:  # the task has forked, and its child has come back from the user's function
            os._exit(exit_status(error))
        self._listen()
        self._task = outer
        self._durations.learn(task.key, task.deaf)
        return Outcome(value, error, self._since - task.started, task.deaf)

    def _listen(self) -> None:
        """Note how long the running task has kept the worker from its link until now."""
        now = time.monotonic()
        if self._task is not None:
            self._task.deaf = max(self._task.deaf, now - self._since)
        self._since = now

    def _check(self) -> None:
        if self.loading:
            raise ProgramError(
                "the program uses futures while it is imported: put what it does under `if __name__ == '__main__':`"
            )
        if self._forked:
            raise NotRunningError("a process forked by a task is no worker: use futures in the task itself")
        if threading.get_ident() != self._thread:
            raise NotRunningError("futures of a run belong to the main thread: call them there")
