"""`scoop.shared`: constants that every worker of a run may read."""

from __future__ import annotations

import concurrent.futures
from typing import Any

from scoop_hpc import shared
from scoop_hpc.compat.futures import travelling

__all__ = ["getConst", "setConst"]

_MISSING = (TimeoutError, concurrent.futures.TimeoutError, LookupError)  # the first two are one since Python 3.11


def setConst(**kwargs: Any) -> None:
    """Give each of *kwargs* to all workers; raise TypeError if there is such a constant already."""
    try:
        shared.set_const(**{name: travelling(value) for name, value in kwargs.items()})
    except ValueError as error:
        raise TypeError(str(error)) from error


def getConst(name: str, timeout: float | None = 0.1) -> Any:
    """Return the constant *name*; None if there is none within *timeout* seconds."""
    limit = None if timeout is None or timeout == float("inf") else timeout
    try:
        return shared.get_const(name, timeout=limit)
    except _MISSING:
        return None
