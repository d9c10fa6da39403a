"""A greenlet for each task in this one process: what tasks that make tasks cost where no runtime is below them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from greenlet import greenlet
from peer import Peer
from workloads import main


class Task:
    """A greenlet that begins when its result is asked for, by the one which made it."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._greenlet = greenlet(function)
        self._args = args
        self._result: Any = None

    def result(self) -> Any:
        if not self._greenlet.dead:
            self._result = self._greenlet.switch(*self._args)
        return self._result


class Greenlets(Peer):
    """One worker, whatever the others have; it is what its own tasks call."""

    def __init__(self, workers: int, uneven: bool = False, large: bool = False) -> None:
        super().__init__(1, uneven, large)
        self.verbs = self

    def submit(self, function: Callable[..., Any], *args: Any) -> Task:
        return Task(function, args)

    def map(self, function: Callable[..., Any], *items: Sequence[Any]) -> list[Any]:
        return self.gather([Task(function, args) for args in zip(*items)])

    def as_completed(self, tasks: Sequence[Task]) -> Sequence[Task]:
        return tasks


if __name__ == "__main__":
    main(Greenlets)
