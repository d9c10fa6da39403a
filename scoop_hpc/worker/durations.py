"""How long functions keep a worker deaf: the guess that decides what stays local and how much is asked for.

Deaf is the time between two looks at the link. It is short for a task that often submits or waits, however long it
lasts in all. The guess is a maximum that decays, so that a function that is mostly quick and now and then slow counts
as slow; a function never seen counts as slow, too.
"""

from __future__ import annotations

from collections.abc import Hashable

SHORT = 0.001  # seconds: a call that keeps its worker deaf for less may wait behind others of its kind
_DECAY = 0.9  # for each call
_BATCH = 64  # tasks asked for at once, at the most


class Durations:
    """What one worker knows of functions, each called by a key."""

    def __init__(self) -> None:
        self._deaf: dict[Hashable, float] = {}  # seconds
        self._usual = SHORT  # the same over all functions of late

    def learn(self, key: Hashable, deaf: float) -> None:
        """Note that a call of *key* kept a worker deaf for so many seconds."""
        self._deaf[key] = max(deaf, _DECAY * self._deaf.get(key, 0.0))
        self._usual = max(deaf, _DECAY * self._usual, 1e-6)

    def short(self, key: Hashable) -> bool:
        """Whether the next call of *key* is likely to be short."""
        return self._deaf.get(key, 1.0) <= SHORT

    def batch(self) -> int:
        """Return how many tasks of the usual kind take not much longer than one short one."""
        return min(_BATCH, 1 + int(SHORT / self._usual))
