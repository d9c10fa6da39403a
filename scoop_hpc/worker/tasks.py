"""Tasks of other workers: as they come, in batches, and one by one, once their batch was opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from scoop_hpc.pickling import batching, main_received
from scoop_hpc.protocol.messages import Batch
from scoop_hpc.worker.durations import Cost


class Task:
    """A task of another worker: its arguments are unpacked when it begins, in the *environment* that it came with."""

    __slots__ = ("cost", "environment", "function", "item", "losses", "owner", "position", "serial", "terms")

    count = 1
    dropped: tuple[int, ...] = ()

    def __init__(self, batch: Batch, serial: int, function: Callable[..., Any], item: Any, cost: Cost) -> None:
        self.owner = batch.owner
        self.serial = serial
        self.position = batch.positions[serial - batch.serial] if batch.positions else 0
        self.terms = batch.terms
        self.losses = batch.losses
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


def opened(batch: Batch, cost_of: Callable[[Any], Cost]) -> list[Task]:
    """Return the tasks in *batch*; raises whatever unpickling raises."""
    function, items = batching.load_calls(batch.frames)
    cost = cost_of(function)
    return [Task(batch, serial, function, item, cost) for serial, item in enumerate(items, batch.serial)]


def packed_again(task: Task) -> Batch:
    """Return an opened task as a batch of its own; raise UnpicklableError."""
    frames = batching.dump_again(task.function, task.item, task.environment)
    positions = (task.position,) if task.position else ()
    return Batch(task.owner, task.serial, frames, terms=task.terms, losses=task.losses, positions=positions)


def tasks_in(given: Given) -> int:
    """Return how many tasks are left in *given*."""
    return given.count - len(given.dropped)


def positions_of(given: Given) -> Sequence[int]:
    """Return the position of each task in *given* in its map, dropped ones as well; 0: it is in none."""
    if isinstance(given, Task):
        return (given.position,)
    return given.positions or (0,) * given.count
