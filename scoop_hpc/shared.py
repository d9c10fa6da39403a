"""Constants that all workers of a run share: set once, read everywhere.

    >>> from scoop_hpc import shared
    >>> def main(table):
    ...     shared.set_const(table=table)      # once `set_const` has returned, every worker sees it
    >>> def task(key):
    ...     return shared.get_const("table")[key]

A constant crosses the network once for each node, and is unpickled once in each worker. It may be a function, too, also
one made at run time. Nobody sees it if a worker changes its copy.
"""

from __future__ import annotations

from typing import Any

from scoop_hpc.worker.current import current

__all__ = ["get_const", "set_const"]


def set_const(**constants: Any) -> None:
    """Set constants for all workers, all of them or none; once this returns, `get_const` finds them everywhere.

    Raises `scoop_hpc.errors.ConstantError`, a ValueError, if one is set already, by whomever, and
    `scoop_hpc.errors.UnpicklableError` if one cannot be sent to other workers.
    """
    current().shared_values.set(constants)


def get_const(name: str, timeout: float | None = 0.0) -> Any:
    """Return the constant *name*; if it is not set, wait up to *timeout* seconds until it is, for ever if that is None.

    The same object is returned every time. Raises `scoop_hpc.errors.ConstantError`, a LookupError, if there is none.
    """
    return current().shared_values.get(name, timeout)
