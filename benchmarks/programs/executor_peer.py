"""scoop_hpc.Executor in a program that nobody started by scoop-hpc run: it starts a pool of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psutil
from peer import ExecutorPeer
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
        for process in psutil.Process().children(recursive=True):
            if process.name() == "scoop-broker":
                return process.pid
        raise SystemExit("no broker below this process")


if __name__ == "__main__":
    main(ScoopHpcExecutor)
