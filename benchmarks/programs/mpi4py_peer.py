"""mpi4py.futures, with its workers started by mpiexec."""

from __future__ import annotations

from mpi4py.futures import MPIPoolExecutor
from peer import ExecutorPeer
from workloads import main


class Mpi4py(ExecutorPeer):
    """An executor over MPI."""

    def __init__(self, workers: int, uneven: bool = False, large: bool = False) -> None:
        super().__init__(workers, uneven, large)
        self.executor = MPIPoolExecutor(workers)


if __name__ == "__main__":
    main(Mpi4py)
