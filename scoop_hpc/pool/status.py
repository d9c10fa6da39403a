"""How the calls and maps of an Executor stand, as it knows them itself: no worker is asked."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ExecutorStatus:
    """How the calls of an Executor stand; a chunk of a `map` is one call.

    The *state* is ``idle`` before the first call, then ``open``, and ``shut down`` or ``broken`` at the end.
    """

    state: str
    workers: int  # that are there: 0 until they have started
    queued: int = 0  # calls that no worker was sent yet
    under_way: int = 0  # calls that workers have: one that runs, and the next ones
    done: int = 0  # calls that have ended, failed ones among them
    failed: int = 0

    def shut_down(self) -> ExecutorStatus:
        """Return the same of an Executor that takes no more calls."""
        return replace(self, state="shut down")

    def __str__(self) -> str:
        """Describe it in a line.

        >>> print(ExecutorStatus("open", 4, queued=12, under_way=8, done=100, failed=2))
        open, 4 workers: 12 queued, 8 under way, 100 done, 2 failed
        """
        counts = f"{self.queued} queued, {self.under_way} under way, {self.done} done, {self.failed} failed"
        return f"{self.state}, {self.workers} workers: {counts}"


@dataclass(frozen=True, slots=True)
class Counted:
    """How far a map is, in items; *total* is None if their number is not known."""

    total: int | None
    done: int
    failed: int
    is_over: bool  # all are done, or nobody wants the others
