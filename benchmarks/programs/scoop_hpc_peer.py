"""scoop_hpc: the program runs in a process beside the workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from functions import Verbs
from peer import Peer
from workloads import main

from scoop_hpc import futures


class ScoopHpc(Peer):
    """Futures of the run that this program is started in."""

    verbs = Verbs("scoop_hpc.futures")

    def __init__(self, workers: int, uneven: bool = False, large: bool = False) -> None:
        super().__init__(workers, uneven, large)
        self.others = workers if workers > 1 else 0  # the program is a process beside them, unless there is but one

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return futures.submit(function, *args)

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return list(futures.map(function, items))

    def result_from_elsewhere(self, handle: Any) -> Any:
        return handle.result(timeout=60)  # a program that waits with a time-out leaves tasks to the other workers

    def map_reduce(self, function: Callable[..., Any], reduction: Callable[..., Any], items: Sequence[Any]) -> Any:
        return futures.map_reduce(function, reduction, items)

    def let_start(self, handles: Sequence[Any]) -> None:
        futures.wait(handles, timeout=0.01)

    def broker(self) -> int:
        agent = os.getppid()
        for pid in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
            if Path(f"/proc/{pid}/comm").read_text() == "scoop-broker\n":
                return int(pid)
        raise SystemExit("no broker beside this process")


if __name__ == "__main__":
    main(ScoopHpc)
