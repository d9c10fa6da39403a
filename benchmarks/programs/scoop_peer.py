"""The original SCOOP: the program is one of the workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from functions import Verbs
from peer import Peer
from scoop import futures
from workloads import main


class Scoop(Peer):
    """Futures of the run that this program is started in."""

    verbs = Verbs("scoop.futures")

    def __init__(self, workers: int, uneven: bool = False, large: bool = False) -> None:
        super().__init__(workers, uneven, large)
        self.others = workers - 1

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return futures.submit(function, *args)

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return list(futures.map(function, items))

    def map_reduce(self, function: Callable[..., Any], reduction: Callable[..., Any], items: Sequence[Any]) -> Any:
        return futures.mapReduce(function, reduction, items)


if __name__ == "__main__":
    main(Scoop)
