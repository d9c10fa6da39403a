"""The readers of allocations, one for each scheduler's environment, and which of them is meant."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Mapping

from scoop_hpc.errors import AllocationError
from scoop_hpc.schedulers.allocation import Allocation
from scoop_hpc.schedulers.flux.allocation import FluxReader
from scoop_hpc.schedulers.known import Known, is_announced
from scoop_hpc.schedulers.local.allocation import LocalReader
from scoop_hpc.schedulers.lsf.allocation import LsfReader
from scoop_hpc.schedulers.oar.allocation import OarReader
from scoop_hpc.schedulers.pbs.allocation import PbsReader
from scoop_hpc.schedulers.reader import Reader, ReadFile
from scoop_hpc.schedulers.sge.allocation import SgeReader
from scoop_hpc.schedulers.slurm.allocation import SlurmReader

# of one of the processes that an MPI started
_OF_MPI = ("OMPI_COMM_WORLD_", "MV2_COMM_WORLD_", "PMI_RANK", "PMI_SIZE", "PMIX_RANK", "PMIX_NAMESPACE")
_OF_SCRIPTS = "SCOOP_HPC_JOB_"  # set by our own job scripts

# In the order of detection. The built-in scheduler's jobs are inside all others', whose variables it drops; a Flux
# instance is started in a job of another scheduler; Slurm can imitate PBS; PBS before those with less of a name.
_OURS: tuple[Reader, ...] = (
    *(LocalReader(), FluxReader(), SlurmReader(), PbsReader(), SgeReader(), LsfReader(), OarReader()),
)


@functools.cache
def _of_packages() -> Mapping[str, Reader]:
    """Return the readers that other packages bring."""
    if not is_announced(sys.path):
        return {}
    # takes the modules of the adapters' base class, which most runs do without
    from scoop_hpc.schedulers.plugins import schedulers  # noqa: PLC0415

    return {name: each.reader for name, each in schedulers().items() if each.reader is not None}


READERS: Mapping[str, Reader] = Known({reader.name: reader for reader in _OURS}, _of_packages)


def read_allocation(environ: Mapping[str, str], read_file: ReadFile, reader: str | None = None) -> Allocation | None:
    """Return the allocation that *environ* speaks of, None outside a job; raise AllocationError.

    An environment that has some of a job's variables, but not all, is an error.

    Where *environ* speaks of jobs of more than one scheduler, the first of `READERS` is taken, and the others are named
    in `Allocation.beside`; which of them is inside the other, or left over, no variable tells. *reader* is the name of
    the one to take instead.
    """
    if reader is not None and reader not in READERS:
        raise AllocationError(f"there is no reader of {reader!r} allocations: choose one of {', '.join(READERS)}")
    found = [name for name, each in READERS.items() if each.in_job(environ)]
    if reader is not None and reader not in found:
        raise AllocationError(f"not in a job of {reader!r}: its variables are not in the environment")
    if not found:
        for each in READERS.values():
            each.refuse_incomplete(environ)
        return None
    beside = () if reader else tuple(found[1:])
    try:
        allocation = READERS[reader or found[0]].read(environ, read_file)
    except AllocationError as error:
        if not beside:
            raise
        others = " or ".join(f"--allocation {name}" for name in beside)
        raise AllocationError(f"{error}; or is it another scheduler's job? {others}") from error
    return dataclasses.replace(allocation, beside=beside)


def reader_of(allocation: Allocation) -> Reader | None:
    """Return the reader that read *allocation*, None for one of no scheduler's."""
    return next((reader for reader in READERS.values() if reader.reads(allocation)), None)


def outside_jobs(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without the variables of the job that this process is in, whichever scheduler's it is."""
    own = frozenset().union(*(reader.variables(environ) for reader in READERS.values()))
    ours = (*_OF_MPI, _OF_SCRIPTS)
    return {name: value for name, value in environ.items() if name not in own and not name.startswith(ours)}
