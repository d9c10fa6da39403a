"""What measurements come to: figures of several runs, and whether a target is reached."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from scoop_hpc.bench.rows import shown as shown

OURS = "scoop_hpc"
TRACED = "traced"  # a run with --trace
BY_MPI = "by-mpi"  # a run whose agents mpiexec brings
BEFORE, EXECUTOR_BEFORE = "before", "Executor-before"  # both of another build of ours
EXECUTOR = "Executor"  # ours, too: the pool of a program that nobody started by scoop-hpc run


@dataclass(frozen=True)
class Figures:
    """What one peer did in one row: a value for each run, or why there is none."""

    values: tuple[float, ...] = ()
    failure: str = ""  # "not installed", "timed out after 120 s", "failed: ..."
    note: str = ""

    def __post_init__(self) -> None:
        if not self.values and not self.failure:
            raise ValueError("figures need values, or a failure")

    @property
    def median(self) -> float:
        """The middle value; what is compared."""
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def most(self) -> float:
        """The largest value."""
        return max(self.values)


Measured = Mapping[str, Mapping[str, Figures]]  # row -> peer -> figures


@dataclass(frozen=True)
class Target:
    """What scoop_hpc has to reach: *factor*, or *factor* times what *peer* did in the same row, or in *row*.

    It is reached, or not, by *whose*: a run, or an `EXECUTOR`.
    """

    factor: float
    peer: str = ""
    row: str = ""
    whose: str = OURS

    def text(self, unit: str, more_is_better: bool) -> str:
        """Return the target as it is printed.

        >>> Target(4, "multiprocessing").text("tasks/s", True)
        '>= 4 x multiprocessing'
        >>> Target(1 / 15, "scoop").text("ms", False)
        '<= scoop / 15'
        """
        sign = ">=" if more_is_better else "<="
        if not self.peer:
            return f"{sign} {shown(self.factor)} {unit}"
        of = f"{self.peer} in {self.row}" if self.row else self.peer
        if self.factor == 1:
            return f"{sign} {of}"
        parts = round(1 / self.factor)
        return f"{sign} {of} / {parts}" if parts > 1 and self.factor == 1 / parts else f"{sign} {self.factor:g} x {of}"


@dataclass(frozen=True)
class Verdict:
    """Whether a target is reached: *ratio* is 1 where it just is, and more where it is by far."""

    ratio: float | None
    reason: str = ""  # why there is no ratio

    @property
    def reached(self) -> bool:
        """Whether it is; not, if that is not known."""
        return self.ratio is not None and self.ratio >= 1

    def text(self) -> str:
        """Return the verdict as it is printed."""
        if self.ratio is None:
            return f"unknown: {self.reason}"
        return f"{'reached' if self.reached else 'not reached'} ({rounded_down(self.ratio)})"


def judge(target: Target, row: str, more_is_better: bool, measured: Measured) -> Verdict:
    """Return the verdict on *target* of *row*."""
    ours = measured[row].get(target.whose)
    if ours is None or ours.failure:
        return Verdict(None, f"{target.whose} was not measured" if ours is None else f"{target.whose} {ours.failure}")
    bound = target.factor
    if target.peer:
        other = measured.get(target.row or row, {}).get(target.peer)
        if other is None or other.failure:
            of = f"{target.peer} in {target.row}" if target.row else target.peer
            return Verdict(None, f"{of} was not measured" if other is None else f"{of}: {other.failure}")
        bound *= other.median
    return Verdict(ratio(ours.median, bound, more_is_better))


def ratio(value: float, other: float, more_is_better: bool) -> float:
    """Return how many times better *value* is than *other*.

    >>> ratio(0.25, 0.5, more_is_better=False)
    2.0
    """
    better, worse = (value, other) if more_is_better else (other, value)
    if worse <= 0:  # a memory that did not grow, a time below the clock's grain
        return 1.0 if better <= 0 else math.inf
    return max(0.0, better / worse)


def rounded_down(ratio: float) -> str:
    """Return a ratio with two digits after the point, rounded down: 0.999 is no 1.00.

    >>> rounded_down(0.999), rounded_down(123.4)
    ('0.99 x', '123 x')
    """
    if math.isinf(ratio):
        return "inf x"
    return f"{math.floor(ratio):,} x" if ratio >= 100 else f"{math.floor(100 * ratio) / 100:.2f} x"
