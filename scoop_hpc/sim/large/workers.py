"""A worker of a large federation: its state machine, in a shell that does little else than compute.

::

            arrive             begin                 end
    idle ----------> [ link ] -------> computes -----------> polls, asks, begins the next or is idle
      ^                                   |
      |                                   '-- looks, as the progress thread does, while something may come
      '--- nothing to do                  '-- submits, if it is an owner, a millisecond after the other

The state of a worker that submits nothing shares the queues that it does not need with all others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.protocol.messages import Batch, Message, Ready, Request, Results, Tasks, Terms
from scoop_hpc.protocol.names import ORIGIN, WorkerName
from scoop_hpc.sim.large.costs import Costs
from scoop_hpc.sim.large.programs import Call, Done, Source
from scoop_hpc.worker.durations import Cost, Leaving
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.policy import DEFAULT
from scoop_hpc.worker.state import Export, GiveBack, SendOutcomes, WorkerState
from scoop_hpc.worker.tasks import Task

_SLICE = 0.001  # seconds for which an owner goes on without a look at the link


class Nothing(deque[Any]):
    """A queue that is always empty."""

    def append(self, item: Any) -> None:
        """Refuse: who uses it needs one of its own."""
        raise AssertionError(f"{item!r} in a queue that nobody looks at")

    extend = appendleft = append


_NOTHING = Nothing()
_OWNERS = ("local", "leaving", "arrived", "own", "failed")  # queues of who submits tasks


class LeanState(WorkerState):
    """The state of a worker, in a sixth of the memory: without a dict, and with the queues of owners shared."""

    __slots__ = tuple(vars(WorkerState(WorkerName(cast(Any, "0.1")), 2)))

    def __init__(self, name: WorkerName, size: int, now: float, outbox: deque[Any]) -> None:
        super().__init__(name, size, now)
        self.outbox = outbox
        self.foreign = _NOTHING
        for queue in _OWNERS:
            setattr(self, queue, _NOTHING)

    def grow(self) -> None:
        """Get queues for tasks of its own."""
        if self.local is _NOTHING:
            for queue in _OWNERS:
                setattr(self, queue, deque())


class Promise:
    """A future: the call of a task that was submitted, and what the state machine asks of it."""

    __slots__ = ("call", "cost", "function", "program", "serial")

    environment: Any = None
    position = 0
    terms: Terms | None = None
    has_atoms = False

    def __init__(self, call: Call, program: Program) -> None:
        self.call = call
        self.cost = program.cost
        self.program = program
        self.function: Any = Call
        self.serial = 0


class Program:
    """What submits tasks: the origin's program, or the task *parent*."""

    __slots__ = ("cost", "parent", "source")

    def __init__(self, source: Source, cost: Cost, parent: Task | None = None) -> None:
        self.source = source
        self.cost = cost  # of what it submits
        self.parent = parent


class Surroundings(Protocol):
    """The federation, as a worker uses it."""

    now: float
    costs: Costs
    outbox: deque[Any]

    def at(self, time: float, act: Callable[..., object], *arguments: object) -> None:
        """Plan what is to happen."""

    def send_from(self, node: int, name: WorkerName, message: Message, time: float) -> None:
        """Send *message* of a worker to the broker of its node."""

    def begins(self, node: int, time: float) -> None:
        """Note that a worker of a node begins a task."""

    def program_ended(self) -> None:
        """Note that the origin's program has come to its end."""


