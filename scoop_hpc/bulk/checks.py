"""What is checked of the arguments of maps, and of other calls that wait for many results."""

from __future__ import annotations

import operator
import sys
import time
from typing import Any

from scoop_hpc.errors import InputError


def checked_count(name: str, value: Any) -> int | None:
    """Return *value* as an integer; raise TypeError or ValueError if it is neither None nor one from 1 on.

    It may be one of numpy's, and larger than any sequence.
    """
    if value is None:
        return None
    try:
        count = int(operator.index(value))
    except TypeError:
        raise TypeError(f"{name} is {value!r}: it must be an integer or None") from None
    if count < 1:
        raise InputError(f"{name} is {value!r}: it must be at least 1")
    return min(count, sys.maxsize)


def deadline_in(timeout: Any) -> float | None:
    """Return when *timeout* seconds are over, None for never; raise TypeError if it is neither a number nor None."""
    try:
        return None if timeout is None else time.monotonic() + timeout
    except TypeError:
        raise TypeError(f"timeout is {timeout!r}: it must be a number of seconds or None") from None
