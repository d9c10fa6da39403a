"""The process of a pool, as its client sees it: orders go in through a pipe, reports come out of another."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

from scoop_hpc.errors import BrokenPoolError, ProtocolError
from scoop_hpc.interpreter import python_argv
from scoop_hpc.protocol import lines
from scoop_hpc.protocol.messages import Fault, Order, Shutdown


class PoolProcess:
    """The pool that is made for *order*. It has *patience* seconds to end, and ends with this process at the latest."""

    def __init__(self, order: Order, patience: float) -> None:
        self._patience = patience
        self._reports, write = os.pipe()
        self._rest = b""
        self._order = order
        if not sys.executable:
            raise BrokenPoolError("cannot start a pool: this Python does not know its own executable (sys.executable)")
        try:
            self._process = subprocess.Popen(
                [*python_argv("scoop_hpc.cli.pool"), "--reports", str(write)],
                stdin=subprocess.PIPE,
                bufsize=0,  # so that closing it in a forked child has nothing to flush
                pass_fds=(write,),
                start_new_session=True,  # Ctrl-C is for this process to decide on
            )
        except OSError as error:
            os.close(self._reports)
            raise BrokenPoolError(f"cannot start a pool by {sys.executable!r}: {error.strerror}") from error
        finally:
            os.close(write)
        assert self._process.stdin is not None
        self._orders = self._process.stdin

    def order(self) -> None:
        """Hand in the order; its pool may have died before."""
        self._write(self._order)

    def fileno(self) -> int:
        """Return the descriptor to poll for reports."""
        return self._reports

    def hear(self) -> list[lines.Line]:
        """Wait for something to be reported, and return all of it; when the process has died, a Fault that says so."""
        text = os.read(self._reports, 65536)
        if not text:
            return [Fault(f"the driver of the pool (pid {self._process.pid}) died: {self._how_it_ended()}")]
        *whole, self._rest = (self._rest + text).split(b"\n")
        try:
            return [lines.decode(line) for line in whole]
        except ProtocolError as error:
            return [Fault(f"invalid message from the pool's driver: {error}")]

    def end(self) -> None:
        """End the pool, and wait until it is gone."""
        self._write(Shutdown())
        self.let_go()
        try:
            self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its agents leave when they see that it is gone
            self._process.wait()

    def let_go(self) -> None:
        """Close the pipes: a pool whose client has done so ends. A forked child does so for itself, too."""
        with contextlib.suppress(OSError):
            self._orders.close()
        if self._reports >= 0:
            os.close(self._reports)
            self._reports = -1

    def _write(self, message: lines.Line) -> None:
        with contextlib.suppress(OSError, ValueError):  # it has died: its reports tell
            text = memoryview(lines.encode(message))
            while text:
                text = text[self._orders.write(text) or 0 :]

    def _how_it_ended(self) -> str:
        status: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(self._patience)
        if status is None:
            return "it has closed its pipes"
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
