"""Futures in a program that was not started by scoop-hpc: it is its own only worker, and runs all tasks itself."""

from __future__ import annotations

import threading
from typing import Any

from scoop_hpc.protocol.names import ORIGIN
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.link import Unlinked
from scoop_hpc.worker.shared_values import KnownValues


class NoLink(Unlinked):
    """A line to no broker, on which one may wait for another thread."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def wait(self, timeout: float | None) -> None:
        self._woken.wait(timeout)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()


def serial_controller(values: dict[str, Any]) -> Controller:
    """Return a controller for the current thread, whose shared values are *values*."""
    controller = Controller(NoLink(), ORIGIN, 1, serial=True)
    controller.shared_values = KnownValues(controller, values)
    return controller
