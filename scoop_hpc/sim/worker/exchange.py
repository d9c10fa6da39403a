"""The messages of a simulated worker, like `worker.exchange`: taken in, packed and sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from scoop_hpc.protocol.messages import Batch, Buffer, Gone, Message, OutcomeLost, Reference, Results, Tasks
from scoop_hpc.protocol.names import ProcessName, WorkerName, broker_name, broker_of
from scoop_hpc.sim.agenda import Agenda
from scoop_hpc.sim.ledger import Ledger, call_of
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.future import Future, Waits
from scoop_hpc.worker.policy import Policy
from scoop_hpc.worker.state import Export, GiveBack, Reply, SendOutcomes, WorkerState
from scoop_hpc.worker.tasks import Given, Task


class Surroundings(Protocol):
    """The run, as an exchange uses it."""

    agenda: Agenda
    ledger: Ledger
    message_cost: float
    large: int

    def taken(self, batch: Batch) -> Batch:
        """Return outcomes without their reference to a worker's memory, unless that is dead."""


class NumberedFuture(Future):
    """A future that the ledger knows by its *number*."""

    __slots__ = ("number",)

    def __init__(self, function: Function, number: int, cost: Cost) -> None:
        super().__init__(cast(Waits, None), cast(Any, function), (number,), {}, cost)
        self.number = number


class Function:
    """A function that tasks call, known by what workers learn about it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Exchange:
    """What the worker called *name* gets and *sends*; *arms* wakes its progress thread, for tasks while it is busy."""

    def __init__(
        self,
        run: Surroundings,
        name: WorkerName,
        state: WorkerState,
        policy: Policy,
        sends: Callable[[Message], object],
        arms: Callable[[], object],
    ) -> None:
        self.link: list[Message] = []  # what has arrived, and was not looked at
        self.debt = 0.0  # seconds that messages have cost the main thread, to be spent when it computes or waits next
        self._run, self._ledger, self._agenda = run, run.ledger, run.agenda
        self._name = name
        self._state = state
        self._policy = policy
        self._sends = sends
        self._arms = arms
        self._functions: dict[str, Function] = {}
        self._costs: dict[str, Cost] = {}

    def receive(self) -> bool:
        """Take in what has arrived; return whether anything has."""
        came, self.link = self.link, []
        state, now, gone = self._state, self._agenda.now, set[ProcessName]()
        for message in came:
            self.debt += self._run.message_cost
            if isinstance(message, Tasks):
                self._ledger.come(message.batches, broker_of(self._name), self._name, now)
                if state.busy_since:
                    self._arms()
            elif isinstance(message, Results):
                self._take(message.batches)
            elif isinstance(message, Gone):
                gone.update(message.workers, map(broker_name, message.nodes))
            state.receive(message)
        if came:
            self._ledger.holds(self._in_inbox(), self._name, now, gone)
        self.drain()
        return bool(came)

    def _take(self, batches: list[Batch]) -> None:
        """Take outcomes out of the memory of who made them; those that are lost are asked for."""
        batches[:] = map(self._run.taken, batches)
        lost = [batch for batch in batches if type(batch.frames[-1]) is Reference]
        if lost:
            batches[:] = [batch for batch in batches if batch not in lost]
            for batch in lost:
                self.send(OutcomeLost(self._name, batch.done))

    def _in_inbox(self) -> list[Batch]:
        return [self.packed(given) for given in self._state.inbox]

    def drain(self) -> None:
        """Send what the state machine has decided to."""
        outbox = self._state.outbox
        while outbox:
            action = outbox.popleft()
            if isinstance(action, Message):
                self.send(action)
            elif isinstance(action, SendOutcomes):
                batches = [self._outcomes(owner, items) for owner, items in action.outcomes.items()]
                self.send(Results(batches, action.request))
            elif isinstance(action, Export):
                exported = [batch for group in action.groups if (batch := self._export(group)) is not None]
                if exported:
                    self.send(Tasks(exported))
            elif isinstance(action, GiveBack):
                self.send(Tasks([self.packed(given) for given in action.given]))
            else:
                assert isinstance(action, Reply)
                action.to(action.answer)

    def _outcomes(self, owner: WorkerName, items: Sequence[tuple[Any, ...]]) -> Batch:
        text = " ".join(f"{serial}:{value}:{unpolled!r}" for serial, value, unpolled in items)
        frames: list[Buffer] = [text.encode()]
        if self._run.large and any(call_of(value) % self._run.large == 0 for _, value, _ in items):
            frames.append(Reference(self._name.encode()))
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
                numbers.append(number_of(future))
        if not futures:
            return None
        batch = self._state.exported(futures, [_calls(function.name, numbers)])
        for serial, number in enumerate(numbers, batch.serial):
            self._ledger.exported(number, self._name, serial, self._agenda.now)
        return batch

    def unpickled(self, batch: Batch) -> list[Task]:
        """Return the tasks in *batch*."""
        name, *numbers = bytes(batch.frames[0]).decode().split()
        function, cost = self.function(name)
        return [
            Task(batch, serial, cast(Any, function), int(number), cost)
            for serial, number in enumerate(numbers, batch.serial)
        ]

    def packed(self, given: Given) -> Batch:
        """Return a task as a batch of its own."""
        if isinstance(given, Batch):
            return given
        function = cast(Function, given.function)
        calls: list[Buffer] = [_calls(function.name, [given.item])]
        return Batch(given.owner, given.serial, calls, terms=given.terms, losses=given.losses)

    def function(self, name: str) -> tuple[Function, Cost]:
        """Return a function by its *name*, and what is known of its calls."""
        if name not in self._functions:
            self._functions[name] = Function(name)
            self._costs[name] = Cost(self._policy)
        return self._functions[name], self._costs[name]

    def send(self, message: Message) -> None:
        """Send *message*, and take it that this costs the main thread time."""
        self.debt += self._run.message_cost
        if isinstance(message, Tasks):
            self._ledger.leave(message.batches, self._name, broker_of(self._name), self._agenda.now)
        self._sends(message)


def number_of(future: Future) -> int:
    """Return the number by which the ledger knows a *future*."""
    assert isinstance(future, NumberedFuture)
    return future.number


def _calls(function: str, numbers: Sequence[int]) -> bytes:
    return f"{function} {' '.join(map(str, numbers))}".encode()
