"""Four brokers on this machine: every task is run, once, wherever it goes."""

from __future__ import annotations

import pytest
from conftest import MEET, Runs

# a tree of tasks, each of which waits for its children in one way or another; each leaves a line behind
TREE = """
import os, random, sys, time
from scoop_hpc import futures

def grow(key, depth):
    with open("ran", "a") as ran:
        ran.write(key + "\\n")
    dice = random.Random(key)
    if dice.random() < 0.1:
        time.sleep(0.01)
    keys = [f"{key}.{child}" for child in range(dice.randrange(6))] if depth else []
    submit = lambda key: futures.submit(grow, key, depth - 1)
    way = dice.randrange(6)
    if way == 0:
        return 1 + sum(futures.map(grow, keys, [depth - 1] * len(keys)))
    if way == 1:
        return 1 + sum(future.result() for future in [submit(key) for key in keys])
    if way == 2:
        return 1 + sum(future.result() for future in futures.as_completed([submit(key) for key in keys]))
    if way == 3:
        return 1 + sum(future.result() for future in futures.wait([submit(key) for key in keys]).done)
    if way == 4:
        return 1 + sum(future.result(timeout=60) for future in [submit(key) for key in keys])
    return 1 + sum(submit(key).result() for key in keys)

if __name__ == "__main__":
    print(sum(futures.map(grow, [f"{sys.argv[1]}-{n}" for n in range(20)], [5] * 20)))
"""


@pytest.fixture
def four_nodes(runs: Runs) -> Runs:
    """Runs that believe to be in a job of four nodes on this machine."""
    runs.environ.update(SCOOP_HPC_LOCAL_JOB_ID="local-9", SCOOP_HPC_LOCAL_NODES="a:2,b:1,c:2,d:1")
    return runs


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_every_task_of_a_random_tree_runs_once(four_nodes: Runs, seed: str) -> None:
    done = four_nodes.run(four_nodes.write(TREE), seed)
    assert done.returncode == 0, done.stderr
    ran = (four_nodes.directory / "ran").read_text().split()
    assert len(ran) == len(set(ran)) == int(done.stdout)


def test_run_that_ends_while_nodes_still_report_ends_quietly(four_nodes: Runs) -> None:
    done = four_nodes.run(four_nodes.write("import sys\nsys.exit(3)\n"))
    assert done.returncode in (2, 3)  # whichever is first: a worker's complaint, or the origin's end
    assert [line for line in done.stderr.splitlines() if "__main__" not in line and "CPUs" not in line] == []
    assert list(four_nodes.temporary.iterdir()) == []


def test_task_created_on_one_node_runs_on_every_other(four_nodes: Runs) -> None:
    program = (
        "import os, time\nfrom scoop_hpc import futures\n"
        + MEET
        + "def where(n):\n    meet(os.getppid(), 4)\n    return os.getppid()\n"
        "def spread():\n    return {f.result() for f in [futures.submit(where, n) for n in range(80)]}\n"
        "if __name__ == '__main__':\n    print(len(futures.submit(spread).result()))\n"
    )
    done = four_nodes.run(four_nodes.write(program))
    assert (done.stdout, done.returncode) == ("4\n", 0), done.stderr
