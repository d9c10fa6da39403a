"""The workers of a Slurm job know their places, and have their shares of its nodes."""

from __future__ import annotations

import json
import os

from under_test import SUBMIT, ClusterUnderTest

PLACES = """
import json, os, time
from scoop_hpc import futures, worker

def place(n):
    open(f"met-{n}", "w").close()
    while sum(name.startswith("met-") for name in os.listdir()) < 8:
        time.sleep(0.01)
    own = worker.info()
    of_slurm = [int(os.environ[f"SLURM_{name}"]) for name in ("PROCID", "LOCALID", "NODEID")]
    return own.rank, own.node, own.local_rank, own.size, of_slurm, own.cpus

if __name__ == "__main__":
    print(json.dumps(sorted(futures.map(place, range(8), chunksize=1))))
"""


def test_workers_on_four_nodes_are_counted_and_bound(cluster: ClusterUnderTest) -> None:
    program = cluster.write(PLACES)
    words = ("--bind", "cores", "--nice", "1", "--patience", "90", "--label", "--wait", str(program))
    done = cluster.scoop_hpc(*SUBMIT, *words, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "[[" in line]
    label, bracket, rest = line.partition("[[")
    assert cluster.nodes[0] in label  # --label puts it there
    places = json.loads(bracket + rest)
    assert [place[:5] for place in places] == [
        [rank, cluster.nodes[rank // 2], rank % 2, 8, [rank, rank % 2, rank // 2]] for rank in range(8)
    ]
    granted = os.sched_getaffinity(0)  # the nodes are namespaces of this machine, with all of its CPUs
    for first, second in zip(places[::2], places[1::2]):
        assert set(first[5]) | set(second[5]) == granted
        assert len(granted) < 2 or not set(first[5]) & set(second[5])
