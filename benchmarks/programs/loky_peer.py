"""loky: joblib's executor, by itself."""

from __future__ import annotations

from loky import get_reusable_executor
from peer import ExecutorPeer
from workloads import main


class Loky(ExecutorPeer):
    """The reusable executor."""

    def __init__(self, workers: int, uneven: bool = False, large: bool = False) -> None:
        super().__init__(workers, uneven, large)
        self.executor = get_reusable_executor(max_workers=workers)


if __name__ == "__main__":
    main(Loky)
