"""What must hold at every step: where each task is, what became of each future. Else there is a `Violation`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scoop_hpc.protocol.messages import Batch
from scoop_hpc.protocol.names import WorkerName

_Key = tuple[WorkerName, int]  # of an exported task: its owner, its serial
_WAY, _OUTCOME, _DROPPED = "on its way", "its outcome", "dropped"


class Violation(Exception):
    """A promise that a run has broken."""


@dataclass(slots=True)
class _Task:
    """A call that was submitted."""

    owner: WorkerName
    place: str
    since: float  # at that place
    waits_since: float  # to be begun
    may_be_dropped: bool = False  # its cancellation was asked for
    is_cared_for: bool = True
    begun: bool = False
    end: str = ""  # of its future: settled, cancelled, abandoned


class Ledger:
    """The place of each task, by the number of its call. Each method is told by whoever plays a process."""

    def __init__(self) -> None:
        self.tasks: dict[int, _Task] = {}
        self.executed = 0
        self.changed = 0.0  # when anything did
        self._numbers: dict[_Key, int] = {}
        self._at: dict[str, set[int]] = {}  # the tasks that wait with a broker or in a worker's inbox
        self._open: set[int] = set()  # that have not ended

    # the way of a task

    def submitted(self, number: int, owner: WorkerName, now: float) -> None:
        """Note that a call waits in its owner's queue."""
        if number in self.tasks:
            raise Violation(f"task {number} was submitted twice")
        self.tasks[number] = _Task(owner, f"queue of {owner}", now, now)
        self._open.add(number)
        self.changed = now

    def exported(self, number: int, owner: WorkerName, serial: int, now: float) -> None:
        """Note that a call leaves its owner."""
        self._expect(number, f"queue of {owner}", "leaves its owner")
        self._numbers[owner, serial] = number
        self._place(number, str(owner), now)  # as others' tasks: then it is sent like these

    def leave(self, batches: Iterable[Batch], sender: str, now: float) -> None:
        """Note that *sender* sends tasks that were with it."""
        for number in self._in(batches):
            self._expect(number, sender, f"is sent by {sender}")
            self._place(number, _WAY, now)

    def come(self, batches: Iterable[Batch], receiver: str, now: float) -> None:
        """Note that tasks have come."""
        for number in self._in(batches):
            self._expect(number, _WAY, f"comes to {receiver}")
            self._place(number, receiver, now)

    def holds(self, batches: Iterable[Batch], where: str, now: float) -> None:
        """Check that *batches*, and no others, wait at a process; what is not there any more was dropped."""
        expected = self._at.get(where, set())
        numbers = self._in(batches)
        held = set(numbers)
        if len(held) < len(numbers):
            raise Violation(f"a task is twice at {where}: {sorted(numbers)}")
        if held == expected:
            return
        for number in sorted(held - expected):
            raise Violation(f"task {number} is at {where}, and was thought to be at {self.tasks[number].place}")
        for number in sorted(expected - held):
            if not self.tasks[number].may_be_dropped:
                raise Violation(f"task {number} is lost: it is not at {where} any more, and was not cancelled")
            self._place(number, _DROPPED, now)
            self._close(number)

    def begun(self, number: int, worker: WorkerName, now: float) -> None:
        """Note that a worker begins a call: one of its own, or one that came."""
        task = self.tasks[number]
        if task.begun:
            raise Violation(f"task {number} is executed twice, now by {worker}")
        if task.place not in (f"queue of {worker}", worker):
            raise Violation(f"task {number} is begun by {worker}, and was thought to be at {task.place}")
        task.begun = True
        self.executed += 1
        self._place(number, f"runs at {worker}", now)

    def ended(self, number: int, worker: WorkerName, now: float) -> None:
        """Note that a call has ended, and its outcome is to go to its owner."""
        self._expect(number, f"runs at {worker}", "ends")
        self._place(number, _OUTCOME, now)
        self._close(number)

    # futures

    def settled(self, number: int, value: int, now: float) -> None:
        """Note that a future has got its value."""
        task = self.tasks[number]
        if value != number:
            raise Violation(f"the future of task {number} is settled by the value {value}")
        if task.place != _OUTCOME:
            raise Violation(f"the future of task {number} is settled, and its task is at {task.place}")
        self._end(number, "settled", now)

    def cancelling(self, number: int) -> None:
        """Note that a task may be dropped where it waits."""
        self.tasks[number].may_be_dropped = True

    def cancelled(self, number: int, now: float) -> None:
        """Note that a future is cancelled: its task must not run any more."""
        task = self.tasks[number]
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
            self._close(number)
        if not task.end:
            self._end(number, "abandoned", now)

    def is_dropped(self, number: int) -> bool:
        """Return whether a task was dropped where it waited."""
        return self.tasks[number].place == _DROPPED

    # what is asked at intervals

    def is_finished(self) -> bool:
        """Return whether all tasks that were submitted have been executed, or dropped, and their futures know."""
        return not self._open and all(task.end for task in self.tasks.values())

    def unfinished(self) -> str:
        """Say which tasks are not finished, and where they are."""
        left = [f"{n} ({task.place})" for n, task in self.tasks.items() if not task.end or n in self._open]
        return ", ".join(left[:10]) + (f" and {len(left) - 10} more" if len(left) > 10 else "")

    def waiting(self) -> list[tuple[int, float, str]]:
        """Return the tasks that have not begun: number, since when, and where."""
        return [
            (number, self.tasks[number].waits_since, self.tasks[number].place)
            for number in sorted(self._open)
            if not self.tasks[number].begun
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
        if self.tasks[number].place != place:
            raise Violation(f"task {number} {what}, and was thought to be at {self.tasks[number].place}")

    def _place(self, number: int, place: str, now: float) -> None:
        task = self.tasks[number]
        self._at.get(task.place, set()).discard(number)
        task.place, task.since = place, now
        self._at.setdefault(place, set()).add(number)
        self.changed = now

    def _close(self, number: int) -> None:
        self._open.discard(number)

    def _end(self, number: int, how: str, now: float) -> None:
        task = self.tasks[number]
        if task.end:
            raise Violation(f"the future of task {number} is {how}, and was {task.end}")
        task.end = how
        self.changed = now
