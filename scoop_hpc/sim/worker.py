"""A worker of a simulated run: its state machine, in a shell like `worker.loop`, `runner` and `exchange`.

::

    main thread      a generator: yields while it computes (Busy), waits at the link (Idle)
      '-- greenlet   a generator: yields the same, and Park where it leaves for the event loop
    progress thread  looks at times that `next_look` names, if it is armed, and sleeps else

What arrives lies in the link until one of the two threads polls: nobody sees a message while a task runs, unless the
progress thread looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from scoop_hpc.errors import WorkerLostError
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.protocol import messages
from scoop_hpc.protocol.messages import (
    Batch,
    Buffer,
    GetShared,
    Gone,
    Message,
    OutcomeLost,
    Query,
    Ready,
    Reference,
    Results,
    SetShared,
    Shared,
    Tasks,
)
from scoop_hpc.protocol.names import ORIGIN, ProcessName, WorkerName, broker_name, broker_of
from scoop_hpc.sim import program as steps
from scoop_hpc.sim.agenda import Agenda, Process
from scoop_hpc.sim.ledger import Ledger, Violation, call_of
from scoop_hpc.sim.program import ROOT, Program
from scoop_hpc.transport.begun import Begun
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.future import Future, Waits
from scoop_hpc.worker.policy import DEFAULT, Policy
from scoop_hpc.worker.state import Export, GiveBack, Reply, SendOutcomes, WorkerState
from scoop_hpc.worker.tasks import Given, Task


@dataclass(frozen=True, slots=True)
class Busy:
    """Compute for some *seconds*."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Idle:
    """Wait at the link, for *seconds* at the most; None: until something arrives."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Park:
    """Leave for the event loop."""


_PARK = Park()
_OPENING_SECONDS = 0.00001  # to unpickle a batch
_LOOK_SECONDS = 0.0002  # from one look at the link to the next, where it does not wait there
_Thread = Generator[Busy | Idle, None, None]
_Life = Generator[Busy | Idle | Park, None, Any]


class Surroundings(Protocol):
    """The run, as a worker uses it."""

    agenda: Agenda
    ledger: Ledger
    program: Program
    message_cost: float
    stack_depth: int
    large: int

    def send_to_broker(self, worker: Worker, message: Message) -> None:
        """Send *message* to the worker's broker."""

    def taken(self, batch: Batch) -> Batch:
        """Return outcomes without their reference to a worker's memory, unless that is dead."""

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


class _Future(Future):
    """A future that the ledger knows by its *number*."""

    __slots__ = ("number",)

    def __init__(self, function: _Function, number: int, cost: Cost) -> None:
        super().__init__(cast(Waits, None), cast(Any, function), (number,), {}, cost)
        self.number = number


