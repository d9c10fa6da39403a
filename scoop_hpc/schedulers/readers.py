"""The readers of allocations, one for each scheduler's environment, and which of them is meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from scoop_hpc.errors import AllocationError
from scoop_hpc.schedulers.allocation import Allocation
from scoop_hpc.schedulers.flux import allocation as flux_allocation
from scoop_hpc.schedulers.incomplete import refuse_incomplete
from scoop_hpc.schedulers.local import allocation as local_allocation
from scoop_hpc.schedulers.lsf import allocation as lsf_allocation
from scoop_hpc.schedulers.oar import allocation as oar_allocation
from scoop_hpc.schedulers.pbs import allocation as pbs_allocation
from scoop_hpc.schedulers.sge import allocation as sge_allocation
from scoop_hpc.schedulers.slurm import allocation as slurm_allocation


class Reader(Protocol):
    """A module that reads one scheduler's environment. It runs no command, so that it needs no scheduler."""

    def in_job(self, environ: Mapping[str, str]) -> bool:
        """Return whether *environ* is of a job of this scheduler: not by variables that a whole site has."""

    def read_allocation(self, environ: Mapping[str, str], read_file: Callable[[str], str]) -> Allocation | None:
        """Return the allocation of the job that *environ* is of, None if it is of none; raise AllocationError."""


# In the order of detection. The built-in scheduler's jobs are inside all others', whose variables it drops; a Flux
# instance is started in a job of another scheduler; Slurm can imitate PBS; PBS before those with less of a name.
READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "local": local_allocation,
        "flux": flux_allocation,
        "slurm": slurm_allocation,
        "pbs": pbs_allocation,
        "sge": sge_allocation,
        "lsf": lsf_allocation,
        "oar": oar_allocation,
    }
)


def read_allocation(
    environ: Mapping[str, str], read_file: Callable[[str], str], reader: str | None = None
) -> Allocation | None:
    """Return the allocation that *environ* speaks of, None outside a job; raise AllocationError.

    An environment that has some of a job's variables, but not all, is an error.

    *read_file* returns the text of a file, or raises OSError or ValueError. Where *environ* speaks of jobs of more
    than one scheduler, the first of `READERS` is taken, and the others are named in `Allocation.beside`; which of
    them is inside the other, or left over, no variable tells. *reader* is the name of the one to take instead.
    """
    if reader is not None and reader not in READERS:
        raise AllocationError(f"there is no reader of {reader!r} allocations: choose one of {', '.join(READERS)}")
    found = [name for name, module in READERS.items() if module.in_job(environ)]
    if reader is not None and reader not in found:
        raise AllocationError(f"not in a job of {reader!r}: its variables are not in the environment")
    if not found:
        refuse_incomplete(environ)
        return None
    beside = () if reader else tuple(found[1:])
    try:
        allocation = READERS[reader or found[0]].read_allocation(environ, read_file)
    except AllocationError as error:
        if not beside:
            raise
        others = " or ".join(f"--allocation {name}" for name in beside)
        raise AllocationError(f"{error}; or is it another scheduler's job? {others}") from error
    return None if allocation is None else dataclasses.replace(allocation, beside=beside)
