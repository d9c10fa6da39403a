"""Which of a worker's threads were replaced because a thread of the user's waits, which may be one of theirs."""

from __future__ import annotations

from collections.abc import Iterable


class Excuses:
    """The threads that are excused, each for what it runs, which is known by when that began.

    >>> excuses = Excuses()
    >>> excuses.excuse(7, since=100.0)
    >>> excuses.is_excused(7, since=100.0), excuses.is_excused(7, since=101.5), excuses.is_excused(7, since=0.0)
    (True, False, False)

    So it does not matter who is quicker: a thread that goes on, or the one that has found it blocked a moment before.
    An excuse that outlived what it was for would be counted as a thread that waits, and nobody replaced for that.
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def excuse(self, thread: int, since: float) -> None:
        """Note that a *thread* was replaced, which has run something *since* then."""
        self._since[thread] = since

    def is_excused(self, thread: int, since: float) -> bool:
        """Return whether a *thread* was replaced for what it has run *since* then; 0: it runs nothing."""
        return since > 0.0 and self._since.get(thread) == since

    def count(self, threads: Iterable[tuple[int, float]]) -> int:
        """Return how many of *threads*, each with since when it runs what it does, are excused."""
        return sum(self.is_excused(thread, since) for thread, since in threads)
