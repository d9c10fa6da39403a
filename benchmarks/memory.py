"""Memory of the broker before and after 100,000 tasks of a map, and after as many single submits."""

from __future__ import annotations

import statistics

from benchmarks.measure import PROGRAMS, SCOOP_HPC, printed, show


def main() -> None:
    """Measure with two workers."""
    run = [*SCOOP_HPC, "run", "-n", "2", str(PROGRAMS / "broker_memory.py")]
    rest, mapped, submitted = map(statistics.median, zip(*(printed(run) for _ in range(3))))
    show(
        "memory of the broker, unique set size",
        [
            ("at rest", f"{rest / 1024:.1f} MiB"),
            ("after map of 100,000 no-ops", f"{mapped / 1024:.1f} MiB, {(mapped - rest):+.0f} KiB"),
            ("after 100,000 submits of a no-op", f"{submitted / 1024:.1f} MiB, {(submitted - rest):+.0f} KiB"),
        ],
    )
