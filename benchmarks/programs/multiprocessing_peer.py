"""multiprocessing.Pool."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

from peer import Peer
from workloads import main


class Multiprocessing(Peer):
    """The standard library's older pool."""

    def __init__(self, workers: int, uneven: bool = False, large: bool = False) -> None:
        super().__init__(workers, uneven, large)
        self.pool = multiprocessing.Pool(workers)

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.pool.apply_async(function, args)

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return self.pool.map(function, items, chunksize=1 if self.uneven else None)

    def result(self, handle: Any) -> Any:
        return handle.get()

    def close(self) -> None:
        self.pool.terminate()


if __name__ == "__main__":
    main(Multiprocessing)
