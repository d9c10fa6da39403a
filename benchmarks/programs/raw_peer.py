"""What ZeroMQ gives when it is used as it comes: pickled calls over ipc, with and without a broker in the middle.

::

    direct:   client ROUTER <-> DEALER workers
    broker:   client DEALER <-> ROUTER broker ROUTER <-> DEALER workers     (raw_broker)

    to a worker, and back:  client | serial | pickle of a list of calls, or of their results | buffers ...

Nothing is encrypted, watched or run again, and no limit holds. A worker is sent a few messages ahead of what it does.
Batched, a message holds many calls. Large buffers travel out of band (pickle 5), and are not copied.
"""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import zmq
from peer import Peer
from raw_broker import Credits, be_broker
from workloads import main

_BATCH = 1_000  # calls in a message, at the most
_BATCH_OF_SUBMITS = 100


def dump(value: Any) -> list[Any]:
    """Return the frames of *value*."""
    buffers: list[pickle.PickleBuffer] = []
    return [pickle.dumps(value, 5, buffer_callback=buffers.append), *(buffer.raw() for buffer in buffers)]


def load(frames: Sequence[Any]) -> Any:
    """Return the value in *frames*."""
    parts = [frame.buffer if isinstance(frame, zmq.Frame) else frame for frame in frames]
    return pickle.loads(parts[0], buffers=parts[1:])


def be_worker(endpoint: str, copy: bool) -> None:
    """Run calls until killed."""
    socket = zmq.Context().socket(zmq.DEALER)
    socket.set_hwm(0)
    socket.connect(endpoint)
    socket.send(b"")
    while True:
        client, serial, *frames = socket.recv_multipart(0, copy)
        results = [function(*args) for function, args in load(frames)]
        socket.send_multipart([client, serial, *dump(results)], copy=copy)


class Raw(Peer):
    """A client of workers, or of their broker."""

    def __init__(
        self, workers: int, uneven: bool = False, large: bool = False, *, through_broker: bool, batched: bool
    ) -> None:
        super().__init__(workers, uneven, large)
        self._directory = tempfile.TemporaryDirectory()
        front, back = (f"ipc://{self._directory.name}/{name}" for name in ("front", "back"))
        self._copy = not large
        self._batched = batched
        ahead = 2 if uneven else 100  # messages that a worker has been sent and not answered
        self._credits = None if through_broker else Credits()
        processes = [multiprocessing.Process(target=be_worker, args=(back, self._copy)) for _ in range(workers)]
        if through_broker:
            broker = multiprocessing.Process(target=be_broker, args=(front, back, workers, ahead, self._copy))
            processes.append(broker)
        for process in processes:  # before there is a context: it does not outlive a fork
            process.daemon = True
            process.start()
        self._processes = processes
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER if through_broker else zmq.ROUTER)
        self._socket.set_hwm(0)
        if self._credits is None:
            self._socket.connect(front)
        else:
            self._socket.bind(back)
            for _ in range(workers):
                self._credits.add(self._socket.recv_multipart()[0], ahead)
        self._queue: deque[list[Any]] = deque()  # messages that no worker is free for
        self._calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []  # of the batch that is being filled
        self._serial = 0
        self._results: dict[int, list[Any]] = {}

    def submit(self, function: Callable[..., Any], *args: Any) -> tuple[int, int]:
        self._calls.append((function, args))
        handle = self._serial, len(self._calls) - 1
        if len(self._calls) == (_BATCH_OF_SUBMITS if self._batched else 1):
            self._send()
        return handle

    def map(self, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
        size = min(_BATCH, self.chunk(items)) if self._batched else 1
        serials = []
        for begin in range(0, len(items), size):
            self._calls = [(function, (item,)) for item in items[begin : begin + size]]
            serials.append(self._serial)
            self._send()
        return [result for serial in serials for result in self._receive(serial)]

    def result(self, handle: tuple[int, int]) -> Any:
        serial, place = handle
        if serial == self._serial:
            self._send()
        results = self._receive(serial)
        result, results[place] = results[place], None  # nobody asks twice
        return result

    def broker(self) -> int | None:
        return self._processes[-1].pid if self._credits is None else None

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
            process.join()
        self._context.destroy(linger=0)
        self._directory.cleanup()

    def _send(self) -> None:
        message = [self._serial.to_bytes(8, "big"), *dump(self._calls)]
        self._serial += 1
        self._calls = []
        if self._credits is None:
            self._socket.send_multipart(message, copy=self._copy)
        else:
            self._queue.append(message)
            self._hand_out()

    def _hand_out(self) -> None:
        assert self._credits is not None
        while self._credits.total and self._queue:
            self._socket.send_multipart([self._credits.take(), b"", *self._queue.popleft()], copy=self._copy)

    def _receive(self, serial: int) -> list[Any]:
        while serial not in self._results:
            frames = self._socket.recv_multipart(0, self._copy)
            if self._credits is not None:
                worker, _, *frames = frames
                self._credits.add(bytes(worker), 1)
                self._hand_out()
            self._results[int.from_bytes(bytes(frames[0]), "big")] = load(frames[1:])
        return self._results[serial]


if __name__ == "__main__":
    variant = sys.argv.pop(1).split("-")
    main(partial(Raw, through_broker="broker" in variant, batched="batched" in variant))
