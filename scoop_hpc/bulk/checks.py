"""What is checked of the arguments of maps, and of other calls that wait for many results."""

from __future__ import annotations

import time
from typing import Any

from scoop_hpc.errors import InputError


def check_count(name: str, value: Any) -> None:
    """Raise TypeError or ValueError if *value* is neither None nor an integer from 1 on."""
    if value is None:
        return
    if not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}: it must be an integer or None")
    if value < 1:
        raise InputError(f"{name} is {value!r}: it must be at least 1")


def deadline_in(timeout: Any) -> float | None:
    """Return when *timeout* seconds are over, None for never; raise TypeError if it is neither a number nor None."""
    try:
        return None if timeout is None else time.monotonic() + timeout
    except TypeError:
        raise TypeError(f"timeout is {timeout!r}: it must be a number of seconds or None") from None
