"""Make the request for a run out of this process and its environment, whichever command starts it."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn

from scoop_hpc.cli.allocated import find_allocation, read_file
from scoop_hpc.cli.grid import plan_hosts, plan_part
from scoop_hpc.cli.hostfile import Host
from scoop_hpc.cli.mpi.ranks import Ranks
from scoop_hpc.cli.threads import cpus_of_worker, thread_variables
from scoop_hpc.cpus import count_cpus
from scoop_hpc.errors import AllocationError, InputError
from scoop_hpc.events import Observers, Warned
from scoop_hpc.files import private
from scoop_hpc.hostlist import fold
from scoop_hpc.jobs import look, runs
from scoop_hpc.jobs.record import of_element
from scoop_hpc.launchers.base import Launcher
from scoop_hpc.launchers.container import PYXIS, Container, srun_options
from scoop_hpc.launchers.local import LocalLauncher
from scoop_hpc.launchers.mpi import Mpiexec
from scoop_hpc.launchers.registry import LAUNCHERS, Place
from scoop_hpc.protocol.messages import Program
from scoop_hpc.run import proc
from scoop_hpc.run.forked_agent import AgentMain
from scoop_hpc.run.placement import NodePlan, place
from scoop_hpc.run.request import RunRequest
from scoop_hpc.run.watching.once import Once
from scoop_hpc.schedulers.allocation import Allocation, Node
from scoop_hpc.schedulers.pbs.allocation import read_nodefile
from scoop_hpc.schedulers.readers import reader_of

ARRAY_INDEX = "SCOOP_HPC_JOB_ARRAY_INDEX"
ENDS_AT = "SCOOP_HPC_JOB_ENDS_AT"  # seconds since the epoch
# launchers that start nothing outside jobs, or ask for one, by the variable that is set in these
_OF_JOBS = {"srun": ("Slurm", "SLURM_JOB_ID"), "pbs_tmrsh": ("PBS", "PBS_JOBID")}
SIGNALS = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def open_missing_streams() -> None:
    """Give a process that was started with closed streams (``>&-``) empty ones: no other file may take their place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free


