"""A probe of TCP endpoints: is there a listener? ZeroMQ keeps trying, and does not tell a refusal from silence."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Sequence

from scoop_hpc.transport.sockets import host_of


def all_refuse(endpoints: Sequence[str], seconds: float) -> bool:
    """Return whether each of the *endpoints* refuses a connection within *seconds*; silence is no refusal."""
    probes = []
    try:
        for endpoint in endpoints:
            host, port = host_of(endpoint), int(endpoint.rpartition(":")[2])
            probes.append(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
            probes[-1].setblocking(False)
            if probes[-1].connect_ex((host, port)) not in (errno.EINPROGRESS, errno.ECONNREFUSED):
                return False
        deadline = time.monotonic() + seconds
        return all(_refused(probe, deadline) for probe in probes)
    except OSError:  # no IPv6 here, for one
        return False
    finally:
        for probe in probes:
            probe.close()


def _refused(probe: socket.socket, deadline: float) -> bool:
    poller = select.poll()
    poller.register(probe, select.POLLOUT)
    if not poller.poll(max(0, int(1000 * (deadline - time.monotonic())))):
        return False
    try:
        probe.getpeername()
    except OSError:  # not connected; a refusal at once has no SO_ERROR left
        return probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.ECONNREFUSED)
    return False
