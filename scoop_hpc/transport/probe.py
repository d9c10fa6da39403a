"""A probe of TCP endpoints: is there a listener? ZeroMQ keeps trying, and does not tell a refusal from silence."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Sequence

from scoop_hpc.transport.sockets import host_of


class Probe:
    """An attempt to connect to an *endpoint*, which nobody waits for; raise OSError where that cannot be tried."""

    def __init__(self, endpoint: str) -> None:
        host, port = host_of(endpoint), int(endpoint.rpartition(":")[2])
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._socket.setblocking(False)
        number = self._socket.connect_ex((host, port))
        self._errno = number if number == errno.ECONNREFUSED else None  # at once: there is no SO_ERROR left then
        if number not in (0, errno.EINPROGRESS, errno.ECONNREFUSED):
            self.close()
            raise OSError(number, "cannot connect")

    def fileno(self) -> int:
        """Return what can be written to once there is an answer."""
        return self._socket.fileno()

    def is_refused(self) -> bool:
        """Return whether the answer is a refusal; without an answer it is none."""
        return self._error() == errno.ECONNREFUSED

    def is_heard(self) -> bool:
        """Return whether somebody listens there."""
        return self._error() == 0

    def _error(self) -> int:
        if self._errno is None:
            self._errno = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # which clears it
        return self._errno

    def close(self) -> None:
        """Try no longer."""
        self._socket.close()


def all_refuse(endpoints: Sequence[str], seconds: float) -> bool:
    """Return whether each of the *endpoints* refuses a connection within *seconds*; silence is no refusal."""
    probes: list[Probe] = []
    try:
        for endpoint in endpoints:
            probes.append(Probe(endpoint))
        deadline = time.monotonic() + seconds
        return all(_refused(probe, deadline) for probe in probes)
    except OSError:  # no route, or no IPv6 here
        return False
    finally:
        for probe in probes:
            probe.close()


def _refused(probe: Probe, deadline: float) -> bool:
    poller = select.poll()
    poller.register(probe.fileno(), select.POLLOUT)
    return bool(poller.poll(max(0, int(1000 * (deadline - time.monotonic()))))) and probe.is_refused()
