"""A way between two processes that a test cuts, in one manner or another."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections.abc import Callable


class Proxy:
    """Passes TCP connections on to the *port* of a broker, until they are cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._wish: Callable[[], None] | None = None
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._done = threading.Event()
        self._swallows = False
        self._refuses = False
        self._ends = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def cut(self, rudely: bool) -> None:
        """End all connections; *rudely*: what is on its way is lost, and both ends are told by a RST."""
        self._ask(lambda: self._end_all(rudely))

    def swallow(self, lasts: bool) -> None:
        """Swallow all that comes, silently, as long as this *lasts*."""
        self._ask(lambda: setattr(self, "_swallows", lasts))

    def refuse(self, lasts: bool) -> None:
        """End all connections at once, as long as this *lasts*."""
        self._ask(lambda: setattr(self, "_refuses", lasts))
        if lasts:
            self.cut(rudely=True)

    def connections(self) -> int:
        """Return how many connections there are to the broker."""
        count = 0

        def look() -> None:
            nonlocal count
            count = len(self._pairs) // 2

        self._ask(look)
        return count

    def close(self) -> None:
        self._ask(lambda: setattr(self, "_ends", True))
        self._thread.join()
        for each in (self._listener, self._wake, self._woken, *self._pairs):
            each.close()
        self._selector.close()

    def _ask(self, wish: Callable[[], None]) -> None:
        self._done.clear()
        self._wish = wish
        self._wake.send(b"w")
        assert self._done.wait(30)

    def _serve(self) -> None:
        while not self._ends:
            for key, _ in self._selector.select():
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if ready is self._woken:
                    ready.recv(1)
                    assert self._wish is not None
                    self._wish()
                    self._done.set()
                elif ready is self._listener:
                    self._accept()
                elif ready in self._pairs:
                    self._pass_on(ready)

    def _accept(self) -> None:
        near = self._listener.accept()[0]
        try:
            if self._refuses:
                raise ConnectionRefusedError
            far = socket.create_connection(("127.0.0.1", self._to))
        except OSError:  # the broker has ended, too
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            one.settimeout(10)
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, ready: socket.socket) -> None:
        try:
            data = ready.recv(1 << 16)
            if data and not self._swallows:
                self._pairs[ready].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._end(ready, rudely=False)

    def _end(self, one: socket.socket, rudely: bool) -> None:
        for each in (one, self._pairs[one]):
            if rudely:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._selector.unregister(each)
            del self._pairs[each]
            each.close()

    def _end_all(self, rudely: bool) -> None:
        while self._pairs:
            self._end(next(iter(self._pairs)), rudely)
