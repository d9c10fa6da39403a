"""scoop_hpc.Executor in a program that nobody started by scoop-hpc run: it starts a pool of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from peer import ExecutorPeer
from processes import below, broker_among
from workloads import main

from scoop_hpc import Executor


class ScoopHpcExecutor(ExecutorPeer):
    """The Executor, which finds a map's chunks itself."""

    def __init__(self, workers: int, uneven: bool = False, large: bool = False) -> None:
        super().__init__(workers, uneven, large)
        self.executor = Executor(workers)

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return list(self.executor.map(function, items))

    def broker(self) -> int:
        return broker_among(below(self.root()))


if __name__ == "__main__":
    main(ScoopHpcExecutor)
