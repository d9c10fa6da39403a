"""What a workload asks of a peer, and the peers that have the standard library's Executor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
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


def memory(pids: Iterable[int], fields: tuple[str, ...]) -> int:
    """Return the bytes that *fields* of the processes' smaps_rollup add up to [proc_pid_smaps(5)]."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(fields))


def own_and(broker: int | None) -> list[int]:
    """Return the processes that hold what is queued."""
    return [os.getpid()] if broker is None else [os.getpid(), broker]
