"""Tasks per second with two workers, against multiprocessing with two."""

from __future__ import annotations

import sys

from benchmarks.measure import PROGRAMS, SCOOP_HPC, medians, printed, show

RUN = [*SCOOP_HPC, "run", "-n", "2"]


def main() -> None:
    """Measure map, submit and nested tasks."""
    peer = [sys.executable, str(PROGRAMS / "pool.py")]
    rows = []
    for name, title, count in (
        ("map", "map of 100,000 no-ops", 100_000),
        ("submit", "5,000 submits of a no-op, gathered", 5_000),
    ):
        ours, theirs = medians(
            [
                lambda name=name: printed([*RUN, str(PROGRAMS / "work.py"), name])[0],  # type: ignore[misc]
                lambda name=name: printed([*peer, name])[0],  # type: ignore[misc]
            ]
        )
        rows.append((title, f"{count / ours:12,.0f} tasks/s, {theirs / ours:6.1f} x multiprocessing.Pool"))
    (fib,) = medians([lambda: printed([*SCOOP_HPC, "run", "-n", "4", str(PROGRAMS / "work.py"), "fib"])[0]])
    rows.append(("fib(20), a task per call, 4 workers", f"{21_891 / fib:12,.0f} tasks/s, {fib:.2f} s"))
    show("tasks", rows)
