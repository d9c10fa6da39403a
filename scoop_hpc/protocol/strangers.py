"""Strangers: processes that have the run's key but are no part of it. Each is reported once, for an invalid message."""

from __future__ import annotations

_MOST = 10  # lines: a process that makes up names can make up many


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
