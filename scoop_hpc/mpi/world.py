"""The world of ranks that a process is in, as its environment tells; and whether the MPI that is loaded belongs to it.

Which variables there are was looked at: Hydra (MPICH, Intel MPI) sets PMI_RANK and MPI_LOCALRANKID, Open MPI's mpiexec
OMPI_COMM_WORLD_RANK, and srun what its ``--mpi`` says. An MPI that is started by another's mpiexec is either aborted in
MPI_Init, or takes each rank for a world of its own: then the program would run as often as there are ranks.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Mapping

from msgspec import Struct

from scoop_hpc.errors import InputError


class Family(enum.Enum):
    """The kinds of mpiexec, each with a language of its own between it and its ranks."""

    HYDRA = "MPICH"
    OPEN_MPI = "Open MPI"


class World(Struct, frozen=True):
    """This process is *rank* of *size* that *starter* started; of which *family*, if the environment tells."""

    starter: str  # as a message names it
    rank: int
    size: int
    family: Family | None = None
    plugin: str = ""  # srun's --mpi


class Library(Struct, frozen=True):
    """The MPI library that mpi4py has loaded."""

    version: str  # as of MPI_Get_library_version
    path: str = ""  # of its file
    speaks_pmix: bool = False  # it is linked with PMIx

    @property
    def family(self) -> Family | None:
        """The kind of mpiexec that it belongs to."""
        if self.version.startswith("Open MPI"):
            return Family.OPEN_MPI
        return Family.HYDRA if re.search(r"MPICH|Intel\(R\) MPI|MVAPICH", self.version) else None

    @property
    def name(self) -> str:
        """The library in messages.

        >>> Library("MPICH Version:      5.0.2\\nMPICH Release date: ...").name
        'MPICH 5.0.2'
        >>> Library("Open MPI v5.0.11, package: Open MPI user@host").name
        'Open MPI 5.0.11'
        """
        found = re.match(r"([A-Za-z][A-Za-z()\s*]*?)(?:\s+Version)?:?\s+v?([0-9][\w.]*)", self.version)
        return f"{found[1]} {found[2]}" if found else self.version.partition("\n")[0]


# (variable of the size, of the rank, one that has to be there as well, whose mpiexec it is)
_MPIEXECS = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", Family.OPEN_MPI),
    ("PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID", Family.HYDRA),
)


def read_mpiexec(environ: Mapping[str, str]) -> World | None:
    """Return the world of several ranks that an mpiexec has put *environ* into, None if none has.

    Below srun, too: by srun an mpiexec starts one process for each node, whose variables say nothing of ranks.
    """
    for size, rank, proof, family in _MPIEXECS:
        if proof in environ and _number(environ.get(size)) > 1 and _number(environ.get(rank)) >= 0:
            return World(f"mpiexec of {family.value}", int(environ[rank]), int(environ[size]), family)
    return None


def refuse_strangers(world: World, library: Library) -> None:
    """Raise InputError if MPI_Init of *library* would abort, or miss its own, in this *world*."""
    if library.family is Family.HYDRA and not library.speaks_pmix:
        if world.family is Family.OPEN_MPI or world.plugin.startswith("pmix"):
            raise InputError(_complaint(world, library))
    elif library.family is Family.OPEN_MPI and world.family is Family.HYDRA:
        raise InputError(_complaint(world, library))


def refuse_lonely(world: World, library: Library, size: int) -> None:
    """Raise InputError if *library* takes this rank for one of a world of *size* 1."""
    if size == 1 < world.size:
        raise InputError(_complaint(world, library))


def _complaint(world: World, library: Library) -> str:
    began = f"{world.starter} started {world.size} ranks, but mpi4py has loaded {library.name}, which "
    if world.plugin:
        plugin = "pmix" if library.family is Family.OPEN_MPI else "pmi2"
        advice = f"start them by srun --mpi={plugin}, or by its mpiexec"
        return began + f"does not find them by --mpi={world.plugin}: {advice}"
    other = "the other MPI" if world.family is None else world.family.value
    return began + (
        f"does not know of it: start them by the mpiexec of {library.name}, "
        f"or let MPI4PY_LIBMPI name the libmpi.so of {other}"
    )


def is_rank_itself(environ: Mapping[str, str]) -> bool:
    """Return whether this process may speak for its rank: a child that a rank has started has no way to Hydra."""
    descriptor = _number(environ.get("PMI_FD"))
    if descriptor < 0:
        return True
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


# what mpiexec and srun tell a rank, and no program may hear that a rank starts: it would take itself for that rank
_OF_RANKS = re.compile(
    "(PMI|PMI2|PMIX|PRTE|HYDI|HYDRA_BSTRAP|MV2_COMM_WORLD|I_MPI_INFO|PALS)_|MPI_LOCAL|I_MPI_PIN_(INFO|MAPPING)"
    "|I_MPI_HYDRA_UUID|OPAL_USER_PARAMS_GIVEN|HYDRA_LAUNCH_TYPE|OMPI_"
    "|SLURM_(STEP|PMI|SRUN_COMM|CPU_BIND|MEM_BIND)|SLURM_(PROCID|LOCALID|NODEID|GTIDS|TASK_PID|MPI_TYPE|TOPOLOGY_ADDR.*"
    "|DISTRIBUTION|LAUNCH_NODE_IPADDR|UMASK|PRIO_PROCESS)$"
)
# what users and sites set for the MPI programs that they start, and Slurm for the mpiexecs of its jobs
_OF_USERS = re.compile("OMPI_ALLOW_RUN_AS_ROOT|OMPI_MCA_(btl|pml|mtl|osc|coll|io|plm|rmaps)|PRTE_MCA_(plm|rmaps|ras)")


def clean_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* as it would be without mpiexec or srun, so that MPI programs can be started from it.

    >>> clean_environ({"PMI_RANK": "0", "SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "OMPI_MCA_btl": "^ofi"})
    {'SLURM_JOB_ID': '7', 'OMPI_MCA_btl': '^ofi'}
    """
    return {name: value for name, value in environ.items() if _OF_USERS.match(name) or not _OF_RANKS.match(name)}


def _number(text: str | None) -> int:
    return int(text) if text and re.fullmatch("[0-9]{1,9}", text) else -1
