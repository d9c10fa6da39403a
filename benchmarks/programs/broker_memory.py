"""Print the KiB that the broker of this node has for itself: at rest, after a map, after many submits."""

import os
from pathlib import Path

from scoop_hpc import futures


def nothing(x: int) -> int:
    """Return the argument."""
    return x


def unique_set_size() -> int:
    """Return the private memory of the broker [proc_pid_smaps(5)]."""
    agent = os.getppid()
    for pid in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
        if Path(f"/proc/{pid}/comm").read_text() == "scoop-broker\n":
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    raise SystemExit("no broker beside this process")


if __name__ == "__main__":
    futures.submit(nothing, 0).result()
    print(unique_set_size())
    assert sum(1 for _ in futures.map(nothing, range(100_000))) == 100_000
    print(unique_set_size())
    submitted = [futures.submit(nothing, n) for n in range(100_000)]
    assert [future.result() for future in submitted] == list(range(100_000))
    print(unique_set_size())
