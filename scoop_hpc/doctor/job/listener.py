"""A listener on a node, and what another node measures of the way to it: latency, rate, clock.

::

    client --16 bytes, the key--> listener
    client --"c"----------------> listener --8 bytes: its time--> client
    client --"d", a count-------> listener --so many bytes------> client

It serves in threads beside a worker's task, to those who know the key, until the process ends.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from scoop_hpc.doctor.facts import Way

_PATIENCE = 5.0  # seconds without an answer
_KEY = 16  # bytes
_PINGS = 60
_TIME, _COUNT = struct.Struct("!d"), struct.Struct("!Q")
_BLOCK = bytes(1 << 20)
_LEAST, _MOST = 1 << 20, 256 << 20  # bytes that are sent at once
_LONG_ENOUGH = 0.2  # seconds for a rate


@dataclass(frozen=True, slots=True)
class Listener:
    """Where a node listens: its addresses, those first that a run would take."""

    name: str
    addresses: tuple[str, ...]
    port: int
    key: bytes


@functools.cache  # one for each process
def listen(name: str, addresses: tuple[str, ...]) -> Listener:
    """Begin to listen, and return where."""
    family = socket.AF_INET6 if any(":" in address for address in addresses) else socket.AF_INET
    try:
        server = socket.create_server(("", 0), family=family, dualstack_ipv6=family == socket.AF_INET6)
    except (OSError, ValueError):  # no IPv6 here
        server = socket.create_server(("", 0))
    listener = Listener(name, addresses, server.getsockname()[1], secrets.token_bytes(_KEY))
    threading.Thread(target=_accept, args=(server, listener.key), daemon=True).start()
    return listener


def _accept(server: socket.socket, key: bytes) -> None:
    while True:
        client, _ = server.accept()
        threading.Thread(target=_serve, args=(client, key), daemon=True).start()


def _serve(client: socket.socket, key: bytes) -> None:
    with contextlib.suppress(OSError), client:
        client.settimeout(_PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not secrets.compare_digest(_receive(client, _KEY), key):
            return
        while True:
            order = client.recv(1)
            if order == b"c":
                client.sendall(_TIME.pack(time.time()))
            elif order == b"d":
                (left,) = _COUNT.unpack(_receive(client, _COUNT.size))
                while left > 0:
                    left -= client.send(memoryview(_BLOCK)[: min(left, len(_BLOCK))])
            else:
                return


def _receive(connection: socket.socket, count: int) -> bytes:
    """Return *count* bytes; raise ConnectionError where the other end has gone."""
    parts = b""
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise ConnectionError("it closed the connection")
        parts += part
    return parts


def measure(source: str, target: Listener) -> Way:
    """Return what the way from *source*, which is here, to *target* is worth, by the first address that answers.

    Of several measurements the best counts: what nodes do beside makes the others.
    """
    troubles = []
    for address in target.addresses:
        try:
            return _measure(source, target, address)
        except OSError as error:
            troubles.append(f"{address}: {error.strerror or error or 'no answer'}")
    why = "; ".join(troubles) or "it has no address that others could reach"
    return Way(source, target.name, trouble=f"no connection ({why})")


def _measure(source: str, target: Listener, address: str) -> Way:
    with socket.create_connection((address, target.port), timeout=_PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(target.key)
        pings = [_ping(connection) for _ in range(_PINGS)]
        return Way(
            source,
            target.name,
            address,
            latency=min(pings)[0],
            rate=_best_rate(connection),
            clock=clock_offset(pings),
        )


def _ping(connection: socket.socket) -> tuple[float, float]:
    """Return the seconds there and back, and by how much the other's clock is ahead if both ways take as long."""
    begin, clock = time.perf_counter(), time.time()
    connection.sendall(b"c")
    (other,) = _TIME.unpack(_receive(connection, _TIME.size))
    latency = time.perf_counter() - begin
    return latency, other - (clock + latency / 2)


def clock_offset(pings: Sequence[tuple[float, float]]) -> float:
    """Return by how much the other's clock is ahead: what the quickest of *pings* says.

    >>> clock_offset([(0.5, 7.2), (0.001, 7.0), (0.02, 7.01)])
    7.0
    """
    return min(pings)[1]


def _best_rate(connection: socket.socket) -> float:
    """Return how many bytes per second are received at best, of ever more bytes until they take long enough."""
    count, best = _LEAST, 0.0
    while True:
        seconds = _receive_data(connection, count)
        best = max(best, count / seconds)
        if seconds > _LONG_ENOUGH or count >= _MOST:
            return best
        count *= 4


def _receive_data(connection: socket.socket, count: int) -> float:
    """Receive so many bytes; return the seconds that it took."""
    buffer = bytearray(len(_BLOCK))
    begin = time.perf_counter()
    connection.sendall(b"d" + _COUNT.pack(count))
    while count > 0:
        received = connection.recv_into(buffer, min(len(buffer), count))
        if not received:
            raise ConnectionError("it closed the connection")
        count -= received
    return time.perf_counter() - begin
