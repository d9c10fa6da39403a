"""The program of `scoop-hpc bench`: it measures the run that it is in, and prints what it has found as a line of JSON.

::

    node of the program: origin, workers         other nodes: workers

    1. when the first result was there
    2. rates, and what goes to any other process
    3. what goes to another node: all workers of this one are held meanwhile
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import site_functions as functions
import site_workloads as workloads
from site_peer import Peer, Run

from scoop_hpc.bench import found
from scoop_hpc.bench.found import Measured, SiteFigures
from scoop_hpc.bench.rows import ROWS, SiteRow
from scoop_hpc.worker import info

_PATIENCE = 60.0  # seconds until all workers have had a task
_TURN = 0.05  # seconds that a task takes at least, so that other workers get some
_ELSEWHERE = {"one_elsewhere", "echo_arrays"}  # in another process than the program
_WORKLOADS: dict[str, Callable[..., dict[str, Any]]] = {
    each.__name__: each
    for each in (
        workloads.map_nothing,
        workloads.submit_nothing,
        workloads.one_elsewhere,
        workloads.echo_arrays,
    )
}


def place() -> str:
    """Return what tells the nodes of this run apart, played ones of the same machine as well: host and agent."""
    return f"{socket.gethostname()} {os.getppid()}"


def take_turn(_: int) -> tuple[str, int]:
    """Say in which place, and in which process, this task has run."""
    time.sleep(_TURN)
    return place(), os.getpid()


def hold_in(where: str, directory: str) -> bool:
    """Keep a worker of the place *where* occupied, see `functions.hold`; return whether this is one."""
    if place() != where:
        return False
    functions.hold(directory)
    return True


def all_workers(peer: Peer) -> set[tuple[str, int]]:
    """Return the place and the process of each worker, of as many as have had a task in time."""
    seen: set[tuple[str, int]] = set()
    deadline = time.monotonic() + _PATIENCE
    while len(seen) < peer.others and time.monotonic() < deadline:
        handles = [peer.submit(take_turn, number) for number in range(4 * peer.workers)]
        seen.update(peer.result_from_elsewhere(handle) for handle in handles)
        seen.discard((place(), os.getpid()))
    return seen


@contextlib.contextmanager
def held(peer: Peer, count: int) -> Iterator[None]:
    """Keep the *count* workers of this node occupied meanwhile."""
    directory = tempfile.mkdtemp()
    handles: list[Any] = []
    try:
        deadline = time.monotonic() + _PATIENCE
        while len(list(Path(directory).glob("held-*"))) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all {count} workers of the first node could be held")
            handles = [each for each in handles if not each.done()] or [
                peer.submit(hold_in, place(), directory) for _ in range(count)
            ]
            peer.let_start(handles)
        yield
    finally:
        Path(directory, "release").touch()
        for handle in handles:
            peer.result_from_elsewhere(handle)
        shutil.rmtree(directory)


def measure(peer: Peer, row: SiteRow, repeat: int, quick: bool) -> Measured:
    """Return what *row* is worth here, or why it has no figure."""
    if row.workload in _ELSEWHERE and not peer.others:
        return Measured(row.name, failure="one worker alone runs all tasks itself: give --workers-per-node 2")
    parameters = {**row.parameters, **(row.quick if quick else {})}
    values = []
    try:
        for _ in range(repeat):
            report = {**parameters, **_WORKLOADS[row.workload](peer, **parameters)}
            values.append(row.figure(report))
    except (AssertionError, ImportError, OSError) as error:  # a worker took what another should have; no numpy
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        return Measured(row.name, failure=f"{kind}{error}")
    return Measured(row.name, tuple(values))


def main() -> None:
    """Measure, and print."""
    repeat, quick = int(sys.argv[1]), sys.argv[2] == "quick"
    peer = Run(info().size)
    first = workloads.first(peer)["first"]
    seen = all_workers(peer)
    here = sum(where == place() for where, _ in seen)
    nodes = len({where for where, _ in seen})
    figures = [measure(peer, row, repeat, quick) for row in ROWS if not row.between_nodes]
    if nodes > 1:
        with held(peer, here):
            figures += [measure(peer, row, repeat, quick) for row in ROWS if row.between_nodes]
    print(found.write(SiteFigures(max(nodes, 1), peer.workers, first, tuple(figures))), flush=True)


if __name__ == "__main__":
    main()
