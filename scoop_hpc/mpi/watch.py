"""A process beside a rank that ends it when MPI_Init or MPI_Finalize, which wait for all ranks, take too long.

While these run, a rank can do nothing itself, and who does not come cannot be asked. So each watcher leaves a mark in a
directory that all nodes see when half of its time is over, for ranks do not begin all at once; when all of it is, the
first of those who have left one names those who have not::

    STATE/mpi/1234.0-8/5      rank 5 of the 8 ranks of step 0 of job 1234 waits
    STATE/mpi/1234.0-8/told   the first one has said who does not

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
_GATHERING = 3.0  # seconds more for those that began last
_TELLING = 5.0  # seconds that the first of them has to say it
_TOLD = "told"
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
                began = _waits_too_long(patience, os.path.join(folder, str(rank)))
                if began is not None:
                    _complain(rank, size, patience, folder, parent, began)
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


def _waits_too_long(patience: float, mark: str) -> float | None:
    """Return since when [time.time] the rank waits, once that is *patience* seconds; None if it does not.

    It tells by standard input when it waits. After half of the time it leaves its *mark*.
    """
    since: float | None = None
    began, is_marked = 0.0, False
    while True:
        left = None
        if since is not None:
            left = max(0.0, since + (patience if is_marked else patience / 2) - time.monotonic())
        if not select.select([0], [], [], left)[0]:
            if is_marked:
                return began
            with contextlib.suppress(OSError, ValueError):
                _leave(mark)
            is_marked = True
            continue
        words = os.read(0, 16)
        if is_marked:
            with contextlib.suppress(OSError):
                os.unlink(mark)
            is_marked = False
        if not words:
            return None
        since, began = (time.monotonic(), time.time()) if words.endswith(_BEGIN) else (None, 0.0)


def _leave(mark: str) -> None:
    folder = os.path.dirname(mark)
    make_private(folder)
    _sweep(os.path.dirname(folder))
    with open(mark, "w"):
        pass


def _complain(rank: int, size: int, patience: float, folder: str, parent: int, began: float) -> None:
    """Tell who has left no mark, unless it is another's turn."""
    time.sleep(_GATHERING)
    waiting = {rank}
    with contextlib.suppress(OSError):
        # those of a run that has ended before this one are older
        marks = [name for name in os.listdir(folder) if name.isdigit()]
        times = {int(name): os.stat(os.path.join(folder, name)).st_mtime for name in marks}
        waiting |= {other for other, left_at in times.items() if left_at > began - patience / 2}
    remove_segments(parent)
    missing = [each for each in range(size) if each not in waiting]
    if rank == min(waiting):
        who = named(missing) if missing else "some rank"
        say(
            f"error: no word within {patience:g} s from {who} of {size}: all others wait for it in MPI_Init or "
            "MPI_Finalize; is it on a slow node, stopped, or never begun?"
        )
        with contextlib.suppress(OSError):
            _leave(os.path.join(folder, _TOLD))
    else:
        _wait_for_word(os.path.join(folder, _TOLD), began)


def _wait_for_word(path: str, began: float) -> None:
    """Wait until the first one has spoken: the end of this rank may be the end of all."""
    until = time.monotonic() + _TELLING
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if os.stat(path).st_mtime > began:
                return
        time.sleep(0.1)


def _sweep(directory: str) -> None:
    """Remove the marks of others that have ended: mpiexec kills a watcher with its rank."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if time.time() - os.stat(path).st_mtime > _OLD:
            shutil.rmtree(path, ignore_errors=True)
