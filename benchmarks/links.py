"""`python -m benchmarks.links`: arrays from one node to another and back, in a real Slurm of two namespaces.

::

    $ python -m benchmarks.links --repeat 3

A run, with all workers of its program's node held, and raw ZeroMQ take turns, each in an allocation of its own: pyzmq
with CURVE over TCP, which copies nothing but where it encrypts. Four arrays are under way at a time; the figures count
one way, in MB/s. A run has to reach 0.8 of the other's; the exit status is 1 if it does not. As root, on Debian.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import OURS, Figures, Target, judge, shown
from benchmarks.measure import last_report
from benchmarks.nodes import CLUSTER, ROOT, hold, minicluster
from benchmarks.peers import PROGRAMS, search_path

RAW = "raw"
_TARGET = Target(0.8, RAW)
_UNIT = "MB/s"
_TIMEOUT = 300.0  # seconds, for one of them


@dataclass(frozen=True, slots=True)
class Load:
    """So many arrays of so many bytes."""

    count: int
    size: int

    def word(self) -> str:
        """Return it as the programs are told."""
        return f"{self.count}x{self.size}"


LOADS = (Load(200, 1_000_000), Load(20, 50_000_000))
QUICK = (Load(8, 100_000), Load(4, 400_000))


def commands(shared: Path) -> Mapping[str, list[str]]:
    """Return the command of each; those of raw ZeroMQ find each other by a file in *shared*."""
    return {
        OURS: [sys.executable, "-m", "scoop_hpc", "run", str(PROGRAMS / "links_program.py")],
        RAW: ["srun", "--ntasks=2", sys.executable, str(PROGRAMS / "links_raw.py"), str(shared / "address")],
    }


def taken(directory: Path, who: str, loads: Sequence[Load]) -> list[float]:
    """Return what *who* reaches for each of *loads* in the cluster in *directory*."""
    salloc = ["salloc", "--quiet", "--nodes=2", "--ntasks-per-node=1", "--time=30"]
    words = [*salloc, *commands(directory / "shared")[who], *(load.word() for load in loads)]
    argv = minicluster("--dir", str(directory), "run", "head", "--", "env", f"PYTHONPATH={search_path(ROOT)}", *words)
    done = subprocess.run(argv, cwd=CLUSTER, stdout=subprocess.PIPE, text=True, timeout=_TIMEOUT, check=False)
    report = last_report(done.stdout)
    if done.returncode or report is None:
        raise SystemExit(f"{who} ended with status {done.returncode}, and said {done.stdout!r}")
    return [load.count * load.size / seconds / 1e6 for load, seconds in zip(loads, report["seconds"])]


def verdicts(loads: Sequence[Load], values: Mapping[str, Sequence[Sequence[float]]]) -> tuple[list[str], bool]:
    """Return a line for each load, and whether all are reached; *values* are those of each run, by who it was."""
    lines, reached = [], True
    for place, load in enumerate(loads):
        figures = {who: Figures(tuple(run[place] for run in runs)) for who, runs in values.items()}
        verdict = judge(_TARGET, "link", True, {"link": figures})
        reached = reached and verdict.reached
        told = [f"{who} {shown(each.median)} {_UNIT} ({_spread(each)})" for who, each in figures.items()]
        target = _TARGET.text(_UNIT, True)
        lines.append(f"{load.count:3} x {load.size:10,} bytes: {', '.join(told)}; {target}: {verdict.text()}")
    return lines, reached


def _spread(figures: Figures) -> str:
    return f"{shown(figures.least)} to {shown(figures.most)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; return 1 if the target is not reached, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.links")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, of which the median counts; 3")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    arguments = parser.parse_args(argv)
    if arguments.repeat < 1:
        print(f"benchmarks.links: --repeat is {arguments.repeat}: it is from 1 on", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print(
            "benchmarks.links: its nodes are network namespaces, which only root can make: run it as root",
            file=sys.stderr,
        )
        return 2
    loads = QUICK if arguments.quick else LOADS
    directory = Path(f"/run/scoop-bench-{os.getpid()}")
    values: dict[str, list[list[float]]] = {OURS: [], RAW: []}
    with hold(directory, 2):
        for _ in range(arguments.repeat):
            for who, runs in values.items():
                runs.append(taken(directory, who, loads))
                told = ", ".join(f"{shown(value)} {_UNIT}" for value in runs[-1])
                print(f"{who}: {told}", file=sys.stderr, flush=True)
    lines, reached = verdicts(loads, values)
    print(*lines, sep="\n")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
