"""Strangers: processes that have the run's key but are no part of it. Each is reported once, for an invalid message."""

from __future__ import annotations

_MOST = 10  # lines: a process that makes up names can make up many
_SHOWN = 300  # characters of an error


def shortened(error: Exception) -> str:
    """Return what *error* says as a part of a line: it may show a message of any size.

    >>> len(shortened(ValueError(1000 * "x")))
    303
    """
    text = str(error)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


class Strangers:
    """The strangers that were reported."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def is_new(self, name: str) -> bool:
        """Note *name*; return whether to report it."""
        if name in self._names or len(self._names) >= _MOST:
            return False
        self._names.add(name)
        return True
