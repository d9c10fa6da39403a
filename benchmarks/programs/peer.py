"""What a workload asks of a peer, and the peers that have the standard library's Executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from site_peer import Peer as Peer


class ExecutorPeer(Peer):
    """A peer with an Executor."""

    executor: Executor

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.executor.submit(function, *args)

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        return list(self.executor.map(function, items, chunksize=self.chunk(items)))

    def close(self) -> None:
        self.executor.shutdown()
