"""The tasks of others that a worker was given and has not begun: batches, and the tasks of those that it opened."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from scoop_hpc.errors import UnpicklableError
from scoop_hpc.pickling import batching, main_received
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.protocol.messages import Batch, Cancel, Query
from scoop_hpc.protocol.names import WorkerName
from scoop_hpc.worker.durations import Cost


class Task:
    """A task of another worker: its arguments are unpacked when it begins, in the *environment* that it came with."""

    __slots__ = ("cost", "environment", "function", "item", "owner", "serial")

    count = 1
    dropped: tuple[int, ...] = ()

    def __init__(self, owner: WorkerName, serial: int, function: Callable[..., Any], item: Any, cost: Cost) -> None:
        self.owner = owner
        self.serial = serial
        self.function = function
        self.item = item
        self.cost = cost
        self.environment = main_received.names.given

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments, for the last time; raises whatever unpickling raises."""
        if self.environment is not main_received.names.given:
            main_received.enter_again(self.environment)
        return batching.unpack_item(self.item)


Given = Batch | Task


class Inbox:
    """A queue of batches and tasks, oldest first. Whoever changes it holds the worker's lock."""

    def __init__(self) -> None:
        self._given: deque[Given] = deque()
        self.received = 0  # tasks, so far

    def __len__(self) -> int:
        return len(self._given)

    def extend(self, batches: Iterable[Batch]) -> None:
        """Take in *batches*."""
        for batch in batches:
            self._given.append(batch)
            self.received += _tasks_in(batch)

    def pop(self) -> Given:
        """Take the oldest."""
        return self._given.popleft()

    def open(self, batch: Batch, tasks: Iterable[Task]) -> None:
        """Put the *tasks* of a batch where that was."""
        self._given.extendleft(reversed([task for task in tasks if task.serial not in batch.dropped]))

    def begun(self) -> int:
        """Return how many tasks of all that were received are not here any more."""
        return self.received - sum(map(_tasks_in, self._given))

    def empty(self, refuse: Callable[[Task, Outcome], None]) -> list[Batch]:
        """Return all as batches, and keep nothing; a task that cannot be pickled again is refused."""
        batches = []
        for given in self._given:
            try:
                batches.append(given if isinstance(given, Batch) else _packed(given))
            except UnpicklableError as error:
                assert isinstance(given, Task)
                refuse(given, Outcome(error=error))
        self._given.clear()
        return batches

    def find(self, find: Query | Cancel) -> bool:
        """Return whether the task is here; drop it if that is asked for."""
        for index, given in enumerate(self._given):
            inside = given.serial <= find.serial < given.serial + given.count and find.serial not in given.dropped
            if given.owner == find.owner and inside:
                if isinstance(find, Cancel):
                    self._drop(index, find.serial)
                return True
        return False

    def _drop(self, index: int, serial: int) -> None:
        given = self._given[index]
        if isinstance(given, Batch) and _tasks_in(given) > 1:
            self._given[index] = Batch(given.owner, given.serial, given.frames, given.count, (*given.dropped, serial))
        else:
            del self._given[index]


def opened(batch: Batch, cost_of: Callable[[Any], Cost]) -> list[Task]:
    """Return the tasks in *batch*; raises whatever unpickling raises."""
    function, items = batching.load_calls(batch.frames)
    cost = cost_of(function)
    return [Task(batch.owner, serial, function, item, cost) for serial, item in enumerate(items, batch.serial)]


def _packed(task: Task) -> Batch:
    return Batch(task.owner, task.serial, batching.dump_again(task.function, task.item, task.environment))


def _tasks_in(given: Given) -> int:
    return given.count - len(given.dropped)
