"""SCOOP's names, for programs that were written for it: inside a run, this is also the module ``scoop``.

::

    from scoop import futures, shared
    import scoop

    scoop.logger.info("%s of %d workers", scoop.worker, scoop.SIZE)

What is different in every worker (``IS_ORIGIN``, ``worker``, ...) is found out when it is read.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from scoop_hpc.protocol.names import ORIGIN
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.current import running

__version__ = "0.7"  # SCOOP's, whose names these are: programs ask for it
__revision__ = "2.0"
__author__ = ("the authors of scoop_hpc",)

CONFIGURATION = {"headless": False, "backend": "ZMQ"}
DEBUG = False  # there is no debug mode
SHUTDOWN_REQUESTED = False
TIME_BETWEEN_PARTIALDEBUG = 30
TIME_BETWEEN_STATUS_REPORTS = 25
TIME_BETWEEN_STATUS_PRUNING = 60

logger = logging.getLogger("scoop")  # each worker of a run has given it a level and a handler


class BrokerInfo(NamedTuple):
    """Where a broker is reached; the ports are 0, for on its own node it has none."""

    hostname: str
    task_port: int
    info_port: int
    externalHostname: str


def _main_module(_: Controller) -> str | None:
    return getattr(sys.modules.get("__main__"), "__file__", None)


_OF_A_WORKER: dict[str, Callable[[Controller], Any]] = {
    "BROKER": lambda controller: BrokerInfo(socket.gethostname(), 0, 0, socket.gethostname()),
    "IS_ORIGIN": lambda controller: controller.name == ORIGIN,
    "MAIN_MODULE": _main_module,
    "SIZE": lambda controller: controller.size,
    "VALID": lambda controller: True,
    "WORKING_DIRECTORY": lambda controller: os.getcwd(),
    # SCOOP's are b"address:port"; what is before the colon is the node here, too
    "worker": lambda controller: f"{socket.gethostname()}:{controller.name}".encode(),
}


def __getattr__(name: str) -> Any:
    if name == "IS_RUNNING":
        return is_running()
    if name not in _OF_A_WORKER:
        raise AttributeError(f"module 'scoop' has no attribute {name!r} here")
    controller = running()
    if controller is None:
        raise AttributeError(f"there is no {name!r} outside a run: start the program with `scoop-hpc run PROGRAM`")
    return _OF_A_WORKER[name](controller)


def __dir__() -> list[str]:
    return sorted([*globals(), *_OF_A_WORKER, "IS_RUNNING"])


def is_running() -> bool:
    """Return whether this process is a worker of a run."""
    return running() is not None