def leave(status: int) -> NoReturn:
    """Exit at once: what the interpreter does at its end takes 25 ms and more, and nothing of a run is left to tidy up.

    Not for the rank of an MPI, which takes that for a crash.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, full, or none
            stream.flush()
    os._exit(status)


def run_request(
    program: bytes,
    arguments: Sequence[bytes],
    workers: int | None,
    launcher: str | None = None,
    interface: str = "",
    patience: float | None = None,
    min_nodes: int | None = None,
    ends_on_loss: bool = False,
    grace: float = 60.0,
    hosts: Sequence[Host] = (),
    container: Container | None = None,
    reader: str | None = None,
    record: str = "",
    ranks: Ranks | None = None,
    mpiexec: str = "",
    workers_per_node: int | None = None,
    once: Once | None = None,
    is_module: bool = False,
) -> RunRequest:
    """Return the request to run *program* here: on the job's whole allocation, if this is in a job, or on those *hosts*
    of it that are named; outside of jobs on *hosts*, if any.

    The program is the name of a module if *is_module*. *reader* is the name of the one that is to read the allocation.
    Where mpiexec has chosen the nodes they are those of its *ranks*. *once* is what agents say that are forked from
    this process. Raises InputError where that cannot be.
    """
    try:
        directory = os.getcwdb()
    except OSError as error:
        raise InputError(f"cannot tell the current directory ({error.strerror}): go to one that exists") from error
    if interface:
        _own_addresses(interface)  # it must be there, whether it is needed or not
    given = find_allocation(reader)
    _check_hosts(hosts, launcher, given)
    if workers_per_node is not None and workers is not None:
        raise InputError("--workers-per-node and --workers exclude each other: give one", "--workers-per-node")
    if mpiexec and launcher != "mpi":
        raise InputError(f"--mpiexec {mpiexec!r}: that is for --launcher mpi; add it", "--mpiexec")
    if ranks is not None and (hosts or launcher):
        what = "--launcher" if launcher else "--hosts or --hostfile"
        raise InputError(f"mpiexec, or srun, has chosen the nodes and started the ranks on them: leave out {what}")
    allocation = given or _this_machine(workers)
    if ranks is not None:
        allocation = ranks.allocation(given)
    reader_here = None if ranks is not None else reader_of(allocation)
    advice = reader_here.advice(os.environ, allocation) if workers is None and reader_here is not None else ""
    if advice:
        print(f"scoop-hpc: warning: {advice}", file=sys.stderr)
    if hosts and given is not None:
        nodes = plan_part(given, hosts, workers, is_here)
    else:
        nodes = plan_hosts(hosts, workers) if hosts else place(allocation, workers)
    if workers_per_node is not None:
        nodes = tuple(NodePlan(node.name, workers_per_node) for node in nodes)
    if min_nodes is not None and min_nodes > len(nodes):
        raise InputError(f"--min-nodes {min_nodes}: the run has {len(nodes)} {'node' if len(nodes) == 1 else 'nodes'}")
    if ranks is not None:
        kind = ranks.launcher()
    else:
        name = launcher or _fitting(allocation)
        kind = _make(name, container, os.fsdecode(directory), allocation, not ends_on_loss, mpiexec)
    if container is not None and kind.one_machine:
        _check_runtime(container.runtime)
    if ranks is None and kind.one_machine and allocation.scheduler not in ("local", ""):
        _check_single(allocation, [node.name for node in nodes])
    return RunRequest(
        nodes=nodes,
        program=Program(program, tuple(arguments), directory, _environ_of_program(allocation, nodes), is_module),
        launcher=kind,
        own_addresses=lambda: _own_addresses(interface),
        state=private.root(os.environ),
        job_id=allocation.job_id,
        interface=interface,
        warn=workers is None,
        ends_at=_ends_at(os.environ),
        patience=patience or 60 + 0.1 * len(nodes),
        min_nodes=min_nodes,
        ends_on_loss=ends_on_loss,
        grace=grace,
        container=container,
        record=of_element(record, allocation.array_index) if record else "",
        look=of_element(os.path.join(os.path.dirname(record), look.FILE), allocation.array_index) if record else "",
        agent_main=_agent_main(len(nodes), once) if isinstance(kind, LocalLauncher) and container is None else None,
    )


def look_file(request: RunRequest, observers: Observers) -> str:
    """Return the file for the looks at a run: in the directory of its job, or in one that is made for it.

    Where none can be made, the run goes on without, and *observers* are told.
    """
    if request.look:
        return request.look
    try:
        return runs.create(request.state, time.time(), lambda seen: proc.is_gone(seen.pid, seen.driver))
    except InputError as error:
        if observers:
            observers.tell(Warned(f"`scoop-hpc top` cannot look at this run: {error}"))
        return ""


def _agent_main(nodes: int, once: Once | None) -> AgentMain:
    from scoop_hpc.cli import agent  # noqa: PLC0415  it loads all that a node needs, and this machine may be none

    if nodes > 1:
        from scoop_hpc.broker import server  # noqa: F401, PLC0415  once, for the brokers of all nodes

    return functools.partial(agent.main, once=once)


def _environ_of_program(allocation: Allocation, nodes: Sequence[NodePlan]) -> dict[bytes, bytes]:
    environ = dict(os.environb)
    environ.update(thread_variables(environ, cpus_of_worker(allocation, nodes)))
    if allocation.array_index is not None:  # by one name, whatever the scheduler's is
        environ[os.fsencode(ARRAY_INDEX)] = b"%d" % allocation.array_index
    return environ


def _ends_at(environ: Mapping[str, str]) -> float | None:
    """Return when the job's walltime is over, as its script reckons; None where it says nothing."""
    text = environ.get(ENDS_AT, "")
    return float(text) if text.isascii() and text.isdigit() else None


