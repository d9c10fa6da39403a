"""An agent finds the driver: it tries all its addresses at once, and stays with the first where it is welcome.

A node may have an address that leads elsewhere (every Docker host is 172.17.0.1), so an address counts only when the
driver, known by its key, has answered there.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import zmq

from scoop_hpc.cpus import count_cpus
from scoop_hpc.errors import LaunchError
from scoop_hpc.protocol.messages import VERSION, Curve, Hello, Shutdown, Welcome
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import sockets
from scoop_hpc.transport.probe import all_refuse

_PROBE = 2.0  # seconds without a connection after which it matters whether anybody listens
_LOST = 2.0  # seconds without a connection after which the driver is gone


class Ended(LaunchError):
    """The run ended before this agent was welcome: there is nothing for it to do."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to the driver."""

    socket: sockets.Socket
    watch: sockets.Watch
    address: str


def find_driver(
    context: sockets.Context,
    node: str,
    addresses: Sequence[str],
    curve: Curve | None,
    patience: float,
    parent: int,
) -> tuple[Way, Welcome]:
    """Return the way on which the driver has answered, and its welcome.

    Raise LaunchError after *patience* seconds, or when the driver is gone: then, or with this process's *parent*.
    """
    ways = [_dial(context, f"{node}/{number}", address, curve) for number, address in enumerate(addresses)]
    for way in ways:
        sockets.send(way.socket, _hello(node))
    try:
        found = _wait(ways, patience, parent)
    except Ended:
        raise
    except LaunchError:
        for address in addresses:
            if address.startswith("ipc://"):  # the driver had no time to remove its directory
                shutil.rmtree(os.path.dirname(address[len("ipc://") :]), ignore_errors=True)
        raise
    for way in ways:
        if found is None or way is not found[0]:
            way.watch.close()
            way.socket.close()
    if found is None:
        raise LaunchError(f"no welcome from the driver at {', '.join(addresses)} within {patience:g} s")
    return found


def _dial(context: sockets.Context, name: str, address: str, curve: Curve | None) -> Way:
    dealer = sockets.make(context, zmq.DEALER, name, watch_silence=True)
    if curve is not None:
        keys.dial(dealer, curve)
    watch = sockets.Watch(dealer)
    dealer.connect(address)
    return Way(dealer, watch, address)


def _wait(ways: Sequence[Way], patience: float, parent: int) -> tuple[Way, Welcome] | None:
    poller = zmq.Poller()
    for way in ways:
        poller.register(way.socket, zmq.POLLIN)
    deadline = time.monotonic() + patience
    tcp = [way.address for way in ways if way.address.startswith("tcp://")]
    next_probe = time.monotonic() + _PROBE
    connected: set[int] = set()  # ways
    last_seen: float | None = None  # a connection to the driver
    while time.monotonic() < deadline:
        ready = dict(poller.poll(200))
        for way in ways:
            message = sockets.receive(way.socket) if way.socket in ready else None
            if isinstance(message, Welcome):
                return way, message
            if isinstance(message, Shutdown):
                raise Ended("the run ended before this agent was welcome")
        for number, way in enumerate(ways):
            for made, _ in way.watch.news():
                (connected.add if made else connected.discard)(number)
        last_seen = time.monotonic() if connected else last_seen
        if os.getppid() != parent or (last_seen is not None and time.monotonic() > last_seen + _LOST):
            raise LaunchError("the driver was gone before this agent was welcome")
        if tcp and last_seen is None and time.monotonic() > next_probe:
            next_probe = time.monotonic() + _PROBE
            if all_refuse(tcp, 0.2):
                where = ", ".join(tcp)
                raise LaunchError(f"nothing listens at {where}: the driver is gone, or --interface must name another")
    return None


def _hello(node: str) -> Hello:
    return Hello(
        version=VERSION,
        python="{}.{}".format(*sys.version_info),
        node=node,
        host=socket.gethostname(),
        pid=os.getpid(),
        cpus=count_cpus(),
    )
