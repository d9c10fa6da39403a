"""Keeps a worker's futures going while its main thread is elsewhere: in ``queue.get()``, say, or in asyncio.

::

    main thread        user's code ... queue.get() ............................. goes on
    progress thread         notices that it is long, and that there are futures somebody waits for
    callback thread             receives outcomes, settles futures, calls their callbacks --> queue.put()
    substitutes                 run tasks, one at a time, as the main thread would in a `result()`

Somebody waits for a future if it has a callback of the user's, or if another thread waits in it or polls it. Where the
main thread waits in this package, its event loop does all of this, and these threads sleep.

A worker runs one task at a time. A thread that is blocked in the user's code does not run, but may not be replaced
either: it may wait for a program that it has started. Only where what it runs has made futures that somebody waits for
does a substitute take its place, and where that is blocked in the same way, another. Otherwise tasks that wait for
tasks in this way could block all workers [compare java.util.concurrent.ForkJoinPool.ManagedBlocker]. Whose a thread of
the user's is, nobody knows: each that waits lets one more thread be replaced.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from threading import get_ident
from time import monotonic
from typing import Any

from scoop_hpc.pickling import batching
from scoop_hpc.worker.durations import Cost, Durations
from scoop_hpc.worker.exchange import Exchange
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.policy import Policy
from scoop_hpc.worker.runner import Runner, ThreadRunner
from scoop_hpc.worker.threads.excuses import Excuses
from scoop_hpc.worker.waiting import Mailbox, ThreadWaiter

_Key = tuple[int, Cost | None]  # whose futures somebody waits for: those of what runs in a thread
_USERS: _Key = (0, None)  # somebody is a thread of the user's
_Settling = tuple[Future, Callable[[], tuple[Any, BaseException | None]]]  # a future, and how to get its outcome


class _Here(threading.local):
    """The state of a thread other than the main one."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.runner: Runner | None = None
        self.is_substitute = False
        self.server = 0  # its number, if it is a callback thread


class _Usage:
    """Tells whether a thread is blocked, by how much of the CPU it uses."""

    def __init__(self, thread: int, policy: Policy) -> None:
        self._policy = policy
        find = getattr(time, "pthread_getcpuclockid", None)  # not on macOS
        self._clock: int | None = None if find is None else find(thread)
        self._blocked = False
        self._at = self._used = 0.0
        self.reset(monotonic())

    def reset(self, now: float) -> None:
        """Forget what was, and begin to look."""
        self._blocked = False
        self._at, self._used = now, self._read()

    def blocked(self, now: float) -> bool:
        """Return whether the thread used little of the CPU when last looked at."""
        if now - self._at >= self._policy.sample_seconds:
            used = self._read()
            self._blocked = used - self._used < self._policy.blocked_share * (now - self._at)
            self._at, self._used = now, used
        return self._blocked

    def _read(self) -> float:
        return 0.0 if self._clock is None else time.clock_gettime(self._clock)


