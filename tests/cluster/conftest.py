"""The clusters that the tests of this directory share: each up once, when first asked for, and down at the end.

Each process of pytest-xdist has clusters of its own. With ``--dist loadgroup`` two of them share the tests of Slurm,
one takes those of Grid Engine, and one those that want both: jobs wait more than they compute, so other tests run
meanwhile.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from holder import held
from minicluster import packages, sge
from minicluster.cluster import Cluster
from minicluster.scheduler import SCHEDULERS
from minicluster.state import HEAD
from under_test import ClusterUnderTest, signal_if_there

SKIP = "SCOOP_HPC_SKIP_CLUSTER"
HERE = Path(__file__).parent
# modules whose tests take half of the time that all those of Slurm take
OF_THE_SECOND_SLURM = {"test_ends", "test_jobs_of_slurm", "test_hostlist_slurm", "test_network", "test_looks"}


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the marks by the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests by the clusters that they want."""
    for item in items:
        if isinstance(item, pytest.Function) and item.path.is_relative_to(HERE):
            group = _group(set(item.fixturenames), item.path.stem)
            if group:
                item.add_marker(pytest.mark.xdist_group(group))


def _group(fixtures: set[str], module: str) -> str:
    """Return the name of the group of a test of *module* that has these *fixtures*, "" where it wants no cluster."""
    if "site" in fixtures or {"machine", "grid_machine"} <= fixtures:
        return "both"
    if "machine" in fixtures:
        return "slurm-2" if module in OF_THE_SECOND_SLURM else "slurm-1"
    return "grid-engine" if "grid_machine" in fixtures else ""


@pytest.fixture(scope="session")
def all_packages() -> None:
    """Install whatever any cluster needs, before one is up: a package may add a user.

    Then /etc/passwd is another file, and what the hosts have mounted in its place is gone.
    """
    _need_root()
    for scheduler in SCHEDULERS.values():
        packages.ensure(scheduler.packages)


@pytest.fixture(scope="session")
def machine(all_packages: None) -> Iterator[Cluster]:
    """Hold a Slurm of four nodes of four CPUs."""
    with held() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def grid_machine(all_packages: None) -> Iterator[Cluster]:
    """Hold a Grid Engine of four nodes of four slots, whose names are not those of Slurm's."""
    with held("--scheduler=sge", "--prefix=exec") as cluster:
        yield cluster


@pytest.fixture
def cluster(machine: Cluster) -> Iterator[ClusterUnderTest]:
    """Slurm with no job on it, and a directory of this test's own."""
    with _under_test(machine) as cluster:
        yield cluster


@pytest.fixture
def grid(grid_machine: Cluster) -> Iterator[ClusterUnderTest]:
    """Grid Engine with no job on it, and a directory of this test's own."""
    # execution daemons look every 30 s for a qmaster that another test has killed
    grid_machine.wait_usable(grid_machine.nodes, time.monotonic() + 60)
    with _under_test(grid_machine) as cluster:
        yield cluster


@pytest.fixture
def uneven_grid(grid: ClusterUnderTest) -> Iterator[ClusterUnderTest]:
    """Grid Engine with one slot on the first node, two on the second, three and four on the others."""
    cpus = grid.machine.state.settings.cpus
    grid.check(HEAD, sge.set_slots(grid.nodes, cpus, (1, 2, 3, 4)))
    yield grid
    grid.check(HEAD, sge.set_slots(grid.nodes, cpus))


def _need_root() -> None:
    if os.environ.get(SKIP) == "1":
        pytest.skip(f"{SKIP}=1")
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.fail(f"the cluster tests need Linux and root; {SKIP}=1 leaves them out")


@contextmanager
def _under_test(machine: Cluster) -> Iterator[ClusterUnderTest]:
    directory = Path(tempfile.mkdtemp(dir=machine.shared))
    directory.chmod(0o755)
    under_test = ClusterUnderTest(machine, directory)
    yield under_test
    machine.delete_jobs()
    for _, process in under_test.all_processes():  # a failed test's; the next one starts on a clean cluster
        signal_if_there(process.outer_pid, signal.SIGKILL)
    under_test.remove_leftovers()
