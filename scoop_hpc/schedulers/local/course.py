"""The course of a local job: what ends it from outside, when its script is warned, ended and killed, and its end.

A state machine: what was heard and the time go in, signals come out.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scoop_hpc.fields.units import format_walltime
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.local.processes import GRACE
from scoop_hpc.schedulers.local.states import State
from scoop_hpc.signal_names import signal_name

GRACE_OF_WALLTIME = 10.0  # seconds from SIGTERM to SIGKILL after a walltime; after all else it is GRACE
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Send:
    """Signals to send to a script, or to all processes of its group."""

    numbers: tuple[signal.Signals, ...]
    to_group: bool = True


def end_from_outside(job: State, is_cancelled: bool, received: Sequence[int], exceeded: int = 0) -> State | None:
    """Return how the job ends if it is to be ended now: *received* are signals to its supervisor, *exceeded* is its
    walltime if that is over."""
    if is_cancelled:
        return replace(job, state=JobState.CANCELLED, reason="cancelled")
    if exceeded:
        return replace(job, state=JobState.TIMEOUT, reason=f"its walltime of {format_walltime(exceeded)} is over")
    if received:
        name = signal.Signals(received[0]).name
        return replace(job, state=JobState.FAILED, reason=f"the job's supervisor was ended by {name}")
    return None


class Course:
    """The course of the script of *job*, which began at *now*; *warning* seconds before its end it gets SIGUSR1."""

    def __init__(self, job: State, walltime: int | None, warning: int | None, now: float) -> None:
        self.ended: State | None = None  # how the job ends, once that is decided from outside
        self._job = job
        self._walltime = walltime or 0
        self._over = _NEVER if walltime is None else now + walltime
        self._warn_at = _NEVER if warning is None else self._over - warning
        self._kill_at = _NEVER

    def step(self, is_cancelled: bool, received: Sequence[int], now: float) -> Send | None:
        """Take in what was heard since the last step; return what to send to the script."""
        if self.ended is not None:
            return Send((signal.SIGKILL,)) if now > self._kill_at else None
        self.ended = end_from_outside(self._job, is_cancelled, received, self._walltime if now > self._over else 0)
        if self.ended is not None:
            self._kill_at = now + (GRACE_OF_WALLTIME if self.ended.state is JobState.TIMEOUT else GRACE)
            return Send((signal.SIGTERM, signal.SIGCONT))
        if now > self._warn_at:
            self._warn_at = _NEVER
            return Send((signal.SIGUSR1,), to_group=False)
        return None

    def end(self, code: int) -> State:
        """Return how the job ended, in view of its script's exit code, which is negative for a signal."""
        exit_status = code if code >= 0 else 128 - code
        if self.ended is not None:
            return replace(self.ended, exit_status=exit_status)
        reason = f"ended by {signal_name(-code)}" if code < 0 else ""
        state = JobState.FAILED if code else JobState.COMPLETED
        return replace(self._job, state=state, exit_status=exit_status, reason=reason)
