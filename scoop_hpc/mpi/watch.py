"""A process beside a rank that ends it when MPI_Init or MPI_Finalize, which wait for all ranks, take too long.

While these run, a rank can do nothing itself, and who does not come cannot be asked. So each watcher whose time is over
leaves a mark in a directory that all nodes see, and the first of those who have left one names those who have not::

    STATE/mpi/1234.0-8/5      rank 5 of the 8 ranks of step 0 of job 1234 waits

A rank that is stopped, or that has not come as far, leaves no mark.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import time

from scoop_hpc.complaints import say
from scoop_hpc.files.private import make_private
from scoop_hpc.mpi.plan import named
from scoop_hpc.mpi.segments import remove_segments

_BEGIN, _OVER = b"+", b"-"
_GATHERING = 3.0  # seconds that the watchers of all ranks have to leave their marks
_FRESH = 30.0  # seconds; what is older was left by other ranks
_OLD = 3600.0  # seconds; by then nobody looks at a mark


class Watch:
    """Watches this process, rank *rank* of *size*; marks are left in *folder*."""

    def __init__(self, rank: int, size: int, patience: float, folder: str) -> None:
        read, self._write = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _be_alone(read)
                if _waits_too_long(patience):
                    _complain(rank, size, patience, folder, parent)
                    with contextlib.suppress(ProcessLookupError):
                        if os.getppid() == parent:
                            os.kill(parent, signal.SIGKILL)
            finally:
                os._exit(0)
        os.close(read)

    def begin(self) -> None:
        """Count the time from now on."""
        self._tell(_BEGIN)

    def over(self) -> None:
        """Count no longer."""
        self._tell(_OVER)

    def close(self) -> None:
        """End the watcher."""
        os.close(self._write)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _tell(self, word: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # somebody killed it
            os.write(self._write, word)


def _be_alone(read: int) -> None:
    """Keep nothing of the rank but the pipe to it: mpiexec takes an open descriptor of a rank's for the rank."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # it ends with the rank
    os.dup2(read, 0)
    os.closerange(3, os.sysconf("SC_OPEN_MAX") if not os.path.isdir("/proc/self/fd") else _last_file() + 1)


def _last_file() -> int:
    return max(int(name) for name in os.listdir("/proc/self/fd"))


def _waits_too_long(patience: float) -> bool:
    """Return whether the rank waits for more than *patience* seconds, as it tells by standard input."""
    until: float | None = None
    while True:
        left = None if until is None else max(0.0, until - time.monotonic())
        if not select.select([0], [], [], left)[0]:
            return True
        words = os.read(0, 16)
        if not words:
            return False
        until = time.monotonic() + patience if words.endswith(_BEGIN) else None


def _complain(rank: int, size: int, patience: float, folder: str, parent: int) -> None:
    """Leave a mark; tell who has left none, unless it is another's turn."""
    mark = os.path.join(folder, str(rank))
    try:
        make_private(folder)
        _sweep(os.path.dirname(folder))
        with open(mark, "w"):
            pass
        time.sleep(_GATHERING)
        waiting = {int(name) for name in os.listdir(folder) if name.isdigit() and _is_fresh(os.path.join(folder, name))}
    except (OSError, ValueError):
        waiting = {rank}
    waiting.add(rank)
    remove_segments(parent)
    missing = [each for each in range(size) if each not in waiting]
    if rank == min(waiting):
        who = named(missing) if missing else "some rank"
        say(
            f"error: no word within {patience:g} s from {who} of {size}: all others wait for it in MPI_Init or "
            "MPI_Finalize; is it on a slow node, stopped, or never begun?"
        )
    else:
        time.sleep(1.0)  # the others' end may come before the first one's word


def _is_fresh(path: str) -> bool:
    return time.time() - os.stat(path).st_mtime < _FRESH


def _sweep(directory: str) -> None:
    """Remove the marks of others that have ended: mpiexec kills a watcher with its rank."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if time.time() - os.stat(path).st_mtime > _OLD:
            shutil.rmtree(path, ignore_errors=True)
