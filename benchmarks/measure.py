"""Timing commands, and showing the figures."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
SCOOP_HPC = [sys.executable, "-m", "scoop_hpc"]


def seconds(argv: Sequence[str]) -> float:
    """Run *argv* in a fresh process; return how long that took from start to end."""
    start = time.perf_counter()
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def printed(argv: Sequence[str]) -> list[float]:
    """Run *argv*; return the numbers that it printed."""
    done = subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    return [float(word) for word in done.stdout.split()]


def medians(measure: Sequence[Callable[[], float]], runs: int = 5) -> list[float]:
    """Return the median of *runs* figures of each measure, taken in turn: what disturbs one disturbs all."""
    figures = [[each() for each in measure] for _ in range(runs)]
    return [statistics.median(column) for column in zip(*figures)]


def show(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print a table."""
    print(title)
    for name, figure in rows:
        print(f"  {name:58} {figure}")
    print(flush=True)
