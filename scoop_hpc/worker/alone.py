"""Futures in a program that was not started by scoop-hpc: it is its own only worker, and runs all tasks itself."""

from __future__ import annotations

import time
from typing import Any, Optional

from scoop_hpc.protocol.messages import Message
from scoop_hpc.worker.constants import Constants
from scoop_hpc.worker.controller import Controller

_NAP = 0.05  # seconds


class NoLink:
    """A line to no broker."""

    def send(self, message: Message) -> None:
        """There is nobody to send it to."""

    def receive(self, timeout: Optional[float]) -> list[Message]:
        """Nothing arrives; what is waited for may come from another thread."""
        time.sleep(_NAP if timeout is None else min(timeout, _NAP))
        return []

    def wake(self) -> None:
        """It does not sleep for long."""


def alone(constants: dict[str, Any]) -> Controller:
    """Return a controller for the current thread, whose shared constants are *constants*."""
    controller = Controller(NoLink(), "0.0", 1, serial=True)
    controller.constants = Constants(controller, constants)
    return controller
