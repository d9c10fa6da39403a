"""What a worker has of its node, and the variables that tell it so."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping

from msgspec import Struct

from scoop_hpc.shares.binding import CORES, SOCKETS, CpuShare, deal_cpus
from scoop_hpc.shares.gpus import ALL_VARIABLES, Gpus, ListDirectory, deal_gpus, device_variables, find_gpus
from scoop_hpc.shares.topology import Cpu, ReadFile, read_topology

WORKER, NODE = "SCOOP_HPC_WORKER", "SCOOP_HPC_NODE"
RANK, LOCAL_RANK, SIZE = "SCOOP_HPC_RANK", "SCOOP_HPC_LOCAL_RANK", "SCOOP_HPC_SIZE"
NO_BINDING = "none"
BINDINGS = (NO_BINDING, CORES, SOCKETS)
ALL_GPUS = "all"  # in the place of a number of GPUs for each worker: every worker sees all of them


class Wanted(Struct, frozen=True):
    """How the user wants a node dealt out."""

    binding: str = NO_BINDING  # or "cores", "sockets"
    deals_gpus: bool = True  # else every worker sees all of them
    gpus_per_worker: int | None = None  # None: its share


class Granted(Struct, frozen=True):
    """What the scheduler, or whoever started this process, has granted on this node."""

    cpus: tuple[Cpu, ...] = ()  # empty: nobody is bound
    gpus: Gpus | None = None
    device_variables: tuple[tuple[str, str], ...] = ()  # as they are here


class Place(Struct, frozen=True):
    """The place of a worker in its run."""

    name: str
    node: str
    node_index: int  # in the order of the allocation
    rank: int
    local_rank: int  # among the workers of its node
    size: int  # workers that the run was planned with


class Share(Struct, frozen=True):
    """A worker's part of what was granted; None: it has no part of its own, but all."""

    cpus: CpuShare | None = None
    gpus: Gpus | None = None


def read_granted(
    wanted: Wanted,
    environ: Mapping[str, str],
    affinity: Collection[int],
    read: ReadFile,
    list_directory: ListDirectory,
) -> Granted:
    """Return what is granted here, by the variables *environ* of this node and the CPUs of *affinity*.

    Files that nobody wants to know of are not read: CPUs if nobody is bound, GPUs if they are not dealt out.
    """
    cpus = () if wanted.binding == NO_BINDING else read_topology(affinity, read)
    gpus = find_gpus(environ, list_directory, read) if wanted.deals_gpus else None
    return Granted(cpus, gpus, tuple((name, environ[name]) for name in ALL_VARIABLES if name in environ))


@functools.lru_cache(maxsize=1)  # the workers of a node are started one by one
def deal_shares(granted: Granted, wanted: Wanted, workers: int) -> tuple[Share, ...]:
    """Return the share of each of the *workers* of a node, by local rank; raise LaunchError for too few GPUs."""
    cpus = deal_cpus(granted.cpus, workers, wanted.binding) if granted.cpus else [None] * workers
    if granted.gpus is None and wanted.gpus_per_worker is None:
        return tuple(map(Share, cpus))
    devices = () if granted.gpus is None else granted.gpus.devices
    dealt = deal_gpus(devices, workers, wanted.gpus_per_worker)
    variable = "" if granted.gpus is None else granted.gpus.variable
    return tuple(Share(each, Gpus(variable, gpus)) for each, gpus in zip(cpus, dealt))


def variables_of(
    place: Place, share: Share, granted: Granted, environ: Mapping[str, str], counted: Collection[str] = ()
) -> dict[str, str]:
    """Return what is to change in *environ*, which the driver's node has sent, for the worker at *place*.

    The variables *counted* hold the threads that the worker may have: they become those of its own CPUs.
    """
    changes = {
        WORKER: place.name,
        NODE: place.node,
        RANK: str(place.rank),
        LOCAL_RANK: str(place.local_rank),
        SIZE: str(place.size),
    }
    # Slurm's are those of the job's script, or of the agent: 0 in all workers [srun(1), OUTPUT ENVIRONMENT VARIABLES]
    of_slurm = {"SLURM_PROCID": place.rank, "SLURM_LOCALID": place.local_rank, "SLURM_NODEID": place.node_index}
    changes |= {name: str(value) for name, value in of_slurm.items() if name in environ}
    changes |= dict(granted.device_variables)
    if share.gpus is not None:
        changes |= device_variables(share.gpus.variable, share.gpus.devices, {**environ, **changes})
    if share.cpus is not None:
        changes |= dict.fromkeys(counted, str(share.cpus.threads))
    return changes
