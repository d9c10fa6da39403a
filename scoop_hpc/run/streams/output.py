"""Forward what the children print, out of their pipes: whole lines, and updates of progress bars.

What comes out of a terminal that is a child's own is forwarded as it comes: it may be the beginning of a dialogue. No
more is under way than the driver keeps up with.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import select
import time
from collections.abc import Callable

import zmq
from msgspec import Struct, field

from scoop_hpc.protocol.messages import Output
from scoop_hpc.protocol.names import ORIGIN, ProcessName
from scoop_hpc.run.children import TRACE

_LINE = 1 << 20  # bytes: a longer line arrives in pieces
_UPDATES = 0.2  # seconds between updates of a line that is drawn again and again, each from its beginning (CR)
_UNSEEN = 64  # Outputs under way: more are left in the pipes, and a child that prints on waits


class _Pipe(Struct):
    name: ProcessName  # of the child
    stream: int  # 1 or 2, or 3 for a trace
    is_terminal: bool
    pieces: list[bytes] = field(default_factory=list)  # of a line that is not whole yet
    size: int = 0  # of them together
    open: bool = False  # the beginning of the line is sent
    updated: float = -_UPDATES  # when that was


class OutputPipes:
    """The agent's ends of its children's standard streams, registered with its *poller*."""

    def __init__(
        self, poller: zmq.Poller, send: Callable[[Output], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._poller = poller
        self._send = send
        self._pipes: dict[int, _Pipe] = {}
        self._unseen = 0

    def __contains__(self, descriptor: object) -> bool:
        return descriptor in self._pipes

    def add(self, name: ProcessName, ends: dict[int, int], terminal: int = -1) -> None:
        """Take on the pipes of the child *name*: our end of each, and its stream; one may be a *terminal*."""
        for descriptor, stream in ends.items():
            os.set_blocking(descriptor, False)
            self._pipes[descriptor] = _Pipe(name, stream, descriptor == terminal)
            self._poller.register(descriptor, self._events())

    def read(self, descriptor: int) -> None:
        """Pass on what has come through a pipe; at its end also a line that is not whole.

        The origin's is passed on as it is, for its output is the program's; a worker's must not run into others.
        """
        try:
            text = _read(descriptor)
        except BlockingIOError:  # another pipe was ready, which had this descriptor before it was closed
            return
        if text:
            self._forward_in_order(self._pipes[descriptor], text)
        else:
            self._close(descriptor)

    def finish(self, name: ProcessName) -> None:
        """Pass on all that the ended child *name* left; a process that it started may hold its pipes open."""
        for descriptor in [each for each, pipe in self._pipes.items() if pipe.name == name]:
            with contextlib.suppress(BlockingIOError):
                for text in iter(functools.partial(_read, descriptor), b""):
                    self._forward_in_order(self._pipes[descriptor], text)
            self._close(descriptor)

    def seen(self, count: int) -> None:
        """Note that the driver has written *count* Outputs."""
        full, self._unseen = self._unseen >= _UNSEEN, self._unseen - count
        if full and self._unseen < _UNSEEN:
            self._listen()

    def print(self, name: ProcessName, line: bytes) -> None:
        """Pass on a *line* for the standard error that a process here says by itself."""
        self._send(Output(name, 2, line))
        self._count()

    def _forward_in_order(self, pipe: _Pipe, text: bytes) -> None:
        """Pass on what has come through *pipe*; before what the origin printed, what workers here had printed by then.

        The program may print what it has of a task: what the task printed comes first, as it would from a terminal.
        """
        if pipe.name == ORIGIN and pipe.stream != TRACE:
            ready = select.poll()
            for descriptor, other in self._pipes.items():
                if other.name != ORIGIN and other.stream != TRACE:
                    ready.register(descriptor, select.POLLIN)
            for descriptor, event in ready.poll(0):
                if event & select.POLLIN:
                    self._forward(self._pipes[descriptor], _read(descriptor))
        self._forward(pipe, text)

    def _forward(self, pipe: _Pipe, text: bytes) -> None:
        lines, newline, rest = text.rpartition(b"\n")
        pipe.pieces.append(lines + newline)
        pipe.size += len(text)
        if b"\r" in rest and self._clock() >= pipe.updated + _UPDATES:
            pipe.pieces.append(rest)
            pipe.updated, rest = self._clock(), b""
            self._send_on(pipe, b"")
        elif pipe.is_terminal:
            pipe.pieces.append(rest)
            rest = b""
            self._send_on(pipe, b"")
        elif newline or pipe.size > _LINE:
            self._send_on(pipe, rest)
        pipe.pieces.append(rest)

    def _send_on(self, pipe: _Pipe, rest: bytes) -> None:
        """Send what has come through *pipe*, but for the *rest*."""
        text = b"".join(pipe.pieces)
        self._send(Output(pipe.name, pipe.stream, text))
        pipe.open = not text.endswith(b"\n")
        pipe.pieces, pipe.size = [], len(rest)
        self._count()

    def _count(self) -> None:
        self._unseen += 1
        if self._unseen == _UNSEEN:
            self._listen()

    def _close(self, descriptor: int) -> None:
        pipe = self._pipes.pop(descriptor)
        if descriptor in self._poller:
            self._poller.unregister(descriptor)
        os.close(descriptor)
        rest = b"".join(pipe.pieces) if pipe.stream != TRACE else b""  # half an event is none
        end = b"\n" if (rest or pipe.open) and pipe.name != ORIGIN else b""
        if rest or end:
            self._send(Output(pipe.name, pipe.stream, rest + end))

    def _listen(self) -> None:
        for descriptor in self._pipes:
            self._poller.modify(descriptor, self._events())

    def _events(self) -> int:
        return zmq.POLLIN if self._unseen < _UNSEEN else 0


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno == errno.EIO:  # a terminal that nobody has open any more
            return b""
        raise
