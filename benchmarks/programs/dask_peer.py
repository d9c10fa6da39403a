"""dask.distributed, with a local cluster of processes; its scheduler is in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from distributed import Client
from peer import Peer
from workloads import main


class Dask(Peer):
    """A client; tasks are not pure, or equal ones would be run once."""

    def __init__(self, workers: int, uneven: bool = False, large: bool = False) -> None:
        super().__init__(workers, uneven, large)
        self.client = Client(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None)

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.client.submit(function, *args, pure=False)

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return list(self.client.gather(self.client.map(function, items, pure=False)))

    def gather(self, handles: Sequence[Any]) -> list[Any]:
        return list(self.client.gather(handles))

    def close(self) -> None:
        self.client.shutdown()


if __name__ == "__main__":
    main(Dask)
