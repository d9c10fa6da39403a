"""Measure what it costs a run that somebody looks at it: 64 nodes with 2 workers each, all of them on this machine.

::

    $ python -m benchmarks.viewers --repeat 3

*nobody*, ``scoop-hpc top`` in a terminal, and ``scoop-hpc web`` with a browser take turns, each in a run of its own, of
tasks that sleep 0.5 s, 20 for each worker. The first column is their time, at which the 10 s that they sleep are the
least; the second how much longer that is than where nobody looks, which may be 2 %; the third the part of a core that
the viewer has, its start with it, which may be 20 %. The exit status is 1 if it is more.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence

from benchmarks.measure import adopt_orphans, measure
from benchmarks.peers import PROGRAMS

NODES = 64
WORKERS = 2  # on each
EACH = 20  # tasks for a worker
SECONDS = 0.5  # that one sleeps
NOBODY = "nobody"
VIEWERS = (NOBODY, "top", "web")
MOST_LONGER = 1.02
MOST_OF_A_CORE = 0.2
_TIMEOUT = 300.0  # seconds


def taken(viewer: str) -> tuple[float, float]:
    """Run the tasks once; return the seconds they took, and the part of a core that the *viewer* had."""
    nodes = ",".join(f"n{number}:{WORKERS}" for number in range(NODES))
    environ = [f"SCOOP_HPC_LOCAL_JOB_ID=local-{viewer}", f"SCOOP_HPC_LOCAL_NODES={nodes}"]
    words = [viewer, str(NODES * WORKERS), str(EACH), str(SECONDS)]
    program = [sys.executable, "-m", "scoop_hpc", "run", str(PROGRAMS / "looked_at.py"), *words]
    report = measure(["env", *environ, *program], _TIMEOUT)
    return report["seconds"], report["viewer"]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; return 1 if a bound is not kept, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.viewers")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, of which the median counts; 3")
    arguments = parser.parse_args(argv)
    if arguments.repeat < 1:
        print(f"benchmarks.viewers: --repeat is {arguments.repeat}: it is from 1 on", file=sys.stderr)
        return 2
    adopt_orphans()
    values: dict[str, list[tuple[float, float]]] = {viewer: [] for viewer in VIEWERS}
    for _ in range(arguments.repeat):
        for viewer in VIEWERS:
            values[viewer].append(taken(viewer))
            print(f"{viewer}: {values[viewer][-1][0]:.3f} s", file=sys.stderr)
    alone = statistics.median(seconds for seconds, _ in values[NOBODY])
    kept = True
    for viewer in VIEWERS:
        seconds = statistics.median(seconds for seconds, _ in values[viewer])
        share = statistics.median(share for _, share in values[viewer])
        is_kept = seconds <= MOST_LONGER * alone and share <= MOST_OF_A_CORE
        kept = kept and is_kept
        verdict = "" if viewer == NOBODY else "reached" if is_kept else "NOT reached"
        print(f"{viewer:7} {seconds:7.3f} s  {100 * (seconds / alone - 1):+5.1f} %  {share:5.3f} of a core  {verdict}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
