"""The look of a run at one time, as its driver writes it for whoever watches, and leaves it at the end.

The schema of the JSON is documented in ``docs/watching.rst``. Times are seconds since the epoch on the driver's clock.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from scoop_hpc.errors import ScoopError

VERSION = 1  # raised when a field changes its meaning, not when one is added


class Totals(Struct, frozen=True):
    """Counts of the whole run."""

    done: int = 0  # tasks; a chunk of a map is one
    running: int = 0
    queued: int = 0
    failed: int = 0  # calls that have raised, items of maps one by one
    repeated: int = 0  # tasks, since a worker or node was lost
    stolen: int = 0  # tasks, by nodes from other nodes
    rate_per_s: float = 0.0  # tasks done, of late
    busy_workers: int = 0
    workers: int = 0  # without the origin
    nodes: int = 0


class Gpu(Struct, frozen=True):
    """A GPU of a node."""

    name: str
    percent: float  # of the time that it computes
    memory_bytes: int
    memory_limit_bytes: int


class Node(Struct, frozen=True):
    """A node of the run."""

    name: str
    broker: int  # its index, which is the name of its broker
    state: Literal["late", "alive", "lost", "left"]  # late: it has not reported yet; left: with nothing to do
    workers: int = 0
    queued: int = 0  # tasks, in its broker
    steals_in: int = 0  # tasks
    steals_out: int = 0
    done: int = 0
    cpu_percent: float = 0.0  # of one CPU: all workers together
    memory_bytes: int = 0
    memory_limit_bytes: int | None = None
    gpus: tuple[Gpu, ...] = ()
    cause: str = ""  # of its loss


class Worker(Struct, frozen=True):
    """A worker; the origin, which runs the program, is ``0.0``."""

    name: str
    node: str
    pid: int
    state: Literal["starting", "idle", "busy", "waiting", "dead", "ended"]
    task: str | None = None  # the function that it executes, or has executed last
    since_s: float = 0.0
    done: int = 0
    cpu_percent: float | None = None
    memory_bytes: int = 0


class Wait(Struct, frozen=True):
    """What the program waits for under one label."""

    label: str
    total: int | None
    done: int
    failed: int
    rate_per_s: float
    left_s: float | None


class Function(Struct, frozen=True):
    """What the calls of one function have taken."""

    name: str
    count: int
    failed: int
    mean_s: float
    p99_s: float
    total_s: float


class Failure(Struct, frozen=True):
    """A task that has failed."""

    function: str
    position: int | None
    node: str
    worker: str
    attempt: int
    error: str
    time: float


class Snapshot(Struct, frozen=True):
    """One look at a run."""

    version: int
    run: str  # what tells it from all others
    job: str | None
    program: str
    host: str  # where the driver runs
    pid: int  # the driver's
    driver: str  # what tells the driver's process from all others: see `proc.identity`
    time: float
    started: float
    elapsed_s: float
    walltime_left_s: float | None
    state: Literal["starting", "running", "ended"]
    status: int | None = None  # the exit status
    reason: str = ""  # of the end, if that is not the program's own
    totals: Totals = Totals()
    waits: tuple[Wait, ...] = ()
    nodes: tuple[Node, ...] = ()
    workers: tuple[Worker, ...] = ()
    functions: tuple[Function, ...] = ()
    failures: tuple[Failure, ...] = ()


def over(seen: Snapshot, status: int | None, reason: str) -> Snapshot:
    """Return the last look *seen* at a run that is over: nothing runs or waits now; a worker's task is its last."""
    return replace(
        seen,
        state="ended",
        status=status,
        reason=reason,
        totals=replace(seen.totals, running=0, queued=0, busy_workers=0),
        waits=tuple(replace(wait, left_s=None) for wait in seen.waits),
        nodes=tuple(replace(node, queued=0, cpu_percent=0.0, gpus=()) for node in seen.nodes),
        workers=tuple(
            worker if worker.state == "dead" else replace(worker, state="ended", cpu_percent=None)
            for worker in seen.workers
        ),
    )


def to_json(snapshot: Snapshot) -> bytes:
    """Return the JSON of *snapshot*."""
    return msgspec.json.encode(snapshot)


def from_json(text: bytes) -> Snapshot:
    """Return the snapshot whose JSON this is; raise ScoopError for anything else."""
    try:
        snapshot = msgspec.json.decode(text, type=Snapshot)
    except msgspec.DecodeError as error:
        raise ScoopError(f"cannot understand the look of a run: {error}") from error
    if snapshot.version != VERSION:
        raise ScoopError(
            f"the look of a run is of version {snapshot.version}, not {VERSION}: use the run's own scoop-hpc"
        )
    return snapshot
