"""The broker of raw ZeroMQ: a loop over two ROUTERs that sends each call to the worker which is busy the least."""

from __future__ import annotations

import zmq


class Credits:
    """How many messages each worker may still be sent."""

    def __init__(self) -> None:
        self._left: dict[bytes, int] = {}
        self.total = 0

    def add(self, worker: bytes, count: int) -> None:
        """Note that *worker* may be sent so many more."""
        self._left[worker] = self._left.get(worker, 0) + count
        self.total += count

    def take(self) -> bytes:
        """Return the worker that has the most left, and take one of them."""
        worker = max(self._left, key=self._left.__getitem__)
        self._left[worker] -= 1
        self.total -= 1
        return worker


def be_broker(front: str, back: str, workers: int, ahead: int, copy: bool) -> None:
    """Pass calls on to workers, *ahead* of what each does, and results to clients; until killed."""
    context = zmq.Context()
    frontend, backend = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
    credit = Credits()
    poller = zmq.Poller()
    for socket, endpoint in ((frontend, front), (backend, back)):
        socket.set_hwm(0)
        socket.bind(endpoint)
        poller.register(socket, zmq.POLLIN)
    for _ in range(workers):  # all are there before the first call, or the first of them would have too many
        credit.add(backend.recv_multipart()[0], ahead)
    while True:
        if credit.total:
            poller.register(frontend, zmq.POLLIN)
        else:
            poller.register(frontend, 0)  # what no worker is free for waits in the socket
        poller.poll()
        try:
            while True:
                worker, *frames = backend.recv_multipart(zmq.NOBLOCK, copy=copy)
                credit.add(bytes(worker), 1)
                frontend.send_multipart(frames, copy=copy)
        except zmq.Again:
            pass
        try:
            while credit.total:
                frames = frontend.recv_multipart(zmq.NOBLOCK, copy=copy)
                backend.send_multipart([credit.take(), *frames], copy=copy)
        except zmq.Again:
            pass
