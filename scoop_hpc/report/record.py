"""The record of what a run has done: totals, nodes, workers, functions, and its failed tasks, in a file of JSON."""

from __future__ import annotations

import contextlib
import os
from typing import Literal

import msgspec
from msgspec import Struct

from scoop_hpc.errors import InputError
from scoop_hpc.files.reading import read_file
from scoop_hpc.protocol.histogram import Bins, quantile
from scoop_hpc.protocol.messages import FailedTask, FunctionAccount
from scoop_hpc.protocol.names import ORIGIN

VERSION = 1
FILE = "report.json"  # in the job's directory; report-3.json of an array's third
MOST_FAILURES = 1000  # that are described
_MOST = 1 << 28  # bytes of such a file


class Totals(Struct, frozen=True):
    """What all workers have done together."""

    done: int  # tasks that have ended, the failed among them
    failed: int
    repeated: int  # calls after an exception, and tasks that had begun when their workers died
    workers: int  # as the run began
    nodes: int


class NodeRecord(Struct, frozen=True):
    """A node. Memory is that of its processes at their most."""

    name: str
    broker: int
    state: Literal["alive", "lost"]
    workers: int
    cause: str = ""  # of its loss
    memory_bytes: int = 0  # 0: nobody has looked
    memory_limit_bytes: int = 0  # 0: nobody says so
    is_complete: bool = True  # else its last accounts are missing: what was done there since is not counted


class WorkerRecord(Struct, frozen=True):
    """The time of a worker, in seconds; points in time since the beginning of the run."""

    name: str
    node: str
    own_s: float  # in the functions of tasks
    busy_s: float  # with tasks, and with what it takes to unpack and pack them
    began_s: float | None = None  # its first task; None: it had none
    ended_s: float | None = None  # its last


class FunctionRecord(Struct, frozen=True):
    """The calls of one function, in seconds of its own: without waits for other tasks."""

    name: str
    count: int
    failed: int
    repeated: int
    mean_s: float
    p50_s: float  # as the next one, known to within a factor of 1.4: see `histogram`
    p99_s: float
    longest_s: float
    total_s: float
    durations: Bins = ()


class FailureRecord(Struct, frozen=True):
    """A failed task."""

    function: str
    position: int | None  # among the items of its map, from 1 on; None: it was submitted by itself
    arguments: str
    error: str
    traceback: str
    node: str
    worker: str
    attempt: int
    time: float  # seconds since the epoch


class RunRecord(Struct, frozen=True):
    """A run, as far as it has come."""

    version: int
    run: str  # what it is known by, unlike any other
    job: str | None
    program: str
    state: str  # as a job's
    status: int | None  # of the exit
    reason: str  # of the end, if that was not the program's own
    started: float  # seconds since the epoch
    elapsed_s: float
    totals: Totals
    nodes: tuple[NodeRecord, ...] = ()
    workers: tuple[WorkerRecord, ...] = ()
    functions: tuple[FunctionRecord, ...] = ()
    failures: tuple[FailureRecord, ...] = ()
    failures_left_out: int = 0  # failed tasks beside these, which are only counted
    lost_workers: tuple[str, ...] = ()  # what became of them, in a line for each
    is_final: bool = True  # else the run went on as this was written, and its nodes' accounts differ in age

    @property
    def is_whole(self) -> bool:
        """Whether the program came to its own end, so that it had all the outcomes that it wanted."""
        return self.is_final and not self.reason

    def takers(self) -> list[WorkerRecord]:
        """Return the workers that are there for tasks: the origin is only where it is alone."""
        return [worker for worker in self.workers if worker.name != ORIGIN] or list(self.workers)


def function_record(account: FunctionAccount) -> FunctionRecord:
    """Return what is known of a function's calls."""
    return FunctionRecord(
        account.name,
        account.count,
        account.failed,
        account.repeated,
        account.total / account.count if account.count else 0.0,
        min(quantile(account.durations, 0.5), account.longest),
        min(quantile(account.durations, 0.99), account.longest),
        account.longest,
        account.total,
        account.durations,
    )


def failure_record(failed: FailedTask, node: str) -> FailureRecord:
    """Return what is known of a task that failed on *node*."""
    return FailureRecord(
        failed.function,
        failed.position,
        failed.arguments,
        failed.error,
        failed.traceback,
        node,
        failed.worker,
        failed.attempt,
        failed.time,
    )


def write(path: str, record: RunRecord) -> None:
    """Put *record* into the file *path*, whole or not at all; raise OSError."""
    new = f"{path}.{os.uname().nodename}.{os.getpid()}"
    try:
        with open(new, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


def read(path: str) -> RunRecord | None:
    """Return the record in the file *path*, None if there is no such file; raise InputError if it is none."""
    content = read_file(path, "the report", most=_MOST)
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=RunRecord)
    except msgspec.MsgspecError as error:
        raise InputError(f"{path!r} is no report of a run: {error}") from error