class Progress:
    """Serves the futures of the worker whose main thread makes this, while that thread is elsewhere."""

    def __init__(self, exchange: Exchange, runner: Runner) -> None:
        self._exchange = exchange
        self._state = exchange.state
        self._policy = exchange.state.policy
        self._main = runner
        self._thread = get_ident()
        self._here = _Here()
        self._lock = threading.Lock()
        self._waiting: dict[_Key, int] = {}  # how many futures, and threads, by who runs what
        self._main_usage: _Usage | None = None
        self._server = 0  # the number of the callback thread: one that was replaced ends
        self._needed = threading.Event()
        self._nudged, self._nudger = -1, -1  # a pipe
        self._outcomes: deque[_Settling] = deque()
        self._calling_since = 0.0  # when a callback began
        self._current: _Substitute | None = None  # which may take tasks
        self._idle: list[_Substitute] = []
        self._substitutes: list[_Substitute] = []  # all of them
        self._excuses = Excuses()
        exchange.watchdog = self._look

    # who waits

    def attend(self, future: Future) -> None:
        """Have *future* get on wherever the main thread is, until it is done."""
        key = self._key()
        self._add(key)
        future.watch(functools.partial(self._drop, key))

    def waiter(self, deadline: float | None) -> ThreadWaiter:
        """Return a waiter for this thread, which is not the main one."""
        return ThreadWaiter(self._here.mailbox, self._counted, deadline)

    @property
    def mailbox(self) -> Mailbox:
        """The mailbox of this thread, which is not the main one."""
        return self._here.mailbox

    @property
    def runner(self) -> Runner:
        """The runner of this thread, which is not the main one."""
        if self._here.runner is None:
            self._here.runner = ThreadRunner(self._exchange, self._main.durations)
        return self._here.runner

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        if self._here.server and self._here.server == self._server:
            self._start_server()  # a callback waits for another future: who should settle that?
        key = self._key()
        self._add(key)
        try:
            yield
        finally:
            self._drop(key)

    def _key(self) -> _Key:
        """Return who waits, in this thread."""
        if get_ident() == self._thread:
            return self._thread, self._main.running
        return (get_ident(), self.runner.running) if self._here.is_substitute else _USERS

    def _add(self, key: _Key) -> None:
        with self._lock:
            self._waiting[key] = self._waiting.get(key, 0) + 1
        self._exchange.arm()
        self._nudge()

    def _drop(self, key: _Key) -> None:
        with self._lock:
            left = self._waiting[key] - 1
            if left:
                self._waiting[key] = left
            else:
                del self._waiting[key]

    # the callback thread

    def _look(self) -> bool:
        """Begin to serve if the main thread is busy for long. Called by the progress thread; True: look again."""
        is_elsewhere = bool(self._waiting) and self._state.is_neglected(monotonic())
        calling_since = self._calling_since
        if is_elsewhere or self._outcomes:
            if not self._server or (calling_since and monotonic() - calling_since > self._policy.stuck_seconds):
                self._start_server()
            self._needed.set()
        return bool(self._waiting or self._outcomes)

    def _start_server(self) -> None:
        """Start a callback thread, in the place of the one that there is."""
        with self._lock:
            if self._nudger < 0:
                self._nudged, self._nudger = os.pipe()
                for end in (self._nudged, self._nudger):
                    os.set_blocking(end, False)
            self._calling_since = 0.0
            self._server += 1
            number = self._server
        threading.Thread(target=self._serve, args=(number,), name="scoop-hpc callbacks", daemon=True).start()
        self._needed.set()

    def _nudge(self) -> None:
        """Let the callback thread look up."""
        if self._exchange.on_duty is not None:
            with contextlib.suppress(BlockingIOError):  # it is full: who has not read it yet will
                os.write(self._nudger, b"\0")

    def _serve(self, me: int) -> None:
        self._here.server = me
        try:
            while self._server == me:
                self._needed.wait()
                self._needed.clear()
                self._exchange.on_duty = self._nudge
                self._tend(me)
                if self._server == me:
                    self._exchange.on_duty = None
        except BaseException as error:
            self._exchange.fail(error)
            raise

    def _tend(self, me: int) -> None:
        """Settle futures as their outcomes come, until the main thread is back or nobody waits."""
        exchange = self._exchange
        poll = select.poll()
        poll.register(self._nudged, select.POLLIN)
        descriptor = exchange.descriptor()
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
        if self._main_usage is None:
            self._main_usage = _Usage(self._thread, self._policy)
        last = monotonic()
        self._main_usage.reset(last)
        self._settle_all(me)  # what another, that is stuck in a callback, has left
        wants_tasks = False
        while exchange.serve(wants_tasks):
            self._settle_all(me)
            if self._server != me:
                return
            now = monotonic()
            if self._waiting:
                last = now
            elif now - last > self._policy.linger_seconds:
                return
            wants_tasks = self._substitute(now)
            for ready, _ in poll.poll(int(self._policy.serve_look * 1000)):
                if ready == self._nudged:
                    os.read(self._nudged, 1000)

    def _settle_all(self, me: int) -> None:
        while self._server == me and (self._outcomes or (self._state.busy_since and self._load())):
            try:
                future, outcome = self._outcomes.popleft()
            except IndexError:  # another callback thread, which this one has replaced, was faster
                continue
            if future.has_callbacks:
                self._calling_since = monotonic()
            try:
                future.settle(*outcome())
            except BaseException as error:  # a callback's sys.exit(): concurrent.futures logs every Exception
                self._exchange.defer(functools.partial(_raise, error))
            if self._server == me:
                self._calling_since = 0.0

    def _load(self) -> bool:
        """Take outcomes to settle futures with; return whether there may be some."""
        state, outcomes = self._state, self._outcomes
        with contextlib.suppress(IndexError):  # the event loop was faster
            if state.failed:
                future, error = state.failed.popleft()
                outcomes.append((future, functools.partial(_both, None, error)))
                return True
            if state.own:
                serial, outcome = state.own.popleft()
                claimed = state.claim(serial, outcome.unpolled)
                if claimed is not None:
                    outcomes.append((claimed, functools.partial(_both, outcome.value, outcome.error)))
                return True
            if state.arrived:
                for serial, item, unpolled in batching.load_outcomes(state.arrived.popleft().frames):
                    claimed = state.claim(serial, unpolled)
                    if claimed is not None:
                        outcomes.append((claimed, functools.partial(batching.value_of, item)))
                return True
        return False

    # substitutes

    def slot_is_taken(self) -> bool:
        """Return whether a substitute runs a task, so that the event loop should begin none. Called by that."""
        current = self._current
        return current is not None and current.busy and not self._waits_elsewhere(current, monotonic())

    def _substitute(self, now: float) -> bool:
        """Have a substitute run tasks if nobody does; return whether tasks should be asked for."""
        current = self._current
        if current is not None and current.busy and not self._waits_elsewhere(current, now):
            return False
        if not self._main_waits(now):
            return False
        if current is None or current.busy:
            with self._lock:
                current = self._current = self._idle.pop() if self._idle else None
            if current is None:
                current = self._current = _Substitute(self, self._exchange)
                self._substitutes.append(current)
        if not (self._state.foreign or self._state.local or self._state.inbox):
            return True
        current.begin()
        return False

    def _main_waits(self, now: float) -> bool:
        assert self._main_usage is not None
        return self._waits(self._thread, self._main, self._main_usage, self._state.busy_since, now)

    def _waits_elsewhere(self, substitute: _Substitute, now: float) -> bool:
        return self._waits(substitute.thread, substitute.runner, substitute.usage, substitute.busy_since, now)

    def _waits(self, thread: int, runner: Runner, usage: _Usage, since: float, now: float) -> bool:
        """Return whether a thread, which has run something *since* then, is blocked until some future is done."""
        if not since:  # it has ended that meanwhile
            return False
        if self._excuses.is_excused(thread, since):
            return True
        is_known = (thread, runner.running) in self._waiting
        if not (is_known or self._users_wait()):
            return False
        if not (usage.blocked(now) or now - since > self._policy.spinning_seconds):
            return False
        if not is_known:
            self._excuses.excuse(thread, since)
        return True

    def _users_wait(self) -> bool:
        """Return whether more threads of the user's wait than others were replaced for.

        Who waits by itself now, for a future that it polls, say, needs no excuse any more.
        """
        threads = [(each.thread, each.runner, each.busy_since) for each in self._substitutes]
        threads.append((self._thread, self._main, self._state.busy_since))
        excused = self._excuses.count(
            (thread, since) for thread, runner, since in threads if (thread, runner.running) not in self._waiting
        )
        return self._waiting.get(_USERS, 0) > excused

    def may_run(self, substitute: _Substitute) -> bool:
        """Return whether *substitute* may take another task."""
        return self._current is substitute and bool(self._state.busy_since) and not self._state.stopped

    def enter(self) -> Runner:
        """Make this thread a substitute's; return its runner."""
        self._here.is_substitute = True
        self._here.runner = _SubstituteRunner(self._exchange, self._main.durations, self.leave)
        return self._here.runner

    def leave(self, future: Future, value: Any, error: BaseException | None) -> None:
        """Leave it to the callback thread to settle *future*. Called by substitutes, who must not run callbacks."""
        self._outcomes.append((future, functools.partial(_both, value, error)))
        self._exchange.arm()
        self._needed.set()
        self._nudge()

    def rest(self, substitute: _Substitute) -> None:
        """Note that *substitute* has nothing to do."""
        with self._lock:
            substitute.busy = False
            if self._current is not substitute:
                self._idle.append(substitute)
            if not any(each.busy for each in self._substitutes):
                self._exchange.state.substituted_since = 0.0
        self._exchange.wake()
        self._nudge()


