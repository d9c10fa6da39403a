"""The process of a pool, for its client: orders go in through one pipe, reports come out of another.

::

    Order --> Open --> Shutdown --> Shutdown: all agents and workers are gone, and it waits for another Order
                           '--its end: this pool was on other machines, or has failed
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time

from scoop_hpc.errors import ProtocolError
from scoop_hpc.files.line_buffer import LineBuffer
from scoop_hpc.pool.spawned import Spawned
from scoop_hpc.protocol import lines
from scoop_hpc.protocol.messages import Fault, Order, Shutdown
from scoop_hpc.signal_names import signal_name


class PoolProcess:
    """The driver of a pool, and the pipes to it. It has *patience* seconds to end; without its client it ends, too."""

    def __init__(self, spawned: Spawned, patience: float) -> None:
        self._spawned = spawned
        self._process = spawned.process
        self._patience = patience
        self._buffer = LineBuffer()

    def order(self, order: Order) -> None:
        """Send the order; the driver may have died by then."""
        self._write(order)

    def fileno(self) -> int:
        """Return the descriptor to poll for reports."""
        return self._spawned.reports

    def hear(self) -> list[lines.Line]:
        """Wait for reports, and return all that have come; if the process has died, a Fault that says so."""
        text = os.read(self._spawned.reports, 65536)
        if not text:
            return [Fault(f"the driver of the pool (pid {self._process.pid}) died: {self._how_it_ended()}")]
        try:
            return [lines.decode(line) for line in self._buffer.add(text)]
        except ProtocolError as error:
            return [Fault(f"invalid message from the pool's driver: {error}")]

    def is_alive(self) -> bool:
        """Return whether the driver has not ended."""
        return self._process.poll() is None

    def rests(self) -> bool:
        """End the pool, but not its driver, if that is well: return whether it waits for another order."""
        self._write(Shutdown())
        deadline = time.monotonic() + self._patience
        reports: list[lines.Line] = []
        while not reports and self._is_ready(deadline):
            reports = self.hear()
        return reports == [Shutdown()]

    def _is_ready(self, deadline: float) -> bool:
        poll = select.poll()
        poll.register(self._spawned.reports, select.POLLIN)
        return bool(poll.poll(max(0.0, 1000 * (deadline - time.monotonic()))))

    def end(self) -> None:
        """End the pool, and wait until it is gone."""
        self._write(Shutdown())
        self.let_go()
        if not self._ends_within(self._patience):
            self._process.kill()  # its agents leave when they see that it is gone
        self._process.wait()

    def _ends_within(self, seconds: float) -> bool:
        """Return whether the driver ends in time, at once when it does: `subprocess` would look every 50 ms."""
        try:
            descriptor = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):  # this is not Linux, or the process has been reaped
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
            return self._process.poll() is not None
        try:
            return bool(select.select([descriptor], [], [], seconds)[0])
        finally:
            os.close(descriptor)

    def let_go(self) -> None:
        """Close the pipes, and with that end the pool; in a forked child, close the child's copies of them."""
        self._spawned.let_go()

    def _write(self, message: lines.Line) -> None:
        with contextlib.suppress(OSError, ValueError):  # the pool has died: `hear` says so
            text = memoryview(lines.encode(message))
            while text:
                text = text[self._spawned.orders.write(text) or 0 :]

    def _how_it_ended(self) -> str:
        status: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(self._patience)
        if status is None:
            return "it has closed its pipes"
        return f"killed by {signal_name(-status)}" if status < 0 else f"exit status {status}"
