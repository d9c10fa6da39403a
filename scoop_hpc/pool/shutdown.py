"""Shutdown hooks: pools finish their work before the interpreter ends, and a forked child lets go of them."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from weakref import WeakSet

from scoop_hpc.pool.pool import WorkerPool
from scoop_hpc.pool.spare import spare

_TOO_LATE = "cannot schedule new futures after interpreter shutdown"


class ShutdownHooks:
    """The hooks of this process, for all its pools. There is one instance, because hooks cannot be unregistered."""

    def __init__(self) -> None:
        self._is_ending = False  # the interpreter
        self._pools: WeakSet[WorkerPool] = WeakSet()
        self._are_registered = False

    def watch(self, pool: WorkerPool) -> None:
        """Take on *pool*; raise RuntimeError if the interpreter is ending already."""
        if self._is_ending:
            raise RuntimeError(_TOO_LATE)
        if not self._are_registered:
            try:  # as ProcessPoolExecutor does: atexit's own hooks run when other threads are gone
                getattr(threading, "_register_atexit", atexit.register)(self._finish)
            except RuntimeError as error:
                raise RuntimeError(_TOO_LATE) from error
            os.register_at_fork(after_in_child=self._note_fork)
            self._are_registered = True
        self._pools.add(pool)

    def _finish(self) -> None:
        self._is_ending = True
        pools = list(self._pools)
        for pool in pools:
            if _was_interrupted():
                pool.interrupt()
            else:
                pool.finish(_TOO_LATE)
        for pool in pools:
            pool.join()
        spare.end()

    def _note_fork(self) -> None:
        for pool in list(self._pools):
            pool.note_fork()
        self._pools.clear()
        spare.note_fork()


def _was_interrupted() -> bool:
    """Return whether KeyboardInterrupt ended the program: then nobody wants its pending work.

    An interactive session goes on after one.
    """
    last: type | None = getattr(sys, "last_type", None)
    return last is KeyboardInterrupt and not hasattr(sys, "ps1")


hooks = ShutdownHooks()
