"""The process of a pool's driver, as it begins.

It takes a new interpreter as long to import what it needs as it takes this one to import what talks to it. So this
module imports little, and an Executor starts the driver before it imports the others.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from scoop_hpc.errors import BrokenPoolError
from scoop_hpc.interpreter import python_argv


class Spawned:
    """A driver that waits for its order, and the pipes to it: *orders* go in, *reports* come out."""

    def __init__(self, process: subprocess.Popen[bytes], reports: int) -> None:
        assert process.stdin is not None
        self.process = process
        self.orders = process.stdin
        self.reports = reports
        self._is_let_go = False

    def let_go(self) -> None:
        """Close the pipes, and with that end the pool; in a forked child, close the child's copies of them."""
        with contextlib.suppress(OSError):
            self.orders.close()
        if not self._is_let_go:
            self._is_let_go = True
            os.close(self.reports)


def spawn(report: str = "") -> Spawned:
    """Start a driver, which keeps a *report* in the file of that name, if there is one; raise BrokenPoolError."""
    if not sys.executable:
        raise BrokenPoolError("cannot start a pool: this Python does not know its own executable (sys.executable)")
    reports, write = os.pipe()
    try:
        process = subprocess.Popen(
            [*python_argv("scoop_hpc.cli.pool"), f"--report={report}", "--reports", str(write)],
            stdin=subprocess.PIPE,
            bufsize=0,  # so that closing it in a forked child has nothing to flush
            pass_fds=(write,),
            start_new_session=True,  # Ctrl-C is for this process to decide on
        )
    except OSError as error:
        os.close(reports)
        raise BrokenPoolError(f"cannot start a pool by {sys.executable!r}: {error.strerror}") from error
    finally:
        os.close(write)
    return Spawned(process, reports)