class Worker:
    """The worker called *name*, on a *node*, one of *size* in all."""

    __slots__ = (
        *("_cost", "_is_idle", "_link", "_program_cost", "_run", "_since"),
        *("computed", "name", "node", "state"),
    )

    def __init__(self, run: Surroundings, name: WorkerName, node: int, size: int) -> None:
        self.name = name
        self.node = node
        self.computed = 0.0
        self.state: WorkerState = (
            LeanState(name, size, run.now, run.outbox)
            if name != ORIGIN
            else WorkerState(name, size, run.now, is_spared=size > 1)
        )
        self._run = run
        self._cost = Cost()  # of the tasks that it executes
        self._program_cost: Cost | None = None  # of those that they submit
        self._link: list[Message] = []
        self._is_idle = False
        self._since = 0.0  # when the task began that runs

    # what happens

    def ready(self) -> None:
        """Tell the broker that the worker is here, and ask for tasks."""
        self._run.send_from(self.node, self.name, Ready(), self._run.now)
        self._go_on(self._run.now)

    def go_on_after(self, begun: int) -> None:
        """Take it that the worker has begun so many tasks, and waits for the answer to its next request."""
        self.state._received = begun
        self.state._number = begun + 1
        self.state._request = Request(1, begun + 1, True, begun)
        self._is_idle = True

    def begin_program(self, source: Source) -> None:
        """Run the origin's program."""
        self._is_idle = False
        self._submit(Program(source, Leaving() if source.gathers else Cost()))

    def arrive(self, message: Message) -> None:
        """Take a message in if the worker waits at the link, else leave it there."""
        self._link.append(message)
        if self._is_idle:
            self._is_idle = False
            self._go_on(self._run.now)

    def _end(self, task: Task) -> None:
        """Do what is done at the end of a task."""
        now = self._run.now
        state, cost, call = self.state, self._cost, task.item
        seconds = now - self._since
        done = call.done()
        self.computed += done.seconds
        cost.learn(seconds)
        self._finish(task, seconds, done, now)
        state.busy_since = 0.0
        self._go_on(self._poll_now(now))

    def _finish(self, task: Task, unpolled: float, done: Done, now: float) -> None:
        if task.owner == self.name:
            self.state.finished_own(task.serial, Outcome(done, None, unpolled))
        else:
            self.state.finished(task.owner, (task.serial, done, unpolled), now)

    def _look(self, began: float) -> None:
        """Do what the progress thread does while the task runs that *began* then."""
        state, now = self.state, self._run.now
        if began != self._since or not state.busy_since:
            return
        if state.is_neglected(now):
            polled = state.polled
            state.before_poll(now, False)
            self._receive(now)
            state.polled = polled
            state.look(now)
            self._drain(now)
        interval = state.next_look(False)
        if interval is not None:
            self._run.at(now + interval, self._look, began)

    # the event loop

    def _go_on(self, time: float) -> None:
        """Do what there is to do, or ask for tasks and wait at the link."""
        state = self.state
        if self._link:
            time = self._receive(time)
        if state.arrived or state.own:
            self._take_outcomes(time)
            return
        if state.inbox:
            self._begin(time)
            return
        if state.local and not state.is_spared:
            self._begin_own(time)
            return
        state.want()
        state.before_poll(time, True)
        time = self._drain(time)
        state.polled = time
        self._is_idle = True

    def _begin(self, time: float) -> None:
        state = self.state
        task = state.next_task()
        if type(task) is Batch:
            time += self._run.costs.opening
            state.opened(task, [Task(task, task.serial, cast(Any, Call), task.frames[0], self._cost)])
            task = state.next_task()
        assert type(task) is Task
        self._run_task(task, time)

    def _begin_own(self, time: float) -> None:
        """Begin the newest task that stays here, as if it had left and come back."""
        state, wanted = self.state, self.state.wanted
        state.withdraw()
        batch = self._exported(cast(Promise, state.local.pop()))
        state.wanted = wanted
        self._run_task(Task(batch, batch.serial, cast(Any, batch.frames[0]), batch.frames[0], self._cost), time)

    def _run_task(self, task: Task, time: float) -> None:
        state, call = self.state, task.item
        state.prepare(self._cost, time)
        time = self._drain(time)
        self._run.begins(self.node, time)
        self._since = time
        if call.submits:
            self.state.grow()  # type: ignore[attr-defined]
            self._cost.spawns = True
            self._program_cost = self._program_cost or Cost()
            self._run.at(time, self._submit, Program(call.source(), self._program_cost, task))
            return
        seconds = call.done().seconds
        if seconds > DEFAULT.first_look and state.next_look(False) is not None:
            state.next_look(False)
            self._run.at(time + DEFAULT.first_look, self._look, time)
        self._run.at(time + seconds, self._end, task)

    def _poll_now(self, time: float) -> float:
        state = self.state
        state.before_poll(time, False)
        time = self._drain(time)
        if self._link:
            time = self._receive(time)
        state.polled = time
        if (state.local or state.leaving) and state.has_to_share():
            state.share()
            time = self._drain(time)
        return time

    def _receive(self, time: float) -> float:
        state, cost = self.state, self._run.costs.message
        came, self._link = self._link, []
        for message in came:
            time += cost
            state.receive(message)
        return self._drain(time) if state.outbox else time

    # programs

    def _submit(self, program: Program) -> None:
        """Submit for a while, with looks at the link; then wait."""
        run, state, source = self._run, self.state, program.source
        time, until = run.now, run.now + _SLICE
        state.busy_since = state.busy_since or time
        state.gathers = source.gathers
        while (call := source.next()) is not None:
            time += run.costs.submit + run.costs.item * call.items
            if state.submitted(cast(Future, Promise(call, program)), time):
                time = self._drain(time)
            if time >= until:
                time = self._poll_now(time)
                state.gathers = False
                run.at(time, self._submit, program)
                return
        state.gathers = False
        state.share()
        time = self._drain(time)
        state.busy_since = 0.0
        self._go_on(self._poll_now(time))

    def _take_outcomes(self, time: float) -> None:
        """Settle futures for a while, as their outcomes have come."""
        state, cost = self.state, self._run.costs.outcome
        until = time + _SLICE
        ended: Program | None = None
        while (state.arrived or state.own) and time < until and ended is None:
            if state.own:
                serial, outcome = state.own.popleft()
                items = [(serial, outcome.value, outcome.unpolled)]
            else:
                items = cast(Any, state.arrived.popleft().frames[0])
            for serial, done, unpolled in items:
                time += cost
                promise = cast(Promise, state.claim(serial, unpolled))
                program = promise.program
                program.source.ended(promise.call, done)
                if program.source.gathers or program.source.is_over():
                    ended = program
        if ended is None and not (state.arrived or state.own):
            self._go_on(self._poll_now(time))
        else:
            self._run.at(time, self._after_outcomes, ended)

    def _after_outcomes(self, program: Program | None) -> None:
        time = self._poll_now(self._run.now)
        if program is not None and program.source.is_over():
            if program.parent is None:
                self._run.program_ended()
            else:
                self._finish(program.parent, DEFAULT.short, program.parent.item.done(), time)
        elif program is not None:
            self._run.at(time, self._submit, program)
            return
        self._go_on(time)

    # what leaves

    def _drain(self, time: float) -> float:
        outbox = self.state.outbox
        cost = self._run.costs.message
        while outbox:
            action = outbox.popleft()
            if type(action) is Export:
                batches = [self._exported(cast(Promise, future)) for group in action.groups for future in group]
                message: Message = Tasks(batches)
            elif type(action) is SendOutcomes:
                message = Results(
                    [
                        Batch(owner, 0, cast(Any, [items]), done=tuple([item[0] for item in items]))
                        for owner, items in action.outcomes.items()
                    ],
                    action.request,
                )
            elif type(action) is GiveBack:
                message = Tasks([_packed(given) for given in action.given])
            else:
                assert isinstance(action, Message)
                message = action
            time += cost
            self._run.send_from(self.node, self.name, message, time)
        return time

    def _exported(self, promise: Promise) -> Batch:
        promise.function = None  # it has left
        return self.state.exported([cast(Future, promise)], cast(Any, [promise.call]))


def _packed(given: Batch | Task) -> Batch:
    if isinstance(given, Batch):
        return given
    return Batch(given.owner, given.serial, [given.item], terms=given.terms, losses=given.losses)
