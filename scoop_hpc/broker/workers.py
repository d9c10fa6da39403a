"""The workers of a broker's node, as the broker knows them."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Collection, Sequence

from scoop_hpc.broker.ledger import Ledger
from scoop_hpc.protocol.messages import Batch, Cancel, CancelAnswer, Demand, Query, QueryAnswer
from scoop_hpc.protocol.names import WorkerName

_FEW = 16  # workers, up to which each is looked at
Question = Query | Cancel
Answer = QueryAnswer | CancelAnswer


class Worker:
    """One worker: the demand that it was told of, and the batches that it has and may not have begun, oldest first."""

    __slots__ = ("_asked", "_begun", "_given", "_told", "_told_idle", "ledger")

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._told = 0  # batches that it knows to be welcome
        self._told_idle = 0  # of these for workers that are idle
        self._given: deque[Batch] = deque()  # the batches that it may not have begun
        self._begun = 0  # tasks given before those
        self._asked: list[Question] = []  # about what it was given

    def demand(self, batches: int, idle: int) -> Demand | None:
        """Return how much more to ask of it where so many *batches* are welcome, *idle* of them for idle workers.

        It is told once that has doubled: where many fall idle, one after the other, most workers have nothing for them.
        """
        if not (_has_doubled(batches, self._told) or _has_doubled(idle, self._told_idle)):
            return None
        more = Demand(max(0, batches - self._told), max(0, idle - self._told_idle))
        self._told, self._told_idle = max(batches, self._told), max(idle, self._told_idle)
        return more

    def next_demand(self) -> tuple[int, int]:
        """Return how many batches must be welcome, in all and for idle workers, until it is told again."""
        return 2 * self._told or 1, 2 * self._told_idle or 1

    def give(self, batches: Sequence[Batch], name: WorkerName) -> None:
        """Note that *batches* are sent to it, who has that *name*.

        Its own tasks are dropped when it dies, and it says nothing when it has done them: they are not in the ledger.
        """
        self._told_idle = 0  # for the worker takes tasks as a sign that nobody is idle
        self._given.extend(batches)
        self.ledger.add(batches, name)

    def took_back(self, batches: Sequence[Batch]) -> None:
        """Note that *batches* have come from it, its own or given back: they meet as much of the demand."""
        if self._told:
            self._told = max(0, self._told - len(batches))
            self._told_idle = max(0, self._told_idle - len(batches))
        if self.ledger:
            for batch in batches:
                self.ledger.strike_batch(batch)

    def has_begun(self, count: int) -> list[Question]:
        """Forget the batches among the first *count* tasks; return the questions that it will not answer any more."""
        while self._given and self._begun + self._given[0].tasks() <= count:
            self._begun += self._given.popleft().tasks()
        if not self._asked:
            return []
        settled = [question for question in self._asked if not self.may_hold(question)]
        for question in settled:
            self._asked.remove(question)
        return settled

    def may_hold(self, question: Question) -> bool:
        """Return whether the task in *question* was given to it, and may not have begun."""
        return any(batch.holds(question.owner, question.serial) for batch in self._given)

    def ask(self, question: Question) -> None:
        """Note that *question* is sent to it."""
        self._asked.append(question)

    def take_question(self, answer: Answer) -> Question | None:
        """Forget the question that *answer* is for, and return it; None if there is none."""
        question: Question
        if isinstance(answer, QueryAnswer):
            question = Query(answer.owner, answer.serial, answer.number)
        else:
            question = Cancel(answer.owner, answer.serial, answer.number)
        if question not in self._asked:
            return None
        self._asked.remove(question)
        return question

    def questions(self) -> list[Question]:
        """Return what it was asked and has not answered."""
        return self._asked

    def does_not_hold(self, question: Question) -> None:
        """Forget the batch with this task: it has begun, or was given back."""
        self._begun += sum(batch.tasks() for batch in self._given if batch.holds(question.owner, question.serial))
        self._given = deque(batch for batch in self._given if not batch.holds(question.owner, question.serial))


class Unaware:
    """The busy workers that may not know how much is welcome: those that have changed, and, if it has doubled, all.

    So a message that changes one worker of many has the broker look at that one. With 64 workers, to look at each as
    long as anybody is idle is a third of a task's time in the broker; with a few it costs less than to choose.
    """

    __slots__ = ("_changed", "_next", "_next_idle", "add")

    def __init__(self) -> None:
        self._changed: set[WorkerName] = set()
        self.add = self._changed.add  # for a worker that is new, has got or given back tasks, or does not wait any more
        self._next = self._next_idle = 1  # batches that must be welcome until any of the others is to be told

    def demands(
        self, workers: dict[WorkerName, Worker], waiting: Collection[WorkerName], batches: int, idle: int
    ) -> dict[WorkerName, Demand]:
        """Return what to ask of which *workers*, but those *waiting*; *idle* of so many *batches* are for the idle."""
        demands = {}
        if len(workers) <= _FEW:
            for name, worker in workers.items():
                more = None if name in waiting else worker.demand(batches, idle)
                if more is not None:
                    demands[name] = more
            return demands
        for name in self._to_look_at(workers, batches, idle):
            if name not in waiting:
                worker = workers[name]
                more = worker.demand(batches, idle)
                if more is not None:
                    demands[name] = more
                least, least_idle = worker.next_demand()
                self._next, self._next_idle = min(self._next, least), min(self._next_idle, least_idle)
        self._changed.clear()
        return demands

    def _to_look_at(self, workers: Collection[WorkerName], batches: int, idle: int) -> Collection[WorkerName]:
        """Return the names of those that may have to be told, in the order of *workers*."""
        if batches >= self._next or idle >= self._next_idle:
            self._next = self._next_idle = sys.maxsize
            return workers
        changed = self._changed
        if len(changed) > 1:
            return [name for name in workers if name in changed]
        return [name for name in changed if name in workers]


def _has_doubled(count: int, told: int) -> bool:
    """Return whether a *count* is so much more than what was *told* that it is to be told again.

    >>> _has_doubled(1, 0), _has_doubled(2, 1), _has_doubled(3, 2), _has_doubled(0, 0)
    (True, True, False, False)
    """
    return count > told and count >= 2 * told
