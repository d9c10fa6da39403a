"""Become a rank of a run, and with the first rank its driver."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from types import TracebackType

from scoop_hpc.complaints import say
from scoop_hpc.errors import AllocationError, InputError, ScoopError
from scoop_hpc.files import private
from scoop_hpc.launchers.base import Launcher
from scoop_hpc.mpi.gate import maker_of_way, read_gate, wait_at
from scoop_hpc.mpi.rank import FirstRank, RanksLauncher, Starter, Way, begin
from scoop_hpc.mpi.watch import Watch
from scoop_hpc.mpi.world import (
    Family,
    World,
    clean_environ,
    is_rank_itself,
    refuse_lonely,
    refuse_strangers,
)
from scoop_hpc.schedulers.allocation import Allocation, Node
from scoop_hpc.schedulers.copies import describe
from scoop_hpc.schedulers.reader import Copy

_JOBS = ("SLURM_JOB_ID", "SLURM_STEP_ID", "PBS_JOBID", "JOB_ID", "LSB_JOBID", "PMIX_NAMESPACE")


class NodesOfRanks:
    """The nodes of all ranks, for the one of them that becomes the driver."""

    def __init__(self, first: FirstRank) -> None:
        self._first = first

    def __enter__(self) -> NodesOfRanks:
        self._first.plan()
        return self

    def __exit__(self, *error: BaseException | TracebackType | type | None) -> None:
        self._first.__exit__(*error)

    def allocation(self, given: Allocation | None) -> Allocation:
        """Return the allocation of the ranks, a slot for each; *given* is that of the job around them, if any."""
        nodes = tuple(Node(node.name, len(node.ranks), len(node.cpus)) for node in self._first.nodes)
        if given is None:
            return Allocation("", nodes)
        return Allocation(given.scheduler, nodes, given.job_id, given.cpus_per_worker, given.array_index)

    def launcher(self) -> Launcher:
        """Return what starts the agents."""
        return RanksLauncher(self._first)


def become_rank(world: World, patience: float) -> NodesOfRanks:
    """Become the rank that this process is in its *world*; only the first of them returns, what it is to know.

    *patience* is how many seconds the ranks have to meet. Raises InputError where they cannot become one run.
    """
    with _first_complains(world.rank):
        _refuse_hopeless(world)
    folder = os.path.join(private.root(os.environ), "mpi", f"{_run_name(os.environ)}-{world.size}")
    watch = Watch(world.rank, world.size, patience, folder)
    with _first_complains(world.rank):
        exchange = _initialise(world, watch)
    for name in os.environ.keys() - clean_environ(os.environ).keys():
        del os.environ[name]
    by_srun = world.family is None
    try:
        first = begin(exchange, watch, Starter(early=not by_srun, binds=not by_srun), patience)
    except ScoopError as error:
        say(f"error: {error}")
        exchange.abort(1)
        sys.exit(1)
    if first is None:
        sys.exit(0)
    _empty_input()
    return NodesOfRanks(first)


@contextlib.contextmanager
def _first_complains(rank: int) -> Iterator[None]:
    """Let what is wrong with all ranks be said once: the first one raises an InputError, the others end without one.

    Their status is 0: for another one Open MPI would end the first before it has spoken, whose status is mpiexec's.
    """
    try:
        yield
    except InputError:
        if rank:
            sys.exit(0)
        raise


def _refuse_hopeless(world: World) -> None:
    """Raise InputError where no MPI can bring the ranks together."""
    copies = describe(Copy(world.starter, world.rank, world.size))
    if world.plugin == "none":
        raise AllocationError(f"{copies}; with mpi4py and --mpi=pmi2 or --mpi=pmix of srun the copies become one run")
    if not is_rank_itself(os.environ):
        raise AllocationError(copies)


def _initialise(world: World, watch: Watch) -> Way:
    try:
        # optional, and MPI takes 0.15 s to load
        from scoop_hpc.mpi import exchange  # noqa: PLC0415
    except ImportError as error:
        copies = describe(Copy(world.starter, world.rank, world.size))
        raise AllocationError(f"{copies}; or let mpi4py make one run of them: pip install scoop_hpc[mpi]") from error
    except RuntimeError as error:  # mpi4py's, of its wheels
        raise InputError(
            f"mpi4py finds no MPI library ({error}): load the module of the MPI whose {world.starter} this is, let "
            "MPI4PY_LIBMPI name its libmpi.so, or pip install mpich"
        ) from error
    library = exchange.library()
    refuse_strangers(world, library)
    watch.begin()
    if library.family is Family.HYDRA:
        gate = read_gate(os.environ, maker_of_way(os.environ), os.getuid())
        if gate is not None:
            wait_at(gate)
    found = exchange.Exchange()
    watch.over()
    try:
        refuse_lonely(world, library, found.size)
    except InputError:
        found.end()
        raise
    return found


def _run_name(environ: Mapping[str, str]) -> str:
    """Return what tells this run from others of this user's, as far as variables do that are the same for all ranks."""
    words = [environ[name] for name in _JOBS if name in environ]
    return re.sub("[^A-Za-z0-9]+", ".", ".".join(words)) or "run"


def _empty_input() -> None:
    """Have an empty standard input: that of a rank may be a pipe which never ends."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.dup2(descriptor, 0)
    os.close(descriptor)
