"""Processes that have the run's key, are no part of it, and send what has no meaning: each is told of once."""

from __future__ import annotations

_MOST = 10  # lines: who makes up names can make up many


class Strangers:
    """The names that were told of."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def is_new(self, name: str) -> bool:
        """Note *name*; return whether it is to be told of."""
        if name in self._names or len(self._names) >= _MOST:
            return False
        self._names.add(name)
        return True
