"""Sends Ctrl-C, as a terminal does, to the whole process group when one of its processes comes to a certain moment.

INTERRUPT_AT names the process and the moment: an event of Python's audit hooks, and how its first argument
ends, as in ``driver:import zmq`` or ``origin:open program.py``. A process without Python's events is met by ``any``.
"""

from __future__ import annotations

import os
import signal
import sys

_WHO, _, _MOMENT = os.environ.get("INTERRUPT_AT", "").partition(":")
_EVENT, _, _ARGUMENT = _MOMENT.partition(" ")


def _who() -> str:
    with open("/proc/self/comm") as file:
        name = file.read().strip()
    if name.startswith("scoop-"):
        return name.partition("-")[2]
    return "driver"


class _Hook:
    """Called by Python for every event; it may not call itself."""

    def __init__(self) -> None:
        self._busy = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._busy or _EVENT not in ("any", event):
            return
        if _ARGUMENT and not str(arguments[0]).endswith(_ARGUMENT):
            return
        self._busy = True
        if _who() == _WHO:
            os.killpg(0, signal.SIGINT)
        else:
            self._busy = False


if _WHO:
    sys.addaudithook(_Hook())
