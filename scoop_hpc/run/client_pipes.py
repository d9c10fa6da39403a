"""The pipes between a pool's driver and the client that the pool works for.

The client may die without a word: then its end of the order pipe closes, or, should a process that it has forked hold
that open, this process gets another parent.
"""

from __future__ import annotations

import contextlib
import os

from scoop_hpc.errors import ProtocolError
from scoop_hpc.files.line_buffer import LineBuffer
from scoop_hpc.protocol import lines
from scoop_hpc.protocol.messages import Order, Shutdown


class ClientPipes:
    """Reads the client's orders from the descriptor *orders*, and writes reports to *reports*."""

    def __init__(self, orders: int, reports: int) -> None:
        self.ended = False  # the client wants nothing more
        self.lost = False  # because it has died
        self._orders = orders
        self._reports = reports
        self._buffer = LineBuffer()
        self._early: list[bytes] = []  # lines that came with the order
        self._parent = os.getppid()

    def fileno(self) -> int:
        """Return the descriptor to poll for orders."""
        return self._orders

    def read_order(self) -> Order:
        """Wait for a line, and return the order in it; raise ProtocolError if the client is gone first."""
        self.ended = False
        whole: list[bytes] = []
        while not whole:
            piece = os.read(self._orders, 1 << 20)
            if not piece:
                raise ProtocolError("the client of the pool was gone before it gave an order")
            whole = self._buffer.add(piece)
        line, *self._early = whole
        order = lines.decode(line)
        if not isinstance(order, Order):
            raise ProtocolError(f"the client of the pool sent {order!r} for an order")
        return order

    def hear(self) -> None:
        """Take in what the client says; its end, too."""
        text = os.read(self._orders, 65536)
        whole, self._early = self._early + self._buffer.add(text), []
        if any(isinstance(lines.decode(line), Shutdown) for line in whole):
            self.ended = True
        elif not text:
            self.ended = self.lost = True

    def look(self) -> None:
        """Note the death of a client whose pipe somebody else holds open."""
        if os.getppid() != self._parent:
            self.ended = self.lost = True

    def report(self, message: lines.Line) -> None:
        """Tell the client, if it is still there."""
        with contextlib.suppress(OSError):
            text = lines.encode(message)
            while text:
                text = text[os.write(self._reports, text) :]
