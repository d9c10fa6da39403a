"""Functions that are tasks of the benchmarks, and of `scoop-hpc bench`: workers find them by name, as the program's."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

HELD_AT_MOST = 300  # seconds


def nothing(x: int) -> int:
    """Return the argument."""
    return x


def echo(x: Any) -> Any:
    """Return the argument, which is large."""
    return x


def process_id(x: int) -> int:
    """Return the id of the process that this ran in."""
    return os.getpid()


def hold(directory: str) -> int:
    """Keep a worker occupied until there is a file ``release``; show that it is by a file named for its process."""
    Path(directory, f"held-{os.getpid()}").touch()
    deadline = time.monotonic() + HELD_AT_MOST
    while not Path(directory, "release").exists():
        if time.monotonic() > deadline:
            raise TimeoutError("nobody released this worker")
        time.sleep(0.01)
    return os.getpid()
