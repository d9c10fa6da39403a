"""Copies of one command, as ``srun -n2`` and ``mpiexec -n 2`` start them: each would run everything on all nodes."""

from __future__ import annotations

from collections.abc import Mapping

from scoop_hpc.schedulers.reader import Copy, Starter
from scoop_hpc.schedulers.readers import READERS

_MPIS = (
    Starter("mpiexec", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    Starter("mpiexec", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    Starter("mpiexec", "PMI_SIZE", "PMI_RANK"),
)


def read_copy(environ: Mapping[str, str]) -> Copy | None:
    """Return which of several copies *environ* is of, None if it is of the only one.

    A scheduler's own command goes before mpiexec: it may set the variables of an MPI as well.
    """
    if any(reader.is_only_copy(environ) for reader in READERS.values()):
        return None
    for reader in READERS.values():
        copy = reader.copy(environ)
        if copy is not None:
            return copy
    return next(filter(None, (mpi.copy(environ) for mpi in _MPIS)), None)


def describe(copy: Copy) -> str:
    """Return why one of several copies is refused."""
    return (
        f"{copy.starter} started {copy.size} copies of this command, each of which would run the program on all of the "
        f"job's nodes: start one, in the job's script without {copy.starter}; it starts workers on all nodes by itself"
    )