class _Function:
    """A function that tasks call, known by what workers learn about it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class _Greenlet:
    """A stack of its own, *depth* tasks deep."""

    __slots__ = ("depth", "life")

    def __init__(self, life: _Life) -> None:
        self.life = life
        self.depth = 0


class _Waiter:
    """A greenlet that has parked, or is about to."""

    __slots__ = ("greenlet", "ready", "woken")

    def __init__(self, greenlet: _Greenlet, ready: deque[_Waiter]) -> None:
        self.greenlet = greenlet
        self.ready = ready
        self.woken = False

    def wake(self) -> None:
        if not self.woken:
            self.woken = True
            self.ready.append(self)


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
        self._link: list[Message] = []
        self._waits_at_link = False
        self._wait_number = 0
        self._debt = 0.0  # seconds that messages have cost the main thread, to be spent when it computes or waits next
        self._main: _Thread = self._live()
        self._current: _Greenlet | None = None
        self._ready: deque[_Waiter] = deque()
        self._questions = 0
        self._functions: dict[str, _Function] = {}
        self._costs: dict[str, Cost] = {}
        self._policy = policy
        # the runner's
        self._running: Cost | None = None
        self._unpolled = 0.0
        self._since = run.agenda.now
        # the progress thread's
        self._armed = False
        self._look_is_planned = False
        self._interval: float | None = policy.first_look
        self._values: dict[str, bytes] = {}

    # threads

    def begin(self) -> None:
        """Let the process live."""
        self._resume()

    def arrive(self, message: Message) -> None:
        """Put *message* into the link; it is seen by whoever looks next."""
        self._link.append(message)
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
        now, debt = self._agenda.now, self._debt
        if isinstance(effect, Busy):
            self._debt = 0.0
            self.computed += effect.seconds
            self._agenda.at(now + debt + effect.seconds * self.slowness, self._resume, self)
        elif debt:
            self._debt = 0.0
            self._agenda.at(now + debt * self.slowness, lambda: self._wait(effect), self)
        else:
            self._wait(effect)

    def _wait(self, idle: Idle) -> None:
        if self._link:
            self._resume()
            return
        self._waits_at_link = True
        if not self._questions and not self.is_spared:
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
            self._drain()
        self._interval = state.next_look(False, self._waits_at_link)
        if self._interval is not None:
            self._arm()

    # the event loop

    def _live(self) -> _Thread:
        self._send(Ready())
        state = self.state
        if self.name == ORIGIN:
            state.busy_since = self._agenda.now
            program = _Greenlet(self._run_program())
            yield from self._switch(program)
            state.busy_since = 0.0
            while not state.stopped and not (self._run.may_end() and self._is_done()):
                yield from self._step()
        else:
            while not state.stopped:
                yield from self._step()

    def _run_program(self) -> _Life:
        yield from self._execute(ROOT)
        self._run.program_ended()

    def _is_done(self) -> bool:
        state = self.state
        self._drop_taken()
        return not (state.sent or self._has_news() or state.local or state.leaving or state.inbox or self._ready)

    def _step(self) -> _Thread:
        state = self.state
        if not self._has_work():
            if self._questions:
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
                self._ledger.lost(_number_of(future), self._agenda.now)
                future.settle(None, error)
            else:
                self._ledger.cancelled(_number_of(future), self._agenda.now)
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
            yield from self._switch(_Greenlet(self._work()))
            state.busy_since = 0.0
            self._running = None

    def _switch(self, greenlet: _Greenlet) -> _Thread:
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
        if self._questions or not (state.local or state.inbox):
            return False
        if self.is_spared and state.local and not state.stays(state.local[-1].cost):
            self._give_back()
            return False
        return True

    def _work(self) -> _Life:
        self.begun.resume()
        yield from self._work_on()
        self.begun.pause()

    def _work_on(self) -> _Life:
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

    def _run_future(self, future: Future) -> _Life:
        call = future.begin()
        if call is None:
            return
        if self.is_spared and not self.state.stays(future.cost):
            raise Violation(f"task {_number_of(future)} is begun by the origin, where it must not run")
        number = _number_of(future)
        yield from self._call(number, future.cost)
        self._ledger.ended(number, self.worker_name, self._agenda.now)
        self._ledger.settled(number, number, self._agenda.now)
        future.settle(number, None)

    def _run_task(self, task: Given) -> _Life:
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
        self._drain()
        self._since = self._agenda.now
        self._run.passes(self, "task")
        self._run.check_owner(self, task.owner)
        value, unpolled = yield from self._call(task.item, task.cost)
        self._ledger.ended(task.item, self.worker_name, self._agenda.now)
        self._finish(task, value, unpolled)
        self.begun.end(slot)

    def _finish(self, task: Task, value: int, unpolled: float) -> None:
        if task.owner == self.worker_name:
            self.state.finished_own(task.serial, Outcome(value, None, unpolled))
            return
        self.state.finished(task.owner, (task.serial, value, unpolled), self._agenda.now)
        self._run.passes(self, "outcome")
        if not self._armed:
            self._arm()

    def _open(self, batch: Batch) -> _Life:
        """Unpickle a batch, which takes a moment in which the worker may die of it, or another thread look."""
        slot = self.begun.begin(batch.owner, batch.serial, batch.count, len(batch.losses))
        self._ledger.opening(batch, self.worker_name, self._agenda.now)
        self._run.passes(self, "opening")
        yield Busy(_OPENING_SECONDS)
        self._ledger.opened(batch, self.worker_name, self._agenda.now)
        self.state.opened(batch, self._unpickled(batch))
        self.begun.end(slot)

    def _call(self, number: int, cost: Cost) -> _Life:
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

    # the user's code

    def _execute(self, number: int) -> _Life:
        """Take the steps of a call; return its value: its number."""
        futures: dict[int, _Future] = {}
        for step in self._run.program.calls[call_of(number)].steps:
            match step:
                case steps.Compute(seconds):
                    yield Busy(seconds)
                case steps.Submit(call):
                    futures[call] = self._submit(call, number)
                case steps.Wait(call):
                    yield from self._wait_for(futures[call])
                case steps.Cancel((call,)):
                    yield from self._cancel(futures[call])
                case steps.Cancel(calls):
                    yield from self._cancel_all([futures[call] for call in calls])
                case steps.AskWhetherRunning(call):
                    yield from self._ask_whether_running(futures[call])
                case steps.Abandon(call):
                    self._abandon(futures[call])
                case steps.Kill(chance):
                    if self.state.size > 1 and self._run.is_killed(self, chance):
                        yield Busy(0.0)  # nothing follows
                case steps.SetConstant(name):
                    yield from self._set_constant(name)
                case steps.GetConstant(name, waits):
                    yield from self._get_constant(name, waits)
        return number

    def _submit(self, call: int, parent: int) -> _Future:
        name = self._run.program.calls[call].function
        function, cost = self._function(name)
        number = self._ledger.submitted(call, parent, self.worker_name, self._agenda.now)
        future = _Future(function, number, cost)
        if self._running is not None:
            self._running.spawns = True
        state = self.state
        if state.size == 1:
            state.local.append(future)
        elif state.submitted(future, self._agenda.now):
            self._note_poll()
            self._drain()
            if state.local or state.leaving:
                self._arm()
            if self._agenda.now - state.polled > state.poll_seconds:
                self._poll_now()
            self._since = self._agenda.now
        elif not self._armed:
            self._arm()
        return future

    def _wait_for(self, future: Future) -> _Life:
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
            waiter = _Waiter(self._current, self._ready)
            future.watch(waiter.wake)
            yield from self._leave(waiter)
            if not future.settled:
                raise Violation(f"{self.name} goes on, and the future that it waited for is not settled")

    def _leave(self, waiter: _Waiter) -> _Life:
        if waiter.woken:
            return
        self._note_poll()
        running, unpolled = self._running, self._unpolled
        slot = self.begun.pause()
        yield _PARK
        self.begun.resume(slot)
        self._running, self._unpolled = running, unpolled
        self._since = self._agenda.now

    def _ask(self, message_of: Callable[[int], Message], soon: bool = True) -> Generator[Any, None, Any]:
        assert self._current is not None
        waiter = _Waiter(self._current, self._ready)
        answers: list[Any] = []

        def reply(answer: Any) -> None:
            answers.append(answer)
            waiter.wake()

        number = self.state.question(message_of, reply)
        self._drain()
        self._questions += soon
        yield from self._leave(waiter)
        self._questions -= soon
        self.state.forget(number)
        if len(answers) != 1:
            raise Violation(f"{self.name} got the answers {answers} to one question")
        return answers[0]

    def _cancel(self, future: _Future) -> _Life:
        if future.settled:
            return
        if future.take() is not None:
            self._settle_as_cancelled(future)
        elif future.serial:
            self._ledger.cancelling(future.number)
            answer = yield from self._ask(lambda number: messages.Cancel(self.worker_name, future.serial, number))
            if answer.is_dropped and self.state.sent.pop(future.serial, None) is not None:
                self._settle_as_cancelled(future)

    def _cancel_all(self, futures: Sequence[_Future]) -> _Life:
        assert self._current is not None
        waiter = _Waiter(self._current, self._ready)
        sought: dict[int, _Future] = {}
        answers: list[Any] = []

        def reply(answer: Any) -> None:
            answers.append(answer)
            if len(answers) == len(sought):
                waiter.wake()

        for future in futures:
            if future.serial in self.state.sent:
                sought[future.serial] = future
            else:
                yield from self._cancel(future)
        for serial, future in sought.items():
            self._ledger.cancelling(future.number)
            self.state.question(_cancel_of(self.worker_name, serial), reply)
            self._drain()
        if sought:
            yield from self._leave(waiter)
        for answer in answers:
            if answer.is_dropped and self.state.sent.pop(answer.serial, None) is not None:
                self._settle_as_cancelled(sought[answer.serial])

    def _settle_as_cancelled(self, future: _Future) -> None:
        self._ledger.cancelled(future.number, self._agenda.now)
        future.drop()

    def _ask_whether_running(self, future: Future) -> _Life:
        if not future.settled and future.serial > 0:
            yield from self._ask(lambda number: Query(self.worker_name, future.serial, number))

    def _abandon(self, future: _Future) -> None:
        if future.settled:
            return
        is_here = future.take() is not None
        begun_here = not is_here and not future.serial
        if not begun_here:
            self._ledger.abandoned(future.number, self._agenda.now, dropped=is_here)
        if not is_here:
            self.state.abandon(future)
            self._drain()

    def _set_constant(self, name: str) -> _Life:
        answer = yield from self._ask(lambda number: SetShared(self.worker_name, number, {name: name.encode()}))
        if not answer.clashes:
            self._values[name] = name.encode()

    def _get_constant(self, name: str, waits: bool) -> _Life:
        if name in self._values:
            return
        answer: Shared = yield from self._ask(lambda number: GetShared(name, number, False))
        if answer.value is None and waits:
            answer = yield from self._ask(lambda number: GetShared(name, number, True), soon=False)
        if answer.value is not None:
            self._values[name] = answer.value
        if (waits or answer.value is not None) and answer.value != name.encode():
            raise Violation(f"the constant {name!r} has the value {answer.value!r}")

    # the exchange

    def _next_task(self) -> Given | None:
        task = self.state.next_task()
        if not self._armed:
            self._arm()
        return task

    def _withdraw(self) -> None:
        self.state.withdraw()
        self._drain()

    def _arm_for_tasks(self) -> None:
        if self.state.has_tasks_to_look_after:  # what waits in the inbox, too, may wait long behind this
            self._arm()

    def _share(self) -> None:
        self.state.share()
        self._drain()

    def _send_away(self, future: Future) -> None:
        self._share()
        if future.function is not None:
            self._give_back()

    def _give_back(self) -> None:
        self.state.give_back()
        self._drain()

    def _poll(self, wants: bool = False) -> _Thread:
        """Look at the link, and wait there if nothing has come; ask for tasks if this worker *wants* some."""
        state = self.state
        if wants:
            if not state.want_unless_ahead() and self._receive():
                self._poll_now()
                return
            state.want()
        state.before_poll(self._agenda.now, True)
        self._drain()
        seconds = state.policy.poll_seconds if state.local else None
        if not self._receive() and not (state.inbox or state.foreign or self._has_news()):
            yield Idle(seconds)
            self._receive()
        else:
            yield Busy(_LOOK_SECONDS)
        self._has_polled()

    def _poll_now(self) -> None:
        self.state.before_poll(self._agenda.now, False)
        self._drain()
        self._receive()
        self._has_polled()

    def _has_polled(self) -> None:
        state = self.state
        state.polled = self._agenda.now
        if (state.local or state.leaving) and state.has_to_share():
            self._share()

    def _receive(self) -> bool:
        came, self._link = self._link, []
        state, now, gone = self.state, self._agenda.now, set[ProcessName]()
        for message in came:
            self._debt += self._run.message_cost
            if isinstance(message, Tasks):
                self._ledger.come(message.batches, broker_of(self.name), self.name, now)
                if state.busy_since:
                    self._arm()
            elif isinstance(message, Results):
                self._take(message.batches)
            elif isinstance(message, Gone):
                gone.update(message.workers, map(broker_name, message.nodes))
            state.receive(message)
        if came:
            self._ledger.holds(self._in_inbox(), self.name, now, gone)
        self._drain()
        return bool(came)

    def _take(self, batches: list[Batch]) -> None:
        """Take outcomes out of the memory of who made them; those that are lost are asked for."""
        batches[:] = map(self._run.taken, batches)
        lost = [batch for batch in batches if type(batch.frames[-1]) is Reference]
        if lost:
            batches[:] = [batch for batch in batches if batch not in lost]
            for batch in lost:
                self._send(OutcomeLost(self.worker_name, batch.done))

    def _in_inbox(self) -> list[Batch]:
        return [self._packed(given) for given in self.state.inbox]

    def _deliver(self, batch: Batch) -> None:
        for item in bytes(batch.frames[0]).split():
            serial, value, unpolled = item.split(b":")
            self._claim(int(serial), int(value), float(unpolled))

    def _claim(self, serial: int, value: int, unpolled: float) -> None:
        future = self.state.claim(serial, unpolled)
        if future is not None:
            self._ledger.settled(_number_of(future), value, self._agenda.now)
            future.settle(value, None)

    def _drop_taken(self) -> None:
        state = self.state
        while state.leaving and state.leaving[0].function is None:
            state.leaving.popleft()
        while state.local and state.local[-1].function is None:
            state.local.pop()
        while state.local and state.local[0].function is None:
            state.local.popleft()

    def _drain(self) -> None:
        outbox = self.state.outbox
        while outbox:
            action = outbox.popleft()
            if isinstance(action, Message):
                self._send(action)
            elif isinstance(action, SendOutcomes):
                batches = [self._outcomes(owner, items) for owner, items in action.outcomes.items()]
                self._send(Results(batches, action.request))
            elif isinstance(action, Export):
                exported = [batch for group in action.groups if (batch := self._export(group)) is not None]
                if exported:
                    self._send(Tasks(exported))
            elif isinstance(action, GiveBack):
                self._send(Tasks([self._packed(given) for given in action.given]))
            else:
                assert isinstance(action, Reply)
                action.to(action.answer)

    def _outcomes(self, owner: WorkerName, items: Sequence[tuple[Any, ...]]) -> Batch:
        text = " ".join(f"{serial}:{value}:{unpolled!r}" for serial, value, unpolled in items)
        frames: list[Buffer] = [text.encode()]
        if self._run.large and any(call_of(value) % self._run.large == 0 for _, value, _ in items):
            frames.append(Reference(self.name.encode()))
        return Batch(owner, 0, frames, done=tuple([item[0] for item in items]))

    def _export(self, group: Sequence[Future]) -> Batch | None:
        futures: list[Future] = []
        numbers: list[int] = []
        function: Any = None
        for future in group:
            call = future.take()
            if call is not None:
                function = call[0]
                futures.append(future)
                numbers.append(_number_of(future))
        if not futures:
            return None
        batch = self.state.exported(futures, [_calls(function.name, numbers)])
        for serial, number in enumerate(numbers, batch.serial):
            self._ledger.exported(number, self.worker_name, serial, self._agenda.now)
        return batch

    def _unpickled(self, batch: Batch) -> list[Task]:
        name, *numbers = bytes(batch.frames[0]).decode().split()
        function, cost = self._function(name)
        return [
            Task(batch, serial, cast(Any, function), int(number), cost)
            for serial, number in enumerate(numbers, batch.serial)
        ]

    def _packed(self, given: Given) -> Batch:
        if isinstance(given, Batch):
            return given
        function = cast(_Function, given.function)
        calls: list[Buffer] = [_calls(function.name, [given.item])]
        return Batch(given.owner, given.serial, calls, terms=given.terms, losses=given.losses)

    def _function(self, name: str) -> tuple[_Function, Cost]:
        if name not in self._functions:
            self._functions[name] = _Function(name)
            self._costs[name] = Cost(self._policy)
        return self._functions[name], self._costs[name]

    def _send(self, message: Message) -> None:
        self._debt += self._run.message_cost
        if isinstance(message, Tasks):
            self._ledger.leave(message.batches, self.name, broker_of(self.name), self._agenda.now)
        self._run.send_to_broker(self, message)
        self._run.passes(self, "sent")

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


def _number_of(future: Future) -> int:
    assert isinstance(future, _Future)
    return future.number


def _cancel_of(owner: WorkerName, serial: int) -> Callable[[int], Message]:
    return lambda number: messages.Cancel(owner, serial, number)


def _calls(function: str, numbers: Sequence[int]) -> bytes:
    return f"{function} {' '.join(map(str, numbers))}".encode()
