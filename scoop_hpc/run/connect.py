"""An agent finds the driver: it tries all its addresses at once, and stays with the first where it is welcome.

When to go on, and when to give up, is decided by `SearchState`.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Sequence

import zmq
from msgspec import Struct

from scoop_hpc.cpus import count_cpus
from scoop_hpc.protocol.messages import VERSION, Curve, Hello, Welcome
from scoop_hpc.protocol.names import AgentName, agent_name
from scoop_hpc.run.policy import AgentPolicy
from scoop_hpc.run.search_state import Gone, SearchState
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import sockets
from scoop_hpc.transport.probe import all_refuse
from scoop_hpc.transport.steady import SteadyDealer

_POLL = 0.2  # seconds


class Way(Struct, frozen=True):
    """A way to the driver."""

    line: SteadyDealer
    address: str


def find_driver(
    context: sockets.Context,
    node: str,
    addresses: Sequence[str],
    curve: Curve | None,
    patience: float,
    silence: float,
    parent: int,
    party: int = 0,
) -> tuple[Way, Welcome]:
    """Return the way on which the driver has answered, and its welcome; it is lost by some seconds of *silence*.

    Raise LaunchError after *patience* seconds, or when the driver is gone: then, or with this process's *parent*. A
    node of another allocation than the run's is of a *party*.
    """
    token = os.urandom(4).hex()
    hello = _hello(node, party)
    ways = [
        _dial(context, agent_name(node, token, number), address, curve, silence, hello)
        for number, address in enumerate(addresses)
    ]
    try:
        found, welcome = _wait(ways, patience, parent)
    except Gone:
        for address in addresses:
            if address.startswith("ipc://") and not party:  # the driver had no time to remove its directory
                shutil.rmtree(os.path.dirname(address[len("ipc://") :]), ignore_errors=True)
        raise
    for way in ways:
        if way is not found:
            way.line.close()
    found.line.may_dial(addresses)
    return found, welcome


def _dial(
    context: sockets.Context, name: AgentName, address: str, curve: Curve | None, silence: float, hello: Hello
) -> Way:
    def make() -> sockets.Socket:
        dealer = sockets.make(context, zmq.DEALER, name, silence=silence)
        if curve is not None:
            keys.dial(dealer, curve)
        return dealer

    return Way(SteadyDealer(make, address, hello), address)


def _wait(ways: Sequence[Way], patience: float, parent: int) -> tuple[Way, Welcome]:
    poller = zmq.Poller()
    for way in ways:
        way.line.poll_by(poller)
    state = SearchState([way.address for way in ways], patience, time.monotonic(), AgentPolicy())
    while True:
        poller.poll(int(_POLL * 1000))
        for way in ways:
            message = way.line.receive()
            if message is not None:
                return way, state.hear(message)
        for way in ways:
            for made in way.line.news():
                state.connected(way.address, made)
        probed = state.pass_time(time.monotonic(), has_parent=os.getppid() == parent)
        if probed and all_refuse(probed, _POLL):
            state.refused()


def _hello(node: str, party: int) -> Hello:
    return Hello(
        version=VERSION,
        python="{}.{}".format(*sys.version_info),
        node=node,
        host=socket.gethostname(),
        pid=os.getpid(),
        cpus=count_cpus(),
        party=party,
    )
