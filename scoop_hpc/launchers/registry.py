"""The launchers by name, each made from what it needs to know of the job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from scoop_hpc.launchers.base import Launcher
from scoop_hpc.launchers.local import LocalLauncher
from scoop_hpc.launchers.mpi import Mpiexec, MpiLauncher
from scoop_hpc.launchers.pbs import PbsdshLauncher, PbsTmrshLauncher
from scoop_hpc.launchers.qrsh import QrshLauncher
from scoop_hpc.launchers.srun import SrunLauncher
from scoop_hpc.launchers.ssh import SshLauncher


class Place(Struct, frozen=True):
    """The place where a run starts, as far as launchers have to know it."""

    first_node: str  # of the job: the one that its script is on
    nodefile: Callable[[], Sequence[str]]  # the lines of a PBS job's; raises AllocationError where there is none
    nodes: tuple[str, ...]  # all of the job
    mpiexec: Callable[[], Mpiexec]  # raises InputError where there is none
    is_here: Callable[[str], bool]  # whether a host is this machine
    srun_options: tuple[str, ...] = ()  # for a container that srun starts
    outlives_nodes: bool = True  # the run goes on when a node is lost


LAUNCHERS: Mapping[str, Callable[[Place], Launcher]] = MappingProxyType(
    {
        "local": lambda _: LocalLauncher(),
        "mpi": lambda place: MpiLauncher(place.mpiexec(), place.nodes),
        "qrsh": lambda place: QrshLauncher(place.first_node),
        "srun": lambda place: SrunLauncher(place.srun_options, place.outlives_nodes),
        "pbs_tmrsh": lambda _: PbsTmrshLauncher(),
        "pbsdsh": lambda place: PbsdshLauncher(place.nodefile()),
        "ssh": lambda place: SshLauncher(place.is_here),
    }
)
