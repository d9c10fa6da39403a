"""Commands where they should not be, on a real Slurm: on the login node, and several times in one job."""

from __future__ import annotations

import sys

from minicluster.state import HEAD
from under_test import ClusterUnderTest

PROGRAM = "if __name__ == '__main__':\n    print('ran')\n"


def test_the_shell_of_a_heterogeneous_allocation_runs_nothing_on_the_login_node(cluster: ClusterUnderTest) -> None:
    run = [sys.executable, "-m", "scoop_hpc", "run", str(cluster.write(PROGRAM))]
    done = cluster.run(HEAD, ["salloc", "-N1", "-n1", ":", "-N1", "-n1", *run])
    said = [line for line in done.stderr.splitlines() if line.startswith("scoop-hpc:")]
    assert (done.returncode, done.stdout, len(said)) == (2, "", 1), done.stderr
    assert "heterogeneous" in said[0]


def test_two_copies_in_one_job_run_the_program_not_at_all(cluster: ClusterUnderTest) -> None:
    run = f"{sys.executable} -m scoop_hpc run {cluster.write(PROGRAM)}"
    cluster.write(f"#!/bin/bash\nsrun -n2 {run}\necho $?\nsrun -N1 -n1 {run}\n", "job.sh")
    cluster.run(HEAD, ["sbatch", "--wait", "-N2", "-n2", "--output=job.out", "job.sh"])
    lines = (cluster.directory / "job.out").read_text().splitlines()
    assert len([line for line in lines if "srun started 2 copies of this command" in line]) == 1, lines
    assert (lines.count("2"), lines.count("ran")) == (1, 1), lines


def test_a_terminal_of_several_tasks_is_one_shell(cluster: ClusterUnderTest) -> None:
    run = f"{sys.executable} -m scoop_hpc run {cluster.write(PROGRAM)}"
    done = cluster.run(HEAD, ["script", "--quiet", "--command", f"srun -N2 -n2 --pty {run}", "/dev/null"])
    assert done.stdout.count("ran") == 1, done.stdout  # beside it may be what the terminal echoes of srun's end of file
