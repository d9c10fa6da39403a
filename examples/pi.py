"""Estimate pi: throw darts at a square, count those in the circle.

::

    scoop-hpc run examples/pi.py
    scoop-hpc submit --nodes 4 --workers-per-node 2 --wait examples/pi.py --tasks 400 --hosts
"""

from __future__ import annotations

import argparse
import math
import random
import socket
from collections import Counter
from typing import NamedTuple

from scoop_hpc import futures


class Throws(NamedTuple):
    """What one task found, and where it ran."""

    hits: int
    host: str


def throw(seed: int, samples: int) -> Throws:
    """Throw *samples* darts; count those within the circle."""
    dice = random.Random(seed)
    hits = sum(math.hypot(dice.random(), dice.random()) <= 1 for _ in range(samples))
    return Throws(hits, socket.gethostname())


def main() -> None:
    parser = argparse.ArgumentParser(description="Estimate pi.")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--samples", type=int, default=20_000, help="darts per task")
    parser.add_argument("--seed", type=int, default=1, help="of the first task")
    parser.add_argument("--hosts", action="store_true", help="show how many tasks each host ran")
    arguments = parser.parse_args()

    seeds = range(arguments.seed, arguments.seed + arguments.tasks)
    thrown = list(futures.map(throw, seeds, [arguments.samples] * arguments.tasks))
    darts = arguments.tasks * arguments.samples
    estimate = 4 * sum(throws.hits for throws in thrown) / darts
    print(f"pi is about {estimate:.6f} ({darts} darts)")
    if arguments.hosts:
        for host, tasks in sorted(Counter(throws.host for throws in thrown).items()):
            print(host, tasks)
    # five standard deviations of the mean of that many darts
    if abs(estimate - math.pi) > 5 * math.sqrt(math.pi * (4 - math.pi) / darts):
        raise SystemExit(f"{estimate} is too far from pi")


if __name__ == "__main__":
    main()
