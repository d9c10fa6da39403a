"""The controller to use: the run's where this process is a worker of one, else one for this thread alone."""

from __future__ import annotations

import sys
import threading
import warnings
from typing import Any

from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.serial import serial_controller

_worker: Controller | None = None  # set once in a process
_serial = threading.local()
_shared_values: dict[str, Any] = {}  # of a program that is its own only worker, in whichever thread
_warned = threading.Event()


def install(controller: Controller) -> None:
    """Make *controller* this process's."""
    global _worker
    _worker = controller
    controller.watch_forks()


def running() -> Controller | None:
    """Return the controller of the worker that this process is, None outside a run."""
    return _worker


def current() -> Controller:
    """Return the controller to use here; outside a run all is done in this thread, after one warning."""
    if _worker is not None:
        return _worker
    controller: Controller | None = getattr(_serial, "controller", None)
    if controller is None:
        if not _warned.is_set():
            _warned.set()
            warnings.warn(
                "futures run one after the other, in this process: start the program with `scoop-hpc run PROGRAM` to "
                "run them on all CPUs, or on all nodes of a job",
                RuntimeWarning,
                stacklevel=_level_of_the_user(),
            )
        controller = _serial.controller = serial_controller(_shared_values)
    return controller


def _level_of_the_user() -> int:
    """Return the `stacklevel` of the first caller outside of this package, seen from who calls this function."""
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("scoop_hpc."):
        frame = frame.f_back
        level += 1
    return level
