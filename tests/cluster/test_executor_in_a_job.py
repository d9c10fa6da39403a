"""An Executor of a plain Python script, in a job that knows nothing of scoop_hpc."""

from __future__ import annotations

import re
import sys

from minicluster.state import HEAD
from under_test import ClusterUnderTest

SCRIPT = """
import collections, socket, time
from scoop_hpc import Executor, futures

def where(i):
    time.sleep(0.02)
    return socket.gethostname()

def nested(n):
    return n if n < 2 else sum(future.result() for future in [futures.submit(nested, n - k) for k in (1, 2)])

with Executor() as executor:
    for host, tasks in sorted(collections.Counter(executor.map(where, range(200))).items()):
        print(host, tasks > 0)
    print(executor.submit(nested, 12).result(), flush=True)
    {}
"""


def start(cluster: ClusterUnderTest, last: str, *options: str) -> str:
    """Submit a job that runs the script; return its id."""
    script = cluster.write(SCRIPT.format(last))
    job = cluster.write(f"#!/bin/sh\nexec {sys.executable} {script}\n", "own.sh")
    argv = ["sbatch", *options, "--parsable", "-N4", "--ntasks-per-node=2", "-c2", "--output=own.out", str(job)]
    return cluster.check(HEAD, argv).strip()


def test_executor_in_a_job_reaches_all_its_nodes(cluster: ClusterUnderTest) -> None:
    start(cluster, "", "--wait")
    expected = "".join(f"{node} True\n" for node in cluster.nodes) + "144\n"
    assert cluster.output("own.out") == expected
    cluster.wait_until_clean()


def test_no_key_of_an_executor_is_in_any_argv_and_scancel_leaves_nothing(cluster: ClusterUnderTest) -> None:
    job = start(cluster, "list(executor.map(time.sleep, [300] * 20))")
    output = cluster.directory / "own.out"
    cluster.wait_until(lambda: output.exists() and "144\n" in output.read_text(), 60, "the tasks sleep")
    for _, process in cluster.all_processes():
        assert not any(re.search(r"[^ /]{40}", word) for word in process.argv if "import" not in word), process
    cluster.check(HEAD, ["scancel", job])
    cluster.wait_until_clean()
