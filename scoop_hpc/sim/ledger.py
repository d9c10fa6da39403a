"""What must hold at every step: where each task is, what became of each future. Else there is a `Violation`.

A call may be submitted more than once, for the task that submits it may be executed again. Each time it is a task of
its own, with a number of its own, from which `call_of` tells the call.

A task is in one place, unless a node is lost that had it, or may have had it in the eyes of its home: then it may be in
two, and is *loose*. It is not followed any more. What holds for all: a task is executed at most once more than places
were lost that had it, and its future is settled once, by its own value.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from scoop_hpc.protocol.messages import Batch, TaskId
from scoop_hpc.protocol.names import ORIGIN, ProcessName, WorkerName, broker_of, is_broker

_Key = tuple[WorkerName, int]  # of an exported task: its owner, its serial
_OUTCOME, _DROPPED, _LOST = "its outcome", "dropped", "its loss"
_PASSED = "its outcome, by broker "
_WAITED = 4  # times as many attempts may be lost while the task waits
_AGAIN = 1_000_000  # from the number of a call's task to that of its next one


class Violation(Exception):
    """A promise that a run has broken."""


def call_of(number: int) -> int:
    """Return the number of the call that the task *number* makes.

    >>> call_of(7), call_of(2_000_007)
    (7, 7)
    """
    return number % _AGAIN


@dataclass(slots=True)
class _Task:
    """A call that was submitted."""

    owner: WorkerName
    parent: int
    place: str
    waits_since: float  # to be begun
    may_be_dropped: bool = False  # its cancellation was asked for
    is_orphan: bool = False  # its owner is dead
    begun: bool = False
    passed_at: float = 0.0  # when its outcome came to the broker of the worker that executed it
    is_forgotten: bool = False  # by that, and its outcome is lost
    waited: int = 0  # attempts that waited for others when their worker died
    losses: int = 0  # other attempts that were begun by workers that have died
    visited: set[str] = field(default_factory=set)  # nodes, since it has left that of its owner
    is_loose: bool = False
    executed: int = 0
    begun_at: set[str] = field(default_factory=set)  # workers whose brokers do not have its outcome
    cost: int = 0  # workers and nodes that had it and were lost
    end: str = ""  # of its future: settled, cancelled, abandoned, lost


class Ledger:
    """The place of each task, by its number. Each method is told by whoever plays a process."""

    def __init__(self, kept: float = 10.0, attempts: int = 3) -> None:
        self.tasks: dict[int, _Task] = {}
        self.executed = 0
        self.changed = 0.0  # when anything did
        self._attempts = attempts  # that may be lost
        self._kept = kept  # seconds for which brokers know tasks whose outcomes are in memory
        self._numbers: dict[_Key, int] = {}
        self._at: dict[str, set[int]] = {}  # the tasks at each place
        self._open: set[int] = set()  # that have not ended
        self._unsettled: set[int] = set()  # whose futures have not
        self._dead: set[str] = set()  # workers
        self._lost: set[str] = set()  # nodes, by the names of their brokers

    # the way of a task

    def submitted(self, call: int, parent: int, owner: WorkerName, now: float) -> int:
        """Note that a call waits in its owner's queue, which a task *parent* has submitted; return its number."""
        number = call
        while number in self.tasks:
            task = self.tasks[number]
            if task.parent == parent and not (task.is_orphan or self._may_run_twice(parent)):
                raise Violation(f"task {number} was submitted twice")
            number += _AGAIN
        self.tasks[number] = _Task(owner, parent, f"queue of {owner}", now)
        self._at.setdefault(f"queue of {owner}", set()).add(number)
        self._open.add(number)
        self._unsettled.add(number)
        if broker_of(owner) in self._lost:
            self._make_orphan(number)
            self._loosen(number)
        self.changed = now
        return number

    def _may_run_twice(self, number: int) -> bool:
        task = self.tasks.get(number)
        return task is not None and task.is_loose

    def exported(self, number: int, owner: WorkerName, serial: int, now: float) -> None:
        """Note that a call leaves its owner."""
        self._expect(number, f"queue of {owner}", "leaves its owner")
        self._numbers[owner, serial] = number
        self._place(number, str(owner), now)  # as others' tasks: then it is sent like these

    def leave(self, batches: Iterable[Batch], sender: str, to: str, now: float) -> None:
        """Note that *sender* sends tasks that were with it."""
        node = broker_of(to)
        for number in self._in(batches):
            self._expect(number, sender, f"is sent by {sender}")
            self._place(number, _way(sender, to), now)
            task = self.tasks[number]
            if node != broker_of(task.owner):
                task.visited.add(node)
                if is_broker(to) and node in self._lost:  # each time, by who has yet to hear of it
                    self._lose(number)

    def come(self, batches: Iterable[Batch], sender: str, receiver: str, now: float) -> None:
        """Note that tasks have come."""
        for number in self._in(batches):
            self._expect(number, _way(sender, receiver), f"comes to {receiver}")
            self._place(number, receiver, now)
            task = self.tasks[number]
            if receiver == broker_of(task.owner):
                task.visited.clear()

    def holds(self, batches: Sequence[Batch], where: str, now: float, gone: Collection[ProcessName] = ()) -> None:
        """Check that *batches*, and no others, wait at a process; what is not there any more was dropped.

        It is known there that the workers *gone* are, and the nodes of the brokers *gone*.
        """
        expected = self._at.get(where, set())
        numbers = self._in(batches)
        held = set(numbers)
        if len(held) < len(numbers):
            raise Violation(f"a task is twice at {where}: {sorted(numbers)}")
        self._check_losses(batches, where)
        if gone:
            for number in sorted(held):
                owner = self.tasks[number].owner
                if owner in gone or broker_of(owner) in gone:
                    raise Violation(f"task {number} is kept at {where}, where it is known that its owner is gone")
        if held == expected:
            return
        held = {number for number in held if not self.tasks[number].is_loose}
        for number in sorted(held - expected):
            raise Violation(f"task {number} is at {where}, and was thought to be at {self.tasks[number].place}")
        for number in sorted(expected - held):
            task = self.tasks[number]
            if not (task.may_be_dropped or task.is_orphan):
                raise Violation(f"task {number} is lost: it is not at {where} any more, and was not cancelled")
            self._place(number, f"dropped by {where}" if "." in where else _DROPPED, now)
            self._close(number)

    def _check_losses(self, batches: Iterable[Batch], where: str) -> None:
        for batch in batches:
            for number in self._in([batch]):
                waited = sum(loss.waited for loss in batch.losses)
                known, task = len(batch.losses) - waited, self.tasks[number]
                if task.is_loose and known <= task.losses and waited <= task.waited:
                    continue
                if (known, waited) != (task.losses, task.waited):
                    really = f"{task.losses} and {task.waited} that waited"
                    raise Violation(f"task {number} at {where} has lost {known} attempts and {waited}, not {really}")

    def dropped(self, owner: WorkerName, serial: int, worker: WorkerName, now: float) -> None:
        """Note that a broker knows that one of its workers has dropped a task."""
        number = self._numbers[owner, serial]
        if self.tasks[number].place == f"dropped by {worker}":
            self._place(number, _DROPPED, now)

    def opening(self, batch: Batch, worker: WorkerName, now: float) -> None:
        """Note that a worker unpickles a batch that waited there."""
        for number in self._in([batch]):
            self._expect(number, worker, f"is unpickled by {worker}")
            self._place(number, f"unpickled by {worker}", now)

    def opened(self, batch: Batch, worker: WorkerName, now: float) -> None:
        """Note that it has done so."""
        for number in self._in([batch]):
            self._expect(number, f"unpickled by {worker}", f"was unpickled by {worker}")
            self._place(number, worker, now)

    def begun(self, number: int, worker: WorkerName, now: float, has_others: bool = False) -> None:
        """Note that a worker begins a call: one of its own, or one that came; *has_others*: it is not the only one."""
        task = self.tasks[number]
        task.executed += 1
        task.begun_at.add(worker)
        if task.executed > 1 + task.cost and not task.is_orphan:
            times = f"{task.executed} times, now by {worker}"
            raise Violation(f"task {number} is executed {times}, and places that had it were lost {task.cost} times")
        if task.is_loose:
            self.executed += 1
            self.changed = now
            return
        if task.begun:
            raise Violation(f"task {number} is executed twice, now by {worker}")
        if task.place not in (f"queue of {worker}", worker):
            raise Violation(f"task {number} is begun by {worker}, and was thought to be at {task.place}")
        if worker == ORIGIN and has_others and task.place == worker:
            raise Violation(f"task {number} is begun by the origin, which is there for its program")
        task.begun = True
        self.executed += 1
        self._place(number, f"runs at {worker}", now)

    def ended(self, number: int, worker: WorkerName, now: float) -> None:
        """Note that a call has ended, and its outcome is to go to its owner."""
        self._expect(number, f"runs at {worker}", "ends")
        self._place(number, _outcome_at(worker), now)
        if not self.tasks[number].is_loose:
            self._close(number)

    def passed(self, batches: Iterable[Batch], worker: WorkerName, now: float) -> None:
        """Note that a broker has got outcomes of one of its workers: they cannot be lost with that any more."""
        for batch in batches:
            for serial in batch.done:
                number = self._numbers[batch.owner, serial]
                self._expect(number, _outcome_at(worker), f"was done by {worker}")
                self._place(number, _PASSED + broker_of(worker), now)
                self.tasks[number].passed_at = now
                self.tasks[number].begun_at.discard(worker)

    # deaths

    def died(self, worker: WorkerName, ran: Iterable[TaskId], waited: Iterable[TaskId], now: float) -> None:
        """Note that a worker is dead, and what ran there or waited; nobody needs the tasks that it has submitted."""
        self._dead.add(worker)
        self.changed = now
        for task in ran:
            self.tasks[self._numbers[task.owner, task.serial]].losses += 1
        for task in waited:
            self.tasks[self._numbers[task.owner, task.serial]].waited += 1
        for number, each in self.tasks.items():
            if each.owner == worker and not each.is_orphan:
                self._make_orphan(number)

    def _make_orphan(self, number: int) -> None:
        self.tasks[number].is_orphan = True
        self._close(number)
        self._unsettled.discard(number)

    def node_lost(self, node: str, now: float) -> None:
        """Note that a node is lost, or counts as lost: nobody needs its tasks, and others' may be executed again."""
        self._lost.add(node)
        self.changed = now
        for number, task in self.tasks.items():
            if broker_of(task.owner) == node:
                if not task.is_orphan:
                    self._make_orphan(number)
                self._loosen(number)
            elif node in task.visited and task.end in ("", "abandoned"):
                self._lose(number)

    def _lose(self, number: int) -> None:
        """Note that a node is lost that had a task, or that its home may believe to have it."""
        task = self.tasks[number]
        task.waited += 1
        task.cost += 1
        self._loosen(number)

    def _loosen(self, number: int) -> None:
        """Follow a task no more: it is open until its future has ended."""
        task = self.tasks[number]
        if task.is_loose:
            return
        task.is_loose = True
        self._at.get(task.place, set()).discard(number)
        if task.end or task.is_orphan:
            self._close(number)
        else:
            self._open.add(number)

    def queued_again(self, worker: WorkerName, now: float) -> None:
        """Note that a broker has heard of the death of one of its workers, and so what is to become of its tasks."""
        for task in self.tasks.values():
            if worker in task.begun_at:
                task.begun_at.discard(worker)
                task.cost += 1
        broker = broker_of(worker)
        places = [worker, f"unpickled by {worker}", f"runs at {worker}", _outcome_at(worker), f"dropped by {worker}"]
        places += [_way(broker, worker), _way(worker, broker)]
        for place in places:
            for number in sorted(self._at.get(place, ())):
                task = self.tasks[number]
                if task.owner == worker:
                    self._place(number, _DROPPED, now)
                    continue
                task.begun = False
                task.waits_since = now
                is_over = self._is_over(task)
                self._place(number, _LOST if is_over else broker, now)
                if not (is_over or task.is_orphan):
                    self._open.add(number)
                elif is_over:
                    self._close(number)

    def _is_over(self, task: _Task) -> bool:
        return task.losses >= self._attempts or task.waited >= _WAITED * self._attempts

    def outcome_lost(self, owner: WorkerName, serial: int, broker: str, copy: Batch | None, now: float) -> None:
        """Note that a broker hears that an outcome was in the memory of a worker that is dead.

        If it has a *copy* of the task, that is executed again, with the losses that are known there: of those elsewhere
        the home was not told. Else the task is lost: that may be where its owner has not looked for long.
        """
        number = self._numbers[owner, serial]
        task = self.tasks[number]
        is_known = copy is not None
        task.cost += is_known
        if copy is not None:
            task.waited = sum(loss.waited for loss in copy.losses)
            task.losses = len(copy.losses) - task.waited
        if task.is_loose:
            task.losses += not is_known
            task.is_forgotten = not is_known
            return
        if is_known and not task.place.startswith(_PASSED):
            raise Violation(f"the outcome of task {number} is lost, and its task is at {task.place}")
        # a broker forgets at once what its owner has no use for
        if not is_known and task.end != "abandoned" and now < task.passed_at + self._kept:
            raise Violation(f"task {number} was forgotten {now - task.passed_at:.1f} s after its outcome came")
        task.begun = False
        task.waits_since = now
        task.losses += not is_known
        task.is_forgotten = not is_known
        self._place(number, broker if is_known else _LOST, now)
        if is_known and not task.is_orphan:
            self._open.add(number)

    # futures

    def settled(self, number: int, value: int, now: float) -> None:
        """Note that a future has got its value."""
        task = self.tasks[number]
        if value != number:
            raise Violation(f"the future of task {number} is settled by the value {value}")
        if not (task.is_loose or task.place.startswith(_PASSED) or task.place == _outcome_at(task.owner)):
            raise Violation(f"the future of task {number} is settled, and its task is at {task.place}")
        self._place(number, _OUTCOME, now)
        self._end(number, "settled", now)

    def lost(self, number: int, now: float) -> None:
        """Note that a future has got the error of a task that was lost as often as it may be."""
        task = self.tasks[number]
        if not (self._is_over(task) or task.is_forgotten):
            raise Violation(f"the future of task {number} is said to be lost, after {task.losses} losses")
        if task.place != _LOST and not task.is_loose:
            raise Violation(f"the future of task {number} is said to be lost, and its task is at {task.place}")
        if task.end != "abandoned":  # when its loss was known already, and not yet looked at
            self._end(number, "lost", now)

    def cancelling(self, number: int) -> None:
        """Note that a task may be dropped where it waits."""
        self.tasks[number].may_be_dropped = True

    def cancelled(self, number: int, now: float) -> None:
        """Note that a future is cancelled: its task must not run any more."""
        task = self.tasks[number]
        if task.is_loose:
            self._end(number, "cancelled", now)
            return
        if task.begun:
            raise Violation(f"task {number} is said to be cancelled, and was begun")
        if task.place == f"queue of {task.owner}":
            self._place(number, _DROPPED, now)
            self._close(number)
        if task.place != _DROPPED:
            raise Violation(f"task {number} is said to be cancelled, and is at {task.place}")
        self._end(number, "cancelled", now)

    def abandoned(self, number: int, now: float, dropped: bool) -> None:
        """Note that nobody cares for a future any more; *dropped*: its task had not left its owner."""
        task = self.tasks[number]
        task.may_be_dropped = True
        if dropped:
            self._place(number, _DROPPED, now)
        if dropped or task.is_loose:
            self._close(number)
        if not task.end:
            self._end(number, "abandoned", now)

    # what is asked at intervals

    def is_finished(self) -> bool:
        """Return whether all tasks that were submitted have been executed, or dropped, and their futures know."""
        return not self._open and not self._unsettled

    def unfinished(self) -> str:
        """Say which tasks are not finished, and where they are."""
        left = [f"{number} ({self.tasks[number].place})" for number in sorted(self._open | self._unsettled)]
        return ", ".join(left[:10]) + (f" and {len(left) - 10} more" if len(left) > 10 else "")

    def waiting(self) -> list[tuple[int, float, str]]:
        """Return the tasks that have not begun: number, since when, and where."""
        return [
            (number, self.tasks[number].waits_since, self.tasks[number].place)
            for number in sorted(self._open)
            if not (self.tasks[number].begun or self.tasks[number].is_loose)
        ]

    # what all of these do

    def _in(self, batches: Iterable[Batch]) -> list[int]:
        numbers = self._numbers
        return [
            numbers[batch.owner, serial]
            for batch in batches
            for serial in range(batch.serial, batch.serial + batch.count)
            if serial not in batch.dropped
        ]

    def _expect(self, number: int, place: str, what: str) -> None:
        if self.tasks[number].place != place and not self.tasks[number].is_loose:
            raise Violation(f"task {number} {what}, and was thought to be at {self.tasks[number].place}")

    def _place(self, number: int, place: str, now: float) -> None:
        task = self.tasks[number]
        self.changed = now
        if task.is_loose:
            return
        self._at.get(task.place, set()).discard(number)
        task.place = place
        self._at.setdefault(place, set()).add(number)

    def _close(self, number: int) -> None:
        self._open.discard(number)

    def _end(self, number: int, how: str, now: float) -> None:
        task = self.tasks[number]
        if task.end:
            raise Violation(f"the future of task {number} is {how}, and was {task.end}")
        task.end = how
        self._unsettled.discard(number)
        if task.is_loose:
            self._close(number)
        self.changed = now


def _way(sender: str, to: str) -> str:
    return f"the way from {sender} to {to}"


def _outcome_at(worker: WorkerName) -> str:
    return f"its outcome at {worker}"
