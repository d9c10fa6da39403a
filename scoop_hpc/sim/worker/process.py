"""A worker of a simulated run: its three threads, in a shell like `worker.loop` and `worker.runner`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from scoop_hpc.errors import WorkerLostError
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.protocol.messages import Batch, Message, Ready
from scoop_hpc.protocol.names import ORIGIN, WorkerName
from scoop_hpc.sim import program as steps
from scoop_hpc.sim.agenda import Process
from scoop_hpc.sim.ledger import Violation, call_of
from scoop_hpc.sim.program import ROOT, Program
from scoop_hpc.sim.worker import exchange
from scoop_hpc.sim.worker.effects import PARK, Busy, Greenlet, Idle, Life, Park, Thread, Waiter
from scoop_hpc.sim.worker.exchange import Exchange, NumberedFuture, number_of
from scoop_hpc.sim.worker.questions import Questions
from scoop_hpc.transport.begun import Begun
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.policy import DEFAULT, Policy
from scoop_hpc.worker.state import WorkerState
from scoop_hpc.worker.tasks import Given, Task

_OPENING_SECONDS = 0.00001  # to unpickle a batch
_LOOK_SECONDS = 0.0002  # from one look at the link to the next, where it does not wait there


class Surroundings(exchange.Surroundings, Protocol):
    """The run, as a worker uses it."""

    program: Program
    stack_depth: int

    def send_to_broker(self, worker: Worker, message: Message) -> None:
        """Send *message* to the worker's broker."""

    def program_ended(self) -> None:
        """Note that the origin's program has come to its end."""

    def may_end(self) -> bool:
        """Return whether the origin may end: everything was looked at."""

    def worker_ended(self, worker: Worker) -> None:
        """Note that a worker has come to its end."""

    def check_owner(self, worker: Worker, owner: WorkerName) -> None:
        """Check that a task is begun whose owner lives, as far as the worker must know."""

    def is_killed(self, worker: Worker, chance: float) -> bool:
        """Return whether a task takes its worker down, by this *chance*; it is dead then."""

    def passes(self, worker: Worker, point: str) -> None:
        """Note that a worker is at a *point* at which it may be to die."""


