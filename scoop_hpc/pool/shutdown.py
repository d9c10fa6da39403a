"""What becomes of pools when their process exits, or forks."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from weakref import WeakSet

from scoop_hpc.pool.pool import Pool

_TOO_LATE = "cannot schedule new futures after interpreter shutdown"


class Exits:
    """The pools of this process, and its hooks. There is one of it, because hooks cannot be taken back."""

    def __init__(self) -> None:
        self.over = False  # the interpreter is ending
        self._pools: WeakSet[Pool] = WeakSet()
        self._hooked = False

    def watch(self, pool: Pool) -> None:
        """See to it that *pool* finishes what it has when the interpreter ends, and knows when it is a forked copy.

        Raises RuntimeError when the interpreter is ending already.
        """
        if self.over:
            raise RuntimeError(_TOO_LATE)
        if not self._hooked:
            try:  # as ProcessPoolExecutor does: atexit's own hooks run when other threads are gone
                getattr(threading, "_register_atexit", atexit.register)(self._finish)
            except RuntimeError as error:
                raise RuntimeError(_TOO_LATE) from error
            os.register_at_fork(after_in_child=self._note_fork)
            self._hooked = True
        self._pools.add(pool)

    def _finish(self) -> None:
        self.over = True
        pools = list(self._pools)
        for pool in pools:
            if _ended_by_ctrl_c():
                pool.interrupt()
            else:
                pool.finish(_TOO_LATE)
        for pool in pools:
            pool.join()

    def _note_fork(self) -> None:
        for pool in list(self._pools):
            pool.note_fork()
        self._pools.clear()


def _ended_by_ctrl_c() -> bool:
    """Whether the program, no interactive session, was ended by KeyboardInterrupt: then pending work is not for it."""
    last: type | None = getattr(sys, "last_type", None)
    return last is KeyboardInterrupt and not hasattr(sys, "ps1")


exits = Exits()
