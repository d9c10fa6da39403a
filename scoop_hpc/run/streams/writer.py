"""Write what workers print to the driver's own standard streams, without ever waiting for their reader.

A reader may be slow, or stopped (``| less``); a driver that waits for it serves no agents and takes no signals. What is
queued here is bounded by the agents, which send no more than `OutputSeen` has told them of.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable

import zmq

PIECE = 4096  # bytes that a pipe with room takes at once: PIPE_BUF [pipe(7)]


def has_room(stream: int) -> bool:
    """Return whether a piece can be written to *stream* at once."""
    return bool(select.select([], [stream], [], 0)[1])


class Writer:
    """Queues text for streams 1 and 2, and tells *written* of each that is out, by the name that it was added with."""

    def __init__(self, poller: zmq.Poller, written: Callable[[str], None]) -> None:
        self._poller = poller
        self._written = written
        self._queues: dict[int, deque[tuple[memoryview, str]]] = {}

    def __contains__(self, descriptor: object) -> bool:
        return descriptor in self._queues

    @property
    def pending(self) -> bool:
        """True while there is text that is not out yet."""
        return bool(self._queues)

    def has_room(self) -> bool:
        """Return whether some of that text can be written at once."""
        return any(map(has_room, self._queues))

    def add(self, stream: int, text: bytes, name: str) -> None:
        """Queue *text*."""
        if stream not in self._queues:
            self._queues[stream] = deque()
            self._poller.register(stream, zmq.POLLOUT)
        self._queues[stream].append((memoryview(text), name))

    def write(self, stream: int) -> None:
        """Write a piece to a stream that has room; raises OSError, and drops what was queued for the stream then."""
        queue = self._queues[stream]
        text, name = queue.popleft()
        try:
            rest = text[os.write(stream, text[:PIECE]) :]
        except BlockingIOError:
            rest = text
        except OSError:
            queue.clear()
            self._forget(stream)
            raise
        if rest:
            queue.appendleft((rest, name))
        else:
            self._written(name)
            if not queue:
                self._forget(stream)

    def _forget(self, stream: int) -> None:
        del self._queues[stream]
        self._poller.unregister(stream)
