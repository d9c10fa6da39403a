"""Ranks of one node wait for each other before MPI_Init, asleep: in it, MPICH's and Intel's use a core each.

Who has PMI_FD has a socket that its node's proxy, or slurmstepd, has made for it: the kernel tells who that is, and so
all ranks of the node find each other. The first one listens, the others connect, and are let in when all are there::

    local rank 0   listens at \\0scoop-hpc-UID-PROXY   <---connect---   local ranks 1, 2, ...
                   closes all connections: all are there, MPI_Init

Who waits too long is ended by its watcher (`scoop_hpc.mpi.watch`), here as in MPI_Init. Ranks of other nodes are waited
for in MPI_Init, where that uses no core.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Mapping

from msgspec import Struct

from scoop_hpc.errors import HostlistError
from scoop_hpc.hostlist import expand_counts

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: ucred of unix(7)
_SHORTEST, _LONGEST = 0.005, 0.1  # seconds between two tries


class Gate(Struct, frozen=True):
    """Where the *size* ranks of a node meet; this one is *rank* of them."""

    rank: int
    size: int
    address: bytes


def read_gate(environ: Mapping[str, str], maker: int, user: int) -> Gate | None:
    """Return the gate of this rank, None if there is nobody to wait for or no telling who.

    *maker* is the process that made the socket of PMI_FD, 0 if it is not known.

    >>> read_gate({"MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "4"}, 77, 1000)
    Gate(rank=1, size=4, address=b'\\x00scoop-hpc-1000-77')
    >>> read_gate({"SLURM_LOCALID": "0", "SLURM_NODEID": "2", "SLURM_STEP_TASKS_PER_NODE": "4(x2),3"}, 77, 1000).size
    3
    """
    if "MPI_LOCALNRANKS" in environ:  # Hydra
        rank, size = environ.get("MPI_LOCALRANKID", ""), environ["MPI_LOCALNRANKS"]
    else:  # srun(1), OUTPUT ENVIRONMENT VARIABLES
        rank = environ.get("SLURM_LOCALID", "")
        size = _tasks_of(environ.get("SLURM_STEP_TASKS_PER_NODE", ""), environ.get("SLURM_NODEID", ""))
    if not (maker > 0 and rank.isdecimal() and size.isdecimal() and int(rank) < int(size) > 1):
        return None
    return Gate(int(rank), int(size), b"\0scoop-hpc-%d-%d" % (user, maker))


def _tasks_of(counts: str, node: str) -> str:
    """Return the number of tasks of the *node* of that index; "" if it is not to be had."""
    try:
        return str(expand_counts(counts)[int(node)])
    except (HostlistError, IndexError, ValueError):
        return ""


def maker_of_way(environ: Mapping[str, str]) -> int:
    """Return the process that made the socket of PMI_FD, 0 if there is none, or it is in another container."""
    text = environ.get("PMI_FD", "")
    if not text.isdecimal():
        return 0
    try:
        with socket.socket(fileno=os.dup(int(text))) as way:
            return _peer(way)[0] if way.family == socket.AF_UNIX else 0
    except OSError:
        return 0


def wait_at(gate: Gate) -> None:
    """Wait until all ranks of the node are there. Where that cannot be seen to, MPI_Init does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        if gate.rank == 0:
            with contextlib.suppress(OSError):
                door.bind(gate.address)
                door.listen(gate.size)
                _receive_all(door, gate.size - 1)
        else:
            with contextlib.suppress(OSError):
                _connect(door, gate.address)
                if _peer(door)[1] == os.getuid():
                    door.recv(1)


def _receive_all(door: socket.socket, count: int) -> None:
    with contextlib.ExitStack() as there:
        while count:
            visitor = there.enter_context(door.accept()[0])
            count -= _peer(visitor)[1] == os.getuid()


def _connect(door: socket.socket, address: bytes) -> None:
    pause = _SHORTEST
    while True:
        try:
            door.connect(address)
            return
        except ConnectionRefusedError:  # nobody listens yet
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)


def _peer(connected: socket.socket) -> tuple[int, int]:
    """Return pid and user of the process at the other end."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        raise OSError("only Linux tells who is at the other end")
    pid, user, _ = _CREDENTIALS.unpack(connected.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size))
    return pid, user
