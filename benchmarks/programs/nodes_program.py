"""The program that `benchmarks.nodes` runs: a first task, sleeps for all workers, and rest until it is told."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from scoop_hpc import futures

SECONDS = 0.5  # that a task takes
TASKS = 20  # for each worker


def nap(_: int) -> None:
    """Sleep as long as a task takes."""
    time.sleep(SECONDS)


def say(what: str, seconds: float) -> None:
    """Tell whoever measures."""
    print(what, seconds, flush=True)


if __name__ == "__main__":
    workers, told = int(sys.argv[1]), Path(sys.argv[2])
    futures.submit(abs, -1).result()
    say("first", time.time())
    began = time.monotonic()
    for _ in futures.map(nap, range(TASKS * workers)):
        pass
    say("mapped", time.monotonic() - began)
    while not told.exists():
        time.sleep(0.2)
    say("last", time.time())
