"""What the tasks of a simulated worker ask brokers: to cancel, whether a task has begun, for constants."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from scoop_hpc.protocol import messages
from scoop_hpc.protocol.messages import GetShared, Message, Query, SetShared, Shared
from scoop_hpc.protocol.names import WorkerName
from scoop_hpc.sim.agenda import Agenda
from scoop_hpc.sim.ledger import Ledger, Violation
from scoop_hpc.sim.worker.effects import Life, Waiter
from scoop_hpc.sim.worker.exchange import Exchange, NumberedFuture
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.state import WorkerState


class Questions:
    """The questions of the worker called *name*; who asks one gets a *waiter*, and *parks* until that is woken."""

    def __init__(
        self,
        name: WorkerName,
        state: WorkerState,
        exchange: Exchange,
        agenda: Agenda,
        ledger: Ledger,
        waiter: Callable[[], Waiter],
        parks: Callable[[Waiter], Life],
    ) -> None:
        self.pressing = 0  # questions that are answered soon, so that the worker begins no other task
        self._name = name
        self._state = state
        self._exchange = exchange
        self._agenda = agenda
        self._ledger = ledger
        self._waiter = waiter
        self._park = parks
        self._values: dict[str, bytes] = {}  # constants that are known here

    def _ask(self, message_of: Callable[[int], Message], soon: bool = True) -> Generator[Any, None, Any]:
        waiter = self._waiter()
        answers: list[Any] = []

        def reply(answer: Any) -> None:
            answers.append(answer)
            waiter.wake()

        number = self._state.question(message_of, reply)
        self._exchange.drain()
        self.pressing += soon
        yield from self._park(waiter)
        self.pressing -= soon
        self._state.forget(number)
        if len(answers) != 1:
            raise Violation(f"{self._name} got the answers {answers} to one question")
        return answers[0]

    def cancel(self, future: NumberedFuture) -> Life:
        """Drop a future, wherever its task is, unless that has begun."""
        if future.settled:
            return
        if future.take() is not None:
            self._settle_as_cancelled(future)
        elif future.serial:
            self._ledger.cancelling(future.number)
            answer = yield from self._ask(lambda number: messages.Cancel(self._name, future.serial, number))
            if answer.is_dropped and self._state.sent.pop(future.serial, None) is not None:
                self._settle_as_cancelled(future)

    def cancel_all(self, futures: Sequence[NumberedFuture]) -> Life:
        """Do so with many at once."""
        waiter = self._waiter()
        sought: dict[int, NumberedFuture] = {}
        answers: list[Any] = []

        def reply(answer: Any) -> None:
            answers.append(answer)
            if len(answers) == len(sought):
                waiter.wake()

        for future in futures:
            if future.serial in self._state.sent:
                sought[future.serial] = future
            else:
                yield from self.cancel(future)
        for serial, future in sought.items():
            self._ledger.cancelling(future.number)
            self._state.question(_cancel_of(self._name, serial), reply)
            self._exchange.drain()
        if sought:
            yield from self._park(waiter)
        for answer in answers:
            if answer.is_dropped and self._state.sent.pop(answer.serial, None) is not None:
                self._settle_as_cancelled(sought[answer.serial])

    def _settle_as_cancelled(self, future: NumberedFuture) -> None:
        self._ledger.cancelled(future.number, self._agenda.now)
        future.drop()

    def ask_whether_running(self, future: Future) -> Life:
        """Ask whether the task of a future has begun."""
        if not future.settled and future.serial > 0:
            yield from self._ask(lambda number: Query(self._name, future.serial, number))

    def abandon(self, future: NumberedFuture) -> None:
        """Do not wait for a future any more."""
        if future.settled:
            return
        is_here = future.take() is not None
        begun_here = not is_here and not future.serial
        if not begun_here:
            self._ledger.abandoned(future.number, self._agenda.now, dropped=is_here)
        if not is_here:
            self._state.abandon(future)
            self._exchange.drain()

    def set_constant(self, name: str) -> Life:
        """Set a constant for all workers."""
        answer = yield from self._ask(lambda number: SetShared(self._name, number, {name: name.encode()}))
        if not answer.clashes:
            self._values[name] = name.encode()

    def get_constant(self, name: str, waits: bool) -> Life:
        """Ask for a constant, and wait until it is set if this *waits*."""
        if name in self._values:
            return
        answer: Shared = yield from self._ask(lambda number: GetShared(name, number, False))
        if answer.value is None and waits:
            answer = yield from self._ask(lambda number: GetShared(name, number, True), soon=False)
        if answer.value is not None:
            self._values[name] = answer.value
        if (waits or answer.value is not None) and answer.value != name.encode():
            raise Violation(f"the constant {name!r} has the value {answer.value!r}")


def _cancel_of(owner: WorkerName, serial: int) -> Callable[[int], Message]:
    return lambda number: messages.Cancel(owner, serial, number)
