"""concurrent.futures.ProcessPoolExecutor."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

from peer import ExecutorPeer
from workloads import main


class ConcurrentFutures(ExecutorPeer):
    """The standard library's executor."""

    def __init__(self, workers: int, uneven: bool = False, large: bool = False) -> None:
        super().__init__(workers, uneven, large)
        self.executor = ProcessPoolExecutor(workers)


if __name__ == "__main__":
    main(ConcurrentFutures)
