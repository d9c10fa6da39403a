"""A driver that an Executor has left: the next Executor of the same program need not start another.

::

    pool's end --keep--> [ spare ] --take, if the surroundings are the same--> next pool
                             '--end of the program--> gone

A new interpreter, with all that it imports, takes as long as all else until the first result. So one driver stays,
without agents and workers. It has the surroundings that its program had when it was started.
"""

from __future__ import annotations

import contextlib
import os
import resource
import threading
from collections.abc import Mapping

from msgspec import Struct

from scoop_hpc.pool.process import PoolProcess

_LIMITS = sorted(value for name, value in vars(resource).items() if name.startswith("RLIMIT_"))


class Surroundings(Struct, frozen=True):
    """What a new process has of the one that starts it."""

    environ: Mapping[str, str]
    directory: str
    umask: str
    cpus: frozenset[int]
    limits: tuple[tuple[int, int], ...]
    niceness: int
    users: tuple[tuple[int, ...], ...]
    streams: tuple[tuple[int, int] | None, ...]  # device and inode of what the standard streams are

    @classmethod
    def now(cls) -> Surroundings | None:
        """Return those of this process, None where it cannot be told."""
        try:
            with open("/proc/self/status", encoding="utf-8") as status:
                umask = next(line for line in status if line.startswith("Umask:"))
            return cls(
                dict(os.environ),
                os.getcwd(),
                umask,
                frozenset(os.sched_getaffinity(0)),
                tuple(resource.getrlimit(limit) for limit in _LIMITS),
                os.getpriority(os.PRIO_PROCESS, 0),
                (os.getresuid(), os.getresgid(), tuple(os.getgroups())),
                tuple(map(_behind, (0, 1, 2))),
            )
        except (OSError, StopIteration, AttributeError):  # this is not Linux, or the directory is gone
            return None


def _behind(descriptor: int) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        status = os.fstat(descriptor)
        return status.st_dev, status.st_ino
    return None


class Spare:
    """The spare driver of this process, if there is one. There is one instance, for all pools."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: PoolProcess | None = None
        self._surroundings: Surroundings | None = None

    def take(self, surroundings: Surroundings | None) -> PoolProcess | None:
        """Return the driver, to be used by one pool, if it lives and has these *surroundings*; else end it."""
        with self._lock:
            process, self._process = self._process, None
        if process is None or (surroundings == self._surroundings and process.is_alive()):
            return process
        process.end()
        return None

    def keep(self, process: PoolProcess, surroundings: Surroundings | None) -> bool:
        """Keep a driver that rests, started in these *surroundings*, unless there is one; return whether it is kept."""
        with self._lock:
            if self._process is not None or surroundings is None:
                return False
            self._process, self._surroundings = process, surroundings
            return True

    def end(self) -> None:
        """End it, and wait until it is gone."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.end()

    def note_fork(self) -> None:
        """Let go of it, in a child forked by its program."""
        self._lock = threading.Lock()
        process, self._process = self._process, None
        if process is not None:
            process.let_go()


spare = Spare()