def _raise(error: BaseException) -> None:
    raise error


def _both(value: Any, error: BaseException | None) -> tuple[Any, BaseException | None]:
    return value, error


class _SubstituteRunner(ThreadRunner):
    """Runs tasks, and leaves callbacks to the callback thread: they may block, and are nobody's task."""

    def __init__(
        self, exchange: Exchange, durations: Durations, leave: Callable[[Future, Any, BaseException | None], None]
    ) -> None:
        super().__init__(exchange, durations)
        self._leave = leave

    def settle(self, future: Future, value: Any, error: BaseException | None) -> None:
        if future.has_callbacks:
            self._leave(future, value, error)
        else:
            future.settle(value, error)


class _Substitute:
    """A thread that runs tasks in the place of another that is blocked."""

    def __init__(self, progress: Progress, exchange: Exchange) -> None:
        self.busy = False
        self.busy_since = 0.0  # when it began what it runs, 0: nothing
        self._progress = progress
        self._exchange = exchange
        self._wanted = threading.Event()
        ready = threading.Event()
        threading.Thread(target=self._run, args=(ready,), name="scoop-hpc substitute", daemon=True).start()
        ready.wait()

    def begin(self) -> None:
        """Run tasks."""
        self.busy = True
        self._exchange.state.substituted_since = monotonic()
        self._wanted.set()

    def _run(self, ready: threading.Event) -> None:
        self.thread = get_ident()
        self.runner = self._progress.enter()
        self.usage = _Usage(self.thread, self._exchange.state.policy)
        ready.set()
        try:
            while True:
                self._wanted.wait()
                self._wanted.clear()
                while self._progress.may_run(self) and self._run_one():
                    pass
                self._progress.rest(self)
        except BaseException as error:
            self._exchange.fail(error)
            raise

    def _run_one(self) -> bool:
        exchange = self._exchange
        task = exchange.take_oldest()
        if task is None:
            return False
        self.busy_since = exchange.state.substituted_since = monotonic()
        self.usage.reset(self.busy_since)
        if isinstance(task, Future):
            self.runner.run_future(task)
        else:
            self.runner.run_task(task)
        self.busy_since = 0.0
        exchange.flush()
        exchange.wake()
        if exchange.on_duty is not None:
            exchange.on_duty()
        return True