def _fitting(allocation: Allocation) -> str:
    """Return the name of the launcher to use: of the scheduler's, the first whose command is found, else the first."""
    reader = reader_of(allocation)
    names = ("local",) if reader is None else reader.launchers_for(allocation)
    return next((name for name in names if shutil.which(name)), names[0])


def _make(
    launcher: str,
    container: Container | None,
    directory: str,
    allocation: Allocation,
    outlives_nodes: bool,
    mpiexec: str,
) -> Launcher:
    if launcher not in LAUNCHERS:  # a package brings it with its scheduler
        reader = reader_of(allocation)
        theirs = None if reader is None else reader.launcher(launcher, allocation)
        if theirs is None:
            raise AllocationError(f"nothing brings the launcher {launcher!r} of {allocation.scheduler}")
        return theirs
    if container is not None and container.runtime == PYXIS and launcher != "srun":
        raise InputError(f"--container-runtime {PYXIS} is a plugin of Slurm: without srun, use apptainer")
    if launcher in _OF_JOBS:
        scheduler, variable = _OF_JOBS[launcher]
        if variable not in os.environ:
            raise AllocationError(f"{launcher} is for jobs of {scheduler}: {variable} is not set here")
    here = Place(
        first_node=allocation.nodes[0].name,
        nodefile=lambda: read_nodefile(os.environ, read_file),
        nodes=tuple(node.name for node in allocation.nodes),
        mpiexec=lambda: _find_mpiexec(mpiexec),
        is_here=is_here,
        outlives_nodes=outlives_nodes,
        srun_options=() if container is None else tuple(srun_options(container, directory)),
    )
    return LAUNCHERS[launcher](here)


def _find_mpiexec(given: str) -> Mpiexec:
    from scoop_hpc.cli.mpi.mpiexec import find_mpiexec  # noqa: PLC0415  for one launcher of many

    return find_mpiexec(given, os.environ)


def is_here(host: str) -> bool:
    """Tell whether *host* is a name or an address of this machine."""
    own = socket.gethostname()
    if host in ("localhost", "127.0.0.1", "::1", own, own.partition(".")[0]):
        return True
    from scoop_hpc.transport import addresses  # noqa: PLC0415  psutil takes 15 ms, and is needed here only

    try:
        return host in addresses.own_addresses() or host == socket.getfqdn()
    except InputError:  # a machine without a network
        return False


def _this_machine(workers: int | None) -> Allocation:
    cpus = count_cpus()
    return Allocation("", (Node(socket.gethostname(), workers or cpus, cpus),))


def _check_single(allocation: Allocation, names: Sequence[str]) -> None:
    if len(allocation.nodes) > 1 and not (len(names) == 1 and is_here(names[0])):
        raise AllocationError(
            f"the launcher 'local' cannot reach the {len(allocation.nodes)} nodes of this {allocation.scheduler} job: "
            "leave --launcher out"
        )


def _check_runtime(runtime: str) -> None:
    """Refuse the *runtime* of a container if there is none on this machine, where all of the run will be."""
    if shutil.which(runtime) is None:
        raise InputError(
            f"--container-runtime {runtime}: there is no program {runtime!r} here: load its module, or choose another"
        )


def _check_hosts(hosts: Sequence[Host], launcher: str | None, given: Allocation | None) -> None:
    """See to it that ssh is used by those only who ask for it, and that they say where."""
    if hosts and launcher != "ssh" and given is None:
        names = fold(host.name for host in hosts)
        raise InputError(
            f"only ssh starts workers on hosts by name: add --launcher ssh, or leave out the hosts {names}"
        )
    if launcher == "ssh" and not hosts and given is None:
        raise InputError("which hosts? --launcher ssh wants --hosts n1:4,n2:4 or --hostfile FILE, outside a job")


def _own_addresses(interface: str) -> Sequence[str]:
    from scoop_hpc.transport import addresses  # noqa: PLC0415  psutil takes 15 ms, and one machine does not need it

    return addresses.own_addresses(interface)
