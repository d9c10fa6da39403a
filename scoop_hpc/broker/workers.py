"""The workers of a broker's node, as the broker knows them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from scoop_hpc.broker.ledger import Ledger
from scoop_hpc.protocol.messages import Batch, Cancel, CancelAnswer, Demand, Query, QueryAnswer
from scoop_hpc.protocol.names import WorkerName

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


def _has_doubled(count: int, told: int) -> bool:
    """Return whether a *count* is so much more than what was *told* that it is to be told again.

    >>> _has_doubled(1, 0), _has_doubled(2, 1), _has_doubled(3, 2), _has_doubled(0, 0)
    (True, True, False, False)
    """
    return count > told and count >= 2 * told