class Worker(Process):
    """The worker called *name*, one of *size* in all; the origin runs the program."""

    def __init__(
        self,
        run: Surroundings,
        name: WorkerName,
        size: int,
        make_state: Callable[..., WorkerState] = WorkerState,
        policy: Policy = DEFAULT,
    ) -> None:
        super().__init__(name)
        self.worker_name = name
        self.is_spared = name == ORIGIN and size > 1
        self.state = make_state(name, size, run.agenda.now, policy, is_spared=self.is_spared)
        self.begun = Begun()  # of which its agent knows what it was at when it died
        self.idle_since: float | None = None  # that it waits at the link, and would begin a task
        self.computed = 0.0  # seconds
        self._run, self._ledger, self._agenda = run, run.ledger, run.agenda
        self._exchange = Exchange(run, name, self.state, policy, self._sends, self._arm)
        self._questions = Questions(
            name, self.state, self._exchange, run.agenda, run.ledger, self._new_waiter, self._leave
        )
        self._waits_at_link = False
        self._wait_number = 0
        self._main: Thread = self._live()
        self._current: Greenlet | None = None
        self._ready: deque[Waiter] = deque()
        self._policy = policy
        # the runner's
        self._running: Cost | None = None
        self._unpolled = 0.0
        self._since = run.agenda.now
        # the progress thread's
        self._armed = False
        self._look_is_planned = False
        self._interval: float | None = policy.first_look

    # threads

    def begin(self) -> None:
        """Let the process live."""
        self._resume()

    def arrive(self, message: Message) -> None:
        """Put *message* into the link; it is seen by whoever looks next."""
        self._exchange.link.append(message)
        if self._waits_at_link:
            self._resume()

    def nudge(self) -> None:
        """Let the main thread look up, if it waits at the link."""
        if self._waits_at_link:
            self._resume()

    def _resume(self) -> None:
        self._waits_at_link = False
        if self.state.has_tasks_to_look_after and not self._armed:
            self._arm()
        self._wait_number += 1
        self.idle_since = None
        try:
            effect = next(self._main)
        except StopIteration:
            self._run.worker_ended(self)
            return
        now, debt = self._agenda.now, self._exchange.debt
        if isinstance(effect, Busy):
            self._exchange.debt = 0.0
            self.computed += effect.seconds
            self._agenda.at(now + debt + effect.seconds * self.slowness, self._resume, self)
        elif debt:
            self._exchange.debt = 0.0
            self._agenda.at(now + debt * self.slowness, lambda: self._wait(effect), self)
        else:
            self._wait(effect)

    def _wait(self, idle: Idle) -> None:
        if self._exchange.link:
            self._resume()
            return
        self._waits_at_link = True
        if not self._questions.pressing and not self.is_spared:
            self.idle_since = self._agenda.now
        if idle.seconds is not None:
            number = self._wait_number

            def expire() -> None:
                if self._waits_at_link and self._wait_number == number:
                    self._resume()

            self._agenda.at(self._agenda.now + idle.seconds, expire, self)

    def _arm(self) -> None:
        self._armed = True
        if not self._look_is_planned:
            self._look_is_planned = True
            seconds = self._policy.first_look if self._interval is None else self._interval
            self._agenda.at(self._agenda.now + seconds, self._look, self)

    def _look(self) -> None:
        """Do what the progress thread does after its sleep."""
        self._look_is_planned = self._armed = False
        state, now = self.state, self._agenda.now
        self._interval = None
        if state.is_neglected(now):
            if state.stopped:
                return
            polled = state.polled
            self._poll_now()
            state.polled = polled
            state.look(now, False)
            self._exchange.drain()
        self._interval = state.next_look(False, self._waits_at_link)
        if self._interval is not None:
            self._arm()

    # the event loop

    def _live(self) -> Thread:
        self._exchange.send(Ready())
        state = self.state
        if self.name == ORIGIN:
            state.busy_since = self._agenda.now
            program = Greenlet(self._run_program())
            yield from self._switch(program)
            state.busy_since = 0.0
            while not state.stopped and not (self._run.may_end() and self._is_done()):
                yield from self._step()
        else:
            while not state.stopped:
                yield from self._step()

    def _run_program(self) -> Life:
        yield from self._execute(ROOT)
        self._run.program_ended()

    def _is_done(self) -> bool:
        state = self.state
        self._drop_taken()
        return not (state.sent or self._has_news() or state.local or state.leaving or state.inbox or self._ready)

    def _step(self) -> Thread:
        state = self.state
        if not self._has_work():
            if self._questions.pressing:
                yield from self._poll()
            else:
                yield from self._poll(wants=True)
        elif self._agenda.now - state.polled > state.poll_seconds:
            self._poll_now()
        elif (state.local or state.leaving) and state.has_to_share():
            self._share()
        if state.arrived:
            self._deliver(state.arrived.popleft())
        elif state.own:
            serial, outcome = state.own.popleft()
            self._claim(serial, outcome.value, outcome.unpolled)
        elif state.failed:
            future, error = state.failed.popleft()
            if isinstance(error, WorkerLostError):
                self._ledger.lost(number_of(future), self._agenda.now)
                future.settle(None, error)
            else:
                self._ledger.cancelled(number_of(future), self._agenda.now)
                future.drop()
        elif self._ready:
            waiter = self._ready.popleft()
            if not state.inbox:
                self._withdraw()
            self._arm_for_tasks()
            self._since = self._agenda.now
            state.busy_since = self._since
            yield from self._switch(waiter.greenlet)
            state.busy_since = 0.0
        elif self._may_run():
            self._arm_for_tasks()
            self._since = self._agenda.now
            state.busy_since = self._since
            self._running = None
            yield from self._switch(Greenlet(self._work()))
            state.busy_since = 0.0
            self._running = None

    def _switch(self, greenlet: Greenlet) -> Thread:
        self._current = greenlet
        for effect in greenlet.life:
            if isinstance(effect, Park):
                self._run.passes(self, "parked")
                break
            yield effect
        self._current = None

    def _has_news(self) -> bool:
        state = self.state
        return bool(state.arrived or state.own or state.failed)

    def _has_work(self) -> bool:
        return bool(self._ready) or self._has_news() or self._may_run()

    def _may_run(self) -> bool:
        state = self.state
        if self._questions.pressing or not (state.local or state.inbox):
            return False
        if self.is_spared and state.local and not state.stays(state.local[-1].cost):
            self._give_back()
            return False
        return True

    def _work(self) -> Life:
        self.begun.resume()
        yield from self._work_on()
        self.begun.pause()

    def _work_on(self) -> Life:
        state = self.state
        while True:
            task = self._next_task() if state.inbox else None
            if task is not None:
                yield from self._run_task(task)
            else:
                self._withdraw()
                try:
                    future = state.local.pop()
                except IndexError:
                    return
                yield from self._run_future(future)
            if self._agenda.now - state.polled > state.poll_seconds:
                self._poll_now()
            if state.stopped or self._ready or self._has_news() or not self._may_run():
                return

    # the runner

    def _run_future(self, future: Future) -> Life:
        call = future.begin()
        if call is None:
            return
        if self.is_spared and not self.state.stays(future.cost):
            raise Violation(f"task {number_of(future)} is begun by the origin, where it must not run")
        number = number_of(future)
        yield from self._call(number, future.cost)
        self._ledger.ended(number, self.worker_name, self._agenda.now)
        self._ledger.settled(number, number, self._agenda.now)
        future.settle(number, None)

    def _run_task(self, task: Given) -> Life:
        if isinstance(task, Batch):
            yield from self._open(task)
            first = self._next_task()
            if first is None:
                return
            task = first
            if isinstance(task, Batch):
                yield from self._run_task(task)
                return
        slot = self.begun.begin(task.owner, task.serial, 1, len(task.losses))
        self.state.prepare(task.cost, self._agenda.now)
        self._exchange.drain()
        following: Task | None = task
        while following is not None:
            task = following
            self._since = self._agenda.now
            self._run.passes(self, "task")
            self._run.check_owner(self, task.owner)
            value, unpolled = yield from self._call(task.item, task.cost)
            self._ledger.ended(task.item, self.worker_name, self._agenda.now)
            following = self._finish(task, value, unpolled)
            if following is not None:
                self.begun.go_on(slot, following.serial)
        self.begun.end(slot)

    def _finish(self, task: Task, value: int, unpolled: float) -> Task | None:
        """Note the outcome of *task*, and take a quick one that may be run as that was."""
        if task.owner == self.worker_name:
            self.state.finished_own(task.serial, Outcome(value, None, unpolled))
            return None
        self.state.finished(task.owner, (task.serial, value, unpolled), self._agenda.now)
        following = self.state.next_alike(task, self._agenda.now)
        self._exchange.drain()
        self._run.passes(self, "outcome")
        if not self._armed:
            self._arm()
        return following

    def _open(self, batch: Batch) -> Life:
        """Unpickle a batch, which takes a moment in which the worker may die of it, or another thread look."""
        slot = self.begun.begin(batch.owner, batch.serial, batch.count, len(batch.losses))
        self._ledger.opening(batch, self.worker_name, self._agenda.now)
        self._run.passes(self, "opening")
        yield Busy(_OPENING_SECONDS)
        self._ledger.opened(batch, self.worker_name, self._agenda.now)
        self.state.opened(batch, self._exchange.unpickled(batch))
        self.begun.end(slot)

    def _call(self, number: int, cost: Cost) -> Life:
        start = self._agenda.now
        outer, outer_unpolled = self._running, max(self._unpolled, start - self._since)
        self._running, self._unpolled, self._since = cost, 0.0, start
        assert self._current is not None
        self._current.depth += 1
        self._ledger.begun(number, self.worker_name, start, self.state.size > 1)
        value = yield from self._execute(number)
        assert self._current is not None
        self._current.depth -= 1
        end = self._agenda.now
        unpolled = max(end - self._since, self._unpolled)
        cost.learn(unpolled)
        self._running, self._unpolled, self._since = outer, outer_unpolled, end
        return value, unpolled

    def _note_poll(self) -> None:
        now = self._agenda.now
        self._unpolled = max(self._unpolled, now - self._since)
        self._since = now

    def _execute(self, number: int) -> Life:
        """Take the steps of a call; return its value: its number."""
        futures: dict[int, NumberedFuture] = {}
        for step in self._run.program.calls[call_of(number)].steps:
            match step:
                case steps.Compute(seconds):
                    yield Busy(seconds)
                case steps.Submit(call):
                    futures[call] = self._submit(call, number)
                case steps.Wait(call):
                    yield from self._wait_for(futures[call])
                case steps.Cancel((call,)):
                    yield from self._questions.cancel(futures[call])
                case steps.Cancel(calls):
                    yield from self._questions.cancel_all([futures[call] for call in calls])
                case steps.AskWhetherRunning(call):
                    yield from self._questions.ask_whether_running(futures[call])
                case steps.Abandon(call):
                    self._questions.abandon(futures[call])
                case steps.Kill(chance):
                    if self.state.size > 1 and self._run.is_killed(self, chance):
                        yield Busy(0.0)  # nothing follows
                case steps.SetConstant(name):
                    yield from self._questions.set_constant(name)
                case steps.GetConstant(name, waits):
                    yield from self._questions.get_constant(name, waits)
        return number

    def _submit(self, call: int, parent: int) -> NumberedFuture:
        name = self._run.program.calls[call].function
        function, cost = self._exchange.function(name)
        number = self._ledger.submitted(call, parent, self.worker_name, self._agenda.now)
        future = NumberedFuture(function, number, cost)
        if self._running is not None:
            self._running.spawns = True
        state = self.state
        if state.size == 1:
            state.local.append(future)
        elif state.submitted(future, self._agenda.now):
            self._note_poll()
            self._exchange.drain()
            if state.local or state.leaving:
                self._arm()
            if self._agenda.now - state.polled > state.poll_seconds:
                self._poll_now()
            self._since = self._agenda.now
        elif not self._armed:
            self._arm()
        return future

    def _wait_for(self, future: Future) -> Life:
        assert self._current is not None
        if future.function is not None and self._current.depth < self._run.stack_depth:
            if self.is_spared and not self.state.stays(future.cost):
                self._send_away(future)
            else:
                yield from self._run_future(future)
                self._drop_taken()
            if future.settled:
                return
        if not future.settled:
            waiter = self._new_waiter()
            future.watch(waiter.wake)
            yield from self._leave(waiter)
            if not future.settled:
                raise Violation(f"{self.name} goes on, and the future that it waited for is not settled")

    def _new_waiter(self) -> Waiter:
        assert self._current is not None
        return Waiter(self._current, self._ready)

    def _leave(self, waiter: Waiter) -> Life:
        if waiter.woken:
            return
        self._note_poll()
        running, unpolled = self._running, self._unpolled
        slot = self.begun.pause()
        yield PARK
        self.begun.resume(slot)
        self._running, self._unpolled = running, unpolled
        self._since = self._agenda.now

    # the link

    def _next_task(self) -> Given | None:
        task = self.state.next_task()
        if not self._armed:
            self._arm()
        return task

    def _withdraw(self) -> None:
        self.state.withdraw()
        self._exchange.drain()

    def _arm_for_tasks(self) -> None:
        if self.state.has_tasks_to_look_after:  # what waits in the inbox, too, may wait long behind this
            self._arm()

    def _share(self) -> None:
        self.state.share()
        self._exchange.drain()

    def _send_away(self, future: Future) -> None:
        self.state.export(future)
        self._share()

    def _give_back(self) -> None:
        self.state.give_back()
        self._exchange.drain()

    def _poll(self, wants: bool = False) -> Thread:
        """Look at the link, and wait there if nothing has come; ask for tasks if this worker *wants* some."""
        state = self.state
        if wants:
            if not state.want_unless_ahead() and self._exchange.receive():
                self._poll_now()
                return
            state.want()
        state.before_poll(self._agenda.now, True)
        self._exchange.drain()
        seconds = state.policy.poll_seconds if state.local else None
        if not self._exchange.receive() and not (state.inbox or state.foreign or self._has_news()):
            yield Idle(seconds)
            self._exchange.receive()
        else:
            yield Busy(_LOOK_SECONDS)
        self._has_polled()

    def _sends(self, message: Message) -> None:
        self._run.send_to_broker(self, message)
        self._run.passes(self, "sent")

    def _poll_now(self) -> None:
        self.state.before_poll(self._agenda.now, False)
        self._exchange.drain()
        self._exchange.receive()
        self._has_polled()

    def _has_polled(self) -> None:
        state = self.state
        state.polled = self._agenda.now
        if (state.local or state.leaving) and state.has_to_share():
            self._share()

    def _deliver(self, batch: Batch) -> None:
        for item in bytes(batch.frames[0]).split():
            serial, value, unpolled = item.split(b":")
            self._claim(int(serial), int(value), float(unpolled))

    def _claim(self, serial: int, value: int, unpolled: float) -> None:
        future = self.state.claim(serial, unpolled)
        if future is not None:
            self._ledger.settled(number_of(future), value, self._agenda.now)
            future.settle(value, None)

    def _drop_taken(self) -> None:
        state = self.state
        while state.leaving and state.leaving[0].function is None:
            state.leaving.popleft()
        while state.local and state.local[-1].function is None:
            state.local.pop()
        while state.local and state.local[0].function is None:
            state.local.popleft()

    # what must be gone at the end

    def left_over(self) -> list[str]:
        """Return the names of what is not empty, and should be when everything is done."""
        state = self.state
        self._drop_taken()
        return [
            name
            for name in ("local", "leaving", "foreign", "inbox", "sent", "arrived", "own", "failed", "outbox")
            + ("_outcomes", "_replies")
            if getattr(state, name)
        ]
