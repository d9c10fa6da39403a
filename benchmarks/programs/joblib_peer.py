"""joblib.Parallel, which finds its batches itself; it has no submit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from joblib import Parallel, delayed
from peer import Peer
from workloads import main


class Joblib(Peer):
    """One Parallel, kept open between the calls."""

    def __init__(self, workers: int, uneven: bool = False, large: bool = False) -> None:
        super().__init__(workers, uneven, large)
        self.parallel = Parallel(n_jobs=workers)
        self.parallel.__enter__()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.parallel([delayed(function)(*args)])[
            0
        ]  # done when this returns; for a first result, and warming up

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return list(self.parallel(delayed(function)(item) for item in items))

    def result(self, handle: Any) -> Any:
        return handle

    def close(self) -> None:
        self.parallel.__exit__(None, None, None)


if __name__ == "__main__":
    main(Joblib)
