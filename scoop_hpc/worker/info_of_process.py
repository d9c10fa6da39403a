"""The place and the share of this process's worker, for programs. It imports nothing of the worker's machinery."""

from __future__ import annotations

import os
import socket

from msgspec import Struct

from scoop_hpc.cpus import cpu_numbers
from scoop_hpc.files.kernel import read_text
from scoop_hpc.shares.gpus import find_gpus
from scoop_hpc.shares.share import LOCAL_RANK, NODE, RANK, SIZE, WORKER


class WorkerInfo(Struct, frozen=True):
    """A worker: where it is, and what it has there."""

    name: str  # no other process of the run ever has it: "3.1", or "0.0" for the one that runs the program
    node: str  # as the scheduler calls it
    rank: int  # among all workers, from 0 on
    local_rank: int  # among the workers of its node, from 0 on
    size: int  # workers of all nodes
    cpus: tuple[int, ...]  # that this process may run on, as the operating system numbers them
    gpus: tuple[str, ...]  # that it sees, as the variable of their vendor names them


def info() -> WorkerInfo:
    """Return what this process is in its run; processes that a task starts are told the same.

    The process that runs the program has the ranks of the first worker, beside that one. Outside of a run there is one
    worker, this process.
    """
    environ = os.environ
    gpus = find_gpus(environ, os.listdir, read_text)
    return WorkerInfo(
        name=environ.get(WORKER, "0.0"),
        node=environ.get(NODE) or socket.gethostname(),
        rank=int(environ.get(RANK, "0")),
        local_rank=int(environ.get(LOCAL_RANK, "0")),
        size=int(environ.get(SIZE, "1")),
        cpus=cpu_numbers(),
        gpus=() if gpus is None else gpus.devices,
    )
