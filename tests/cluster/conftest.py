"""The cluster that the tests of this directory share: up once, down at the end whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from minicluster.cluster import Cluster, find
from minicluster.state import HEAD
from under_test import ClusterUnderTest, shared_below_tmp

HERE = Path(__file__).parent
SKIP = "SCOOP_HPC_SKIP_CLUSTER"


@pytest.fixture(scope="session")
def machine() -> Iterator[Cluster]:
    """Hold a cluster of four nodes of four CPUs: it ends with this process, however that ends."""
    if os.environ.get(SKIP) == "1":
        pytest.skip(f"{SKIP}=1")
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.fail(f"the cluster tests need Linux and root; {SKIP}=1 leaves them out")
    directory = Path(tempfile.mkdtemp(prefix="scoop-test-", dir="/run"))
    directory.rmdir()  # the name was what is wanted
    argv = [
        sys.executable,
        "-m",
        "minicluster",
        "--dir",
        str(directory),
        "hold",
        *(f"--shared={path}" for path in shared_below_tmp()),
    ]
    holder = subprocess.Popen(
        argv,
        cwd=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert holder.stdout is not None
    if not holder.stdout.readline():
        pytest.fail(f"no cluster: {holder.communicate()[1]}")
    try:
        yield find(directory)
    finally:
        holder.communicate(timeout=60)


@pytest.fixture
def cluster(machine: Cluster) -> Iterator[ClusterUnderTest]:
    """The cluster with no job on it, and a directory of this test's own."""
    directory = Path(tempfile.mkdtemp(dir=machine.shared))
    directory.chmod(0o755)
    under_test = ClusterUnderTest(machine, directory)
    yield under_test
    machine.run(HEAD, ["scancel", "--user=root"])
    under_test.wait_until(
        lambda: not machine.run(HEAD, ["squeue", "--noheader"]).stdout, 30, "no job is left in the queue"
    )
    for _, process in under_test.all_processes():  # a failed test's; the next one starts on a clean cluster
        _kill(process.outer_pid)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return
