"""The base class of the readers of allocations: what a job's environment tells a run that is in the job."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar

from msgspec import Struct

from scoop_hpc.errors import AllocationError
from scoop_hpc.launchers.base import Launcher
from scoop_hpc.schedulers.allocation import Allocation

ReadFile = Callable[[str], str]  # returns the text of a file, or raises OSError or ValueError

_NUMBER = re.compile("[0-9]{1,9}")


class Copy(Struct, frozen=True):
    """This process is number *rank* of *size* that *starter* started with the same command."""

    starter: str
    rank: int
    size: int


class Starter(Struct, frozen=True):
    """A command that starts copies of one command, and the variables that tell how many, and which of them this is."""

    command: str
    size: str
    rank: str

    def copy(self, environ: Mapping[str, str]) -> Copy | None:
        """Return which of several copies *environ* is of, None if it is of the only one."""
        size, rank = environ.get(self.size, ""), environ.get(self.rank, "")
        if not (_NUMBER.fullmatch(size) and _NUMBER.fullmatch(rank)) or int(size) < 2:
            return None
        return Copy(self.command, int(rank), int(size))


class Reader(ABC):
    """Reads the environment of one scheduler's jobs. It runs no command, so it works where the scheduler's are not.

    A run calls, in this order::

        in_job(environ)                 of every reader: is this one of its scheduler's jobs?
        refuse_incomplete(environ)      of every reader, if none says yes: are some of a job's variables there?
        read(environ, read_file)        of the first that says yes: the job's nodes, with their slots
        copy(environ)                   of every reader: did its scheduler start several copies of this command?
        advice(environ, allocation)     a warning about how the job was asked for
        launchers_for(allocation)       the names of the launchers that reach the nodes
        launcher(name, allocation)      the launcher of that name, if scoop_hpc has none

    When a job is submitted from inside another one, `variables` are what is not passed on.
    """

    name: ClassVar[str]  # of --allocation: the scheduler's name
    title: ClassVar[str]  # the scheduler in messages

    # the variables that all of its jobs have, each by any of its names; of those that sites and users set for all
    # their shells there is none here: SLURM_CONF, PBS_DEFAULT, SGE_ROOT, LSF_ENVDIR, FLUX_URI and their like
    needed: ClassVar[tuple[tuple[str, ...], ...]] = ()

    # the variables of which one alone says that this is in a job, or in what is left of a job's environment
    proofs: ClassVar[tuple[str, ...]] = ()

    prefixes: ClassVar[tuple[str, ...]] = ()  # of the names of its jobs' variables
    site_variables: ClassVar[tuple[str, ...]] = ()  # with such a prefix: they choose a cluster, or say who one is

    starters: ClassVar[tuple[Starter, ...]] = ()  # its commands that start copies of a command

    launchers: ClassVar[tuple[str, ...]] = ("local",)  # the first whose command is found is meant, else the first

    # the exit statuses by which a job's script gives the scheduler an order, and what the scheduler does then
    orders: ClassVar[Mapping[int, str]] = MappingProxyType({})

    def in_job(self, environ: Mapping[str, str]) -> bool:
        """Return whether *environ* is of a job of this scheduler: not by variables that a whole site has."""
        return bool(self.needed) and all(any(environ.get(name) for name in names) for names in self.needed)

    @abstractmethod
    def read(self, environ: Mapping[str, str], read_file: ReadFile) -> Allocation:
        """Return the allocation of the job that *environ* is of, for which `in_job` holds; raise AllocationError."""

    def reads(self, allocation: Allocation) -> bool:
        """Return whether *allocation* was read by this reader."""
        return allocation.scheduler == self.name

    def refuse_incomplete(self, environ: Mapping[str, str]) -> None:
        """Raise AllocationError if *environ*, for which no reader's `in_job` holds, has a part of a job's variables.

        Such is the shell of salloc for a heterogeneous job, a shell that was given a job's id for srun(1), a container
        or a service that let a part of the environment through. To run there on this machine alone, as outside of a
        job, would be a program on the login node that should be in the job.
        """
        proof = next((name for name in self.proofs if environ.get(name)), "")
        missing = next((names[0] for names in self.needed if not any(environ.get(name) for name in names)), "")
        if proof and missing:
            raise AllocationError(
                f"{proof} is set, as in {self.title}'s jobs, but {missing} is not: the job's nodes cannot be told "
                f"here. Run this in the job's script; outside a job, unset {proof}"
            )

    def copy(self, environ: Mapping[str, str]) -> Copy | None:
        """Return which of several copies that this scheduler started *environ* is of, None if it started one."""
        return next(filter(None, (starter.copy(environ) for starter in self.starters)), None)

    def is_only_copy(self, environ: Mapping[str, str]) -> bool:
        """Return whether *environ* is of the only copy of its command, whatever else is in it."""
        return False

    def advice(self, environ: Mapping[str, str], allocation: Allocation) -> str:
        """Return a warning for a user whose job was asked for such that its CPUs stay idle; empty for others."""
        return ""

    def launchers_for(self, allocation: Allocation) -> tuple[str, ...]:
        """Return the names of the launchers that reach the nodes of *allocation*."""
        return self.launchers

    def launcher(self, name: str, allocation: Allocation) -> Launcher | None:
        """Return the launcher of that *name*, one of `launchers`; None where it is one of `scoop_hpc.launchers`."""
        return None

    def variables(self, environ: Mapping[str, str]) -> frozenset[str]:
        """Return the names in *environ* that belong to the job that this process is in, not to its site."""
        return frozenset(name for name in environ if name.startswith(self.prefixes) and name not in self.site_variables)
