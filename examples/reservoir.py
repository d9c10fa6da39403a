"""Follow the level of a reservoir through years of random weather: a scan by a reduction that does not commute.

::

    scoop-hpc run examples/reservoir.py --years 30

Every day the level changes by what runs in and is drawn off, but it stays between empty and full. So a day, and as
well a month or a year, is a function ``level -> min(most, max(least, level + change))``, and two of them after one
another are another one: that is the reduction. The scan gives the function of all days up to each.
"""

from __future__ import annotations

import argparse
import random
from functools import partial
from typing import NamedTuple

from scoop_hpc import futures

FULL = 500_000  # cubic metres
DRAWN = 10_700  # on a day


class Change(NamedTuple):
    """What some days do to the level."""

    change: int
    least: int
    most: int

    def applied(self, level: int) -> int:
        """Return the level after these days."""
        return min(self.most, max(self.least, level + self.change))


def day(seed: int, number: int) -> Change:
    """Simulate the weather of one day, hour by hour."""
    dice = random.Random(f"{seed} {number}")
    wet = 0.3 if number % 365 < 180 else 0.15
    inflow = sum(dice.expovariate(1 / 2000) for _ in range(24) if dice.random() < wet)
    return Change(round(inflow) - DRAWN, 0, FULL)


def then(first: Change, second: Change) -> Change:
    """Return what the days of *first* and then those of *second* do."""
    return Change(first.change + second.change, second.applied(first.least), second.applied(first.most))


def main() -> None:
    parser = argparse.ArgumentParser(description="Follow the level of a reservoir.")
    parser.add_argument("--years", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    empty = full = 0
    level = FULL // 2
    for change in futures.map_scan(partial(day, arguments.seed), then, range(365 * arguments.years)):
        level = change.applied(FULL // 2)
        empty += level == 0
        full += level == FULL
    print(f"{365 * arguments.years} days: empty on {empty}, full on {full}, {level} m3 at the end")


if __name__ == "__main__":
    main()
