"""A plain loop in one process: no pool at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from peer import Peer
from workloads import main


class Serial(Peer):
    """Runs each task at its submission; one worker, whatever the others have."""

    def __init__(self, workers: int, uneven: bool = False, large: bool = False) -> None:
        super().__init__(1, uneven, large)
        self.verbs = self  # what a task calls that maps

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return [function(item) for item in items]

    def result(self, handle: Any) -> Any:
        return handle


if __name__ == "__main__":
    main(Serial)
