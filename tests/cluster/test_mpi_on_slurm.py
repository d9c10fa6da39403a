"""MPI as the way to start on a real Slurm: ranks that srun starts become one run, and mpiexec brings the agents."""

from __future__ import annotations

import sys

from minicluster.state import HEAD
from under_test import SUBMIT, ClusterUnderTest

REACHED_BY = "eth0"  # the nodes have a docker0 too, with one address on all: MPICH's UCX would take that

HOSTS = """
import collections, os, socket, time
from scoop_hpc import futures

def where(i):
    open(f"met-{socket.gethostname()}-{os.getpid()}", "w").close()
    while sum(name.startswith("met-") for name in os.listdir()) < 8:  # until every worker has a task
        time.sleep(0.005)
    return socket.gethostname(), os.getpid()

if __name__ == "__main__":
    seen = set(futures.map(where, range(200), chunksize=1))
    print("ran", len(seen), *sorted({host for host, _ in seen}), "PMI_RANK" in os.environ)
    raise SystemExit(3)
"""


def test_the_ranks_of_srun_are_one_run(cluster: ClusterUnderTest) -> None:
    run = f"{sys.executable} -m scoop_hpc run {cluster.write(HOSTS)}"
    cluster.write(f"#!/bin/bash\nexport UCX_NET_DEVICES={REACHED_BY}\nsrun --mpi=pmi2 -n8 {run}\necho $?\n", "job.sh")
    sbatch = ["sbatch", "--wait", "-N4", "-n8", "--ntasks-per-node=2", "--output=job.out", "job.sh"]
    cluster.run(HEAD, sbatch, timeout=120)
    printed = (cluster.directory / "job.out").read_text()
    lines = printed.splitlines()
    ran = [line for line in lines if line.startswith("ran")]
    assert ran == [f"ran 8 {' '.join(cluster.nodes)} False"], printed
    assert lines[-1] == "3", printed


def test_mpiexec_starts_an_agent_on_each_node(cluster: ClusterUnderTest) -> None:
    done = cluster.scoop_hpc(*SUBMIT, "--launcher", "mpi", "--wait", str(cluster.write(HOSTS)), timeout=120)
    assert f"ran 8 {' '.join(cluster.nodes)} False\n" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 3
