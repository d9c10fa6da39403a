"""A federation of many nodes on this machine: what each of them costs the others, in open files."""

from __future__ import annotations

import os

import pytest
from conftest import Runs

NODES = 64
AT_REST = 20  # open files of a broker whose connections to others have been closed
LINK = 2  # open files: of a connection to a peer, and of its connection here
PROGRAM = f"""
import os, time
from pathlib import Path
from scoop_hpc import futures

JOB = b"SCOOP_HPC_LOCAL_JOB_ID=" + os.environb[b"SCOOP_HPC_LOCAL_JOB_ID"] + b"\\0"

def brokers():
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and (process / "comm").read_text() == "scoop-broker\\n":
                if JOB in (process / "environ").read_bytes():
                    yield process
        except OSError:
            pass

def opened():
    return sorted(len(list((process / "fd").iterdir())) for process in brokers())

def work(number):
    time.sleep(0.2)
    return os.getppid()

if __name__ == "__main__":
    nodes = set(futures.map(work, range(10 * {NODES})))
    while len(nodes) < {NODES}:
        nodes |= set(futures.map(work, range(2 * {NODES})))
    files = opened()
    while opened()[-1] > {AT_REST}:
        time.sleep(0.5)
    print(len(nodes), len(files), files[len(files) // 2], files[-1])
"""


@pytest.fixture
def many_nodes(runs: Runs) -> Runs:
    """Runs that believe to be in a job of many nodes on this machine."""
    nodes = ",".join(f"n{number}:1" for number in range(NODES))
    runs.environ.update(SCOOP_HPC_LOCAL_JOB_ID=f"local-many{os.getpid()}", SCOOP_HPC_LOCAL_NODES=nodes)
    return runs


def test_all_of_many_nodes_work_and_a_broker_is_connected_to_few_others(many_nodes: Runs) -> None:
    done = many_nodes.run(many_nodes.write(PROGRAM))
    assert done.returncode == 0, done.stderr
    nodes, brokers, middle, most = map(int, done.stdout.split())
    assert (nodes, brokers) == (NODES, NODES)
    print(f"open files: {middle} of a broker in the middle, {most} at the most")
    assert middle <= 18 + 3 * LINK  # parent, origin, a neighbour
    assert most <= 18 + 16 * LINK + 4  # of the first: its children, who pass on outcomes of all others
