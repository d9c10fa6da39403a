"""Measure what losses cost: a run that goes on, the time until it does, and the memory that is kept for it.

::

    $ python -m benchmarks.losses                   # all of them, each in fresh processes
    $ python -m benchmarks.losses again --repeat 5

*guilty*        how much longer 10,000 calls take if three of them end their workers by a segmentation fault
*again*         from a worker's death to the start of its task in another one
*first-broker*  the first broker of 64 nodes, with 4,096 tasks under way that have 1 kB of arguments each

The exit status is 1 if a bound is not kept. When a node that falls silent counts as lost is a matter of time-outs:
``tests/cluster/test_cluster_losses.py`` powers one off.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import adopt_orphans, measure
from benchmarks.peers import PROGRAMS

_TIMEOUT = 300.0  # seconds
_NODES = 64

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """What is measured by some runs of the program losses.py with some *words*, and its *bound*."""

    title: str
    unit: str
    bound: float
    runs: tuple[tuple[str, ...], ...]  # the words of each, in turn
    value: Callable[[Sequence[Report]], float]
    options: tuple[str, ...] = ("-n", "4")
    environ: Mapping[str, str] | None = None


FIGURES = {
    "guilty": Figure(
        "10,000 calls of 2 ms of which 3 end their workers, and without these",
        "x",
        1.5,
        (("guilty", "10000", "17", "4711", "9999"), ("guilty", "10000")),
        lambda reports: float(reports[0]["seconds"] / reports[1]["seconds"]),
    ),
    "again": Figure(
        "from a worker's death to the start of its task in another, the longest of 20",
        "s",
        0.2,
        (("again", "20"),),
        lambda reports: float(max(reports[0]["seconds"])),
    ),
    "first-broker": Figure(
        f"memory of broker 0 of {_NODES} nodes, 4,096 tasks of 1 kB under way",
        "MB",
        64,
        (("first-broker", "4096", "1000", "10"),),
        lambda reports: float(reports[0]["bytes"] / 1e6),
        (),
        {"SCOOP_HPC_LOCAL_JOB_ID": "local-losses", "SCOOP_HPC_LOCAL_NODES": ",".join(f"n{n}:1" for n in range(_NODES))},
    ),
}


def taken(figure: Figure) -> float:
    """Measure *figure* once."""
    command = [sys.executable, "-m", "scoop_hpc", "run", *figure.options, str(PROGRAMS / "losses.py")]
    given = [] if figure.environ is None else ["env", *(f"{name}={text}" for name, text in figure.environ.items())]
    return figure.value([measure([*given, *command, *words], _TIMEOUT) for words in figure.runs])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; return 1 if a bound is not kept, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.losses")
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}; all")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, of which the median counts; 3")
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.figures if name not in FIGURES]
    if unknown or arguments.repeat < 1:
        what = (
            f"there is no figure {unknown[0]!r}: there are {', '.join(FIGURES)}" if unknown else "--repeat is from 1 on"
        )
        print(f"benchmarks.losses: {what}", file=sys.stderr)
        return 2
    adopt_orphans()
    kept = True
    for name in arguments.figures or FIGURES:
        figure = FIGURES[name]
        values = sorted(taken(figure) for _ in range(arguments.repeat))
        median = statistics.median(values)
        kept = kept and median <= figure.bound
        verdict = "reached" if median <= figure.bound else "NOT reached"
        spread = f"{values[0]:.3g} to {values[-1]:.3g}"
        print(
            f"{name:13} {median:8.3g} {figure.unit:3} ({spread}), at most {figure.bound:g}: {verdict}; {figure.title}"
        )
        sys.stdout.flush()
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
