"""A command that mpiexec, or srun, has started several times: the ranks become one run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol

from scoop_hpc.launchers.base import Launcher
from scoop_hpc.mpi.world import World, read_mpiexec
from scoop_hpc.schedulers.allocation import Allocation
from scoop_hpc.schedulers.copies import read_copy

PATIENCE = 60.0  # seconds


class Ranks(Protocol):
    """The nodes of all ranks, for the one of them that becomes the driver; what they have to do ends with the block."""

    def __enter__(self) -> Ranks: ...

    def __exit__(self, *error: BaseException | TracebackType | type | None) -> None: ...

    def allocation(self, given: Allocation | None) -> Allocation:
        """Return the allocation of the ranks, a slot for each; *given* is that of the job around them, if any."""
        ...

    def launcher(self) -> Launcher:
        """Return what starts the agents."""
        ...


def enter(patience: float) -> Ranks | None:
    """Become one of the ranks of a run, if this process was started as one of several.

    Return what the first of them is to know, None where there is one process only. The others do not return: they exit
    when they have done their part.
    """
    world = _read_world(os.environ)
    if world is None:
        return None
    # the modules of MPI, which most commands do without
    from scoop_hpc.cli.mpi.rank import become_rank  # noqa: PLC0415

    return become_rank(world, patience)


def _read_world(environ: Mapping[str, str]) -> World | None:
    world = read_mpiexec(environ)
    if world is not None:
        return world
    copy = read_copy(environ)
    if copy is None:
        return None
    plugin = environ.get("SLURM_MPI_TYPE", "none") if copy.starter == "srun" else ""
    return World(copy.starter, copy.rank, copy.size, plugin=plugin)
