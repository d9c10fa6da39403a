"""Walk a tree of tasks: each task makes its children and waits for them, so that futures wait for futures.

::

    scoop-hpc run examples/tree.py --depth 6 --children 3
"""

from __future__ import annotations

import argparse
import random

from scoop_hpc import futures


def leaf(path: tuple[int, ...], seed: int) -> int:
    """Return the number on the leaf at *path*."""
    return random.Random(f"{seed} {path}").randrange(100)


def total(path: tuple[int, ...], depth: int, children: int, seed: int) -> int:
    """Sum the leaves *depth* levels below *path*, one task per branch."""
    if depth == 0:
        return leaf(path, seed)
    branches = [futures.submit(total, (*path, child), depth - 1, children, seed) for child in range(children)]
    return sum(branch.result() for branch in branches)


def serial_total(path: tuple[int, ...], depth: int, children: int, seed: int) -> int:
    """Sum the same leaves without any task."""
    if depth == 0:
        return leaf(path, seed)
    return sum(serial_total((*path, child), depth - 1, children, seed) for child in range(children))


def main() -> None:
    parser = argparse.ArgumentParser(description="Sum the leaves of a tree of tasks.")
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--children", type=int, default=3, help="of each branch")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    tree = (), arguments.depth, arguments.children, arguments.seed
    found, wanted = total(*tree), serial_total(*tree)
    print(f"{arguments.children**arguments.depth} leaves, total {found}")
    if found != wanted:
        raise SystemExit(f"the total is {wanted}, not {found}")


if __name__ == "__main__":
    main()
