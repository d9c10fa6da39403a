"""The program of `benchmarks.links`, for ``scoop-hpc run`` on two nodes: arrays to a worker of the other, and back."""

from __future__ import annotations

import json
import sys

from site_peer import Run
from site_program import all_workers, held, place
from site_workloads import echo_arrays

from scoop_hpc.worker import info


def main(words: list[str]) -> list[float]:
    """Return the seconds of each load, which is a word like ``200x1000000``: so many arrays of so many bytes."""
    peer = Run(info().size)
    workers = all_workers(peer)
    here = sum(where == place() for where, _ in workers)
    assert here < len(workers), "all workers are on the program's node"
    with held(peer, here):
        return [echo_arrays(peer, *map(int, word.split("x")))["seconds"] for word in words]


if __name__ == "__main__":
    print(json.dumps({"seconds": main(sys.argv[1:])}), flush=True)
