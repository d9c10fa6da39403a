"""Run many small MPI programs at once, each in a task: workers have a clean environment, however they were started.

::

    scoop-hpc run -n 4 examples/mpi_in_tasks.py --tasks 8
    mpiexec -n 4 scoop-hpc run examples/mpi_in_tasks.py --tasks 8

Each program is ``mpiexec -n 2`` of this file, in which the ranks sum up their shares of a series.
"""

from __future__ import annotations

import argparse
import math
import shlex
import subprocess
import sys

from scoop_hpc import futures


def be_rank(terms: int) -> None:
    """Sum up, over all ranks, so many terms of the series that ends at pi / 4; print it."""
    from mpi4py import MPI  # noqa: PLC0415  above, it would make a rank of every worker

    ranks = MPI.COMM_WORLD
    share = math.fsum((-1.0) ** k / (2 * k + 1) for k in range(ranks.rank, terms, ranks.size))
    total = ranks.reduce(share, op=MPI.SUM)
    if ranks.rank == 0:
        print(total)


def quarter_of_pi(terms: int, mpiexec: str) -> float:
    """Return the sum that an MPI program of two ranks finds."""
    argv = [*shlex.split(mpiexec), "-n", "2", sys.executable, __file__, "--rank", str(terms)]
    # without an input: mpiexec would take the worker's
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description="Find pi by MPI programs that tasks start.")
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--mpiexec", default="mpiexec", help="the command, with what it has to be told")
    parser.add_argument("--rank", type=int, metavar="TERMS", help="be a rank of such a program")
    arguments = parser.parse_args()
    if arguments.rank is not None:
        be_rank(arguments.rank)
        return
    terms = [1000 * 2**task for task in range(arguments.tasks)]
    sums = futures.map(quarter_of_pi, terms, [arguments.mpiexec] * len(terms))
    for count, found in zip(terms, sums, strict=True):
        print(f"{count} terms: {4 * found:.6f}")


if __name__ == "__main__":
    main()
