"""The only module that imports mpi4py: messages between ranks, from MPI_Init to MPI_Finalize.

Collective operations and blocking receives spin a core in every MPI, and wait for ever. So ranks ask in intervals
whether something has come, sleep in between, and give up in time. Only MPI_Init and MPI_Finalize are waited for, which
a process beside this one watches (`scoop_hpc.mpi.watch`).
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Mapping

import mpi4py

mpi4py.rc(initialize=False, finalize=False, threads=False)

from mpi4py import MPI  # noqa: E402  its import would initialise it before that

from scoop_hpc.errors import LaunchError  # noqa: E402
from scoop_hpc.mpi.plan import named  # noqa: E402
from scoop_hpc.mpi.segments import remove_segments  # noqa: E402
from scoop_hpc.mpi.world import Library  # noqa: E402

_SHORTEST, _LONGEST = 0.001, 0.02  # seconds between two looks
_FACTS, _ORDER = 1, 2  # tags


def library() -> Library:
    """Return what mpi4py has loaded; it need not be initialised."""
    path, speaks_pmix = "", False
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            name = line.rstrip("\n").partition("/")[2]
            path = path or ("/" + name if re.search(r"/lib(mpi|mpich|mpi_cray)[^/]*\.so[^/]*$", "/" + name) else "")
            speaks_pmix = speaks_pmix or "/libpmix" in name
    return Library(MPI.Get_library_version(), path, speaks_pmix)


class Exchange:
    """This rank's way to the others. Initialises MPI; after `end` there is no MPI."""

    def __init__(self) -> None:
        MPI.Init()
        self._world = MPI.COMM_WORLD
        self.rank = self._world.Get_rank()
        self.size = self._world.Get_size()

    def gather(self, own: bytes, patience: float) -> list[bytes]:
        """Return what all ranks told: *own* of this one, the first; raise LaunchError that names who told nothing."""
        told = {self.rank: own}

        def all_are_there() -> bool:
            received = self._receive(MPI.ANY_SOURCE, _FACTS)
            while received is not None:
                told[received[0]] = received[1]
                received = self._receive(MPI.ANY_SOURCE, _FACTS)
            return bool(len(told) == self.size)

        if not _wait(all_are_there, patience):
            missing = [rank for rank in range(self.size) if rank not in told]
            raise LaunchError(f"no word within {patience:g} s from {named(missing)} of {self.size}")
        return [told[rank] for rank in range(self.size)]

    def tell(self, text: bytes, patience: float) -> None:
        """Tell the first rank *text*."""
        if not _wait(self._world.Isend([text, MPI.BYTE], 0, _FACTS).Test, patience):
            raise LaunchError(f"rank {self.rank} of {self.size}: rank 0 takes no message within {patience:g} s")

    def order(self, texts: Mapping[int, bytes], patience: float) -> None:
        """Tell each rank of *texts* its own."""
        sent = {rank: self._world.Isend([text, MPI.BYTE], rank, _ORDER) for rank, text in texts.items()}

        def all_have_it() -> bool:
            for rank in [rank for rank, request in sent.items() if request.Test()]:
                del sent[rank]
            return not sent

        if not _wait(all_have_it, patience):
            raise LaunchError(f"no message taken within {patience:g} s by {named(sent)} of {self.size}")

    def ordered(self, patience: float) -> bytes:
        """Return what the first rank tells this one."""
        found: list[bytes] = []

        def is_there() -> bool:
            received = self._receive(0, _ORDER)
            if received is not None:
                found.append(received[1])
            return bool(found)

        if not _wait(is_there, patience):
            raise LaunchError(f"rank {self.rank} of {self.size}: no order of rank 0 within {patience:g} s")
        return found[0]

    def end(self) -> None:
        """Finalise MPI, which waits for all ranks."""
        MPI.Finalize()

    def abort(self, status: int) -> None:
        """End all ranks by force: where one of them fails, the others would wait for it for ever."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        remove_segments(os.getpid())
        self._world.Abort(status)

    def _receive(self, source: int, tag: int) -> tuple[int, bytes] | None:
        status = MPI.Status()
        message = self._world.Improbe(source, tag, status)
        if message is None:
            return None
        text = bytearray(status.Get_count(MPI.BYTE))
        message.Recv([text, MPI.BYTE])
        return status.Get_source(), bytes(text)


def _wait(is_done: Callable[[], bool], patience: float) -> bool:
    """Return whether *is_done* within *patience* seconds, asking again and again, less and less often."""
    until = time.monotonic() + patience
    pause = _SHORTEST
    while not is_done():
        if time.monotonic() >= until:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST)
    return True
