"""What every start of a run has in common: from this process and its environment to the wishes that a driver gets."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Callable, Optional

from scoop_hpc import jobdirectory
from scoop_hpc.allocation import Allocation, Node
from scoop_hpc.cli.allocated import find_allocation, read_file, read_nodefile
from scoop_hpc.cli.grid import plan_hosts
from scoop_hpc.cli.hostfile import Host
from scoop_hpc.errors import AllocationError, InputError
from scoop_hpc.hostlist import fold
from scoop_hpc.launch.driver import Wishes
from scoop_hpc.launchers.base import Launcher
from scoop_hpc.launchers.container import PYXIS, Container, srun_options
from scoop_hpc.launchers.local import LocalLauncher
from scoop_hpc.launchers.pbs import PbsdshLauncher, PbsTmrshLauncher
from scoop_hpc.launchers.qrsh import QrshLauncher
from scoop_hpc.launchers.srun import SrunLauncher
from scoop_hpc.launchers.ssh import SshLauncher
from scoop_hpc.placement import place
from scoop_hpc.protocol.messages import Program
from scoop_hpc.record import of_element
from scoop_hpc.schedulers.pbs_allocation import idle_cpus

ARRAY_INDEX = "SCOOP_HPC_JOB_ARRAY_INDEX"
ENDS_AT = "SCOOP_HPC_JOB_ENDS_AT"  # seconds since the epoch
SIGNALS = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
LAUNCHERS: dict[str, Callable[[], Launcher]] = {
    "local": LocalLauncher,
    "qrsh": QrshLauncher,
    "srun": SrunLauncher,
    "pbs_tmrsh": PbsTmrshLauncher,
    "pbsdsh": lambda: PbsdshLauncher(read_nodefile()),
    "ssh": lambda: SshLauncher(is_here),
}
# the launchers that go with a scheduler: the first whose command is found, or the first; with others, local
_OF_SCHEDULER = {"slurm": ("srun",), "pbs": ("pbs_tmrsh", "pbsdsh"), "torque": ("pbsdsh",), "sge": ("qrsh",)}


def open_missing_streams() -> None:
    """Give a process that was started with closed streams (``>&-``) empty ones: no other file may take their place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free


def wishes(
    program: bytes,
    arguments: Sequence[bytes],
    workers: Optional[int],
    launcher: Optional[str] = None,
    interface: str = "",
    patience: Optional[float] = None,
    hosts: Sequence[Host] = (),
    container: Optional[Container] = None,
    reader: Optional[str] = None,
    record: str = "",
) -> Wishes:
    """Return the wishes of somebody who wants *program* run here: on the job's whole allocation, if this is in a job,
    or else on *hosts*, if any are named.

    *reader* is the name of the one that is to read the allocation. Raises InputError where that cannot be.
    """
    try:
        directory = os.getcwdb()
    except OSError as error:
        raise InputError(f"cannot tell the current directory ({error.strerror}): go to one that exists") from error
    if interface:
        _own_addresses(interface)  # it must be there, whether it is needed or not
    given = find_allocation(reader)
    _check_hosts(hosts, launcher, given)
    allocation = given or _this_machine(workers)
    idle = idle_cpus(os.environ, allocation) if workers is None else ""
    if idle:
        print(f"scoop-hpc: warning: {idle}", file=sys.stderr)
    nodes = plan_hosts(hosts, workers) if hosts else place(allocation, workers)
    kind = _make(launcher or _fitting(allocation.scheduler), container, os.fsdecode(directory))
    if kind.one_machine and allocation.scheduler not in ("local", ""):
        _check_single(allocation)
    return Wishes(
        nodes=nodes,
        program=Program(program, tuple(arguments), directory, _environ_of_program(allocation)),
        launcher=kind,
        own_addresses=lambda: _own_addresses(interface),
        state=jobdirectory.root(os.environ),
        job_id=allocation.job_id,
        interface=interface,
        warn=workers is None,
        ends_at=_ends_at(os.environ),
        patience=patience or 60 + 0.1 * len(nodes),
        container=container,
        record=of_element(record, allocation.array_index) if record else "",
    )


def _environ_of_program(allocation: Allocation) -> dict[bytes, bytes]:
    environ = dict(os.environb)
    if allocation.array_index is not None:  # by one name, whatever the scheduler's is
        environ[os.fsencode(ARRAY_INDEX)] = b"%d" % allocation.array_index
    return environ


def _ends_at(environ: Mapping[str, str]) -> Optional[float]:
    """Return when the job's walltime is over, as its script reckons; None where it says nothing."""
    text = environ.get(ENDS_AT, "")
    return float(text) if text.isascii() and text.isdigit() else None


def _fitting(scheduler: str) -> str:
    names = _OF_SCHEDULER.get(scheduler, ("local",))
    return next((name for name in names if shutil.which(name)), names[0])


def _make(launcher: str, container: Optional[Container], directory: str) -> Launcher:
    if container is None or container.runtime != PYXIS:
        return LAUNCHERS[launcher]()
    if launcher != SrunLauncher.name:
        raise InputError(f"--container-runtime {PYXIS} is a plugin of Slurm: without srun, use apptainer")
    return SrunLauncher(srun_options(container, directory))


def count_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_here(host: str) -> bool:
    """Tell whether *host* is a name or an address of this machine."""
    own = socket.gethostname()
    if host in ("localhost", "127.0.0.1", "::1", own, own.partition(".")[0]):
        return True
    interfaces = importlib.import_module("scoop_hpc.transport.interfaces")  # psutil, where it is needed only
    try:
        return host in interfaces.own_addresses() or host == socket.getfqdn()
    except InputError:  # a machine without a network
        return False


def _this_machine(workers: Optional[int]) -> Allocation:
    cpus = count_cpus()
    return Allocation("", (Node(socket.gethostname(), workers or cpus, cpus),))


def _check_single(allocation: Allocation) -> None:
    if len(allocation.nodes) > 1:
        raise AllocationError(
            f"the launcher 'local' cannot reach the {len(allocation.nodes)} nodes of this {allocation.scheduler} job: "
            "leave --launcher out"
        )


def _check_hosts(hosts: Sequence[Host], launcher: Optional[str], given: Optional[Allocation]) -> None:
    """See to it that ssh is used by those only who ask for it, and that they say where."""
    if hosts and launcher != "ssh":
        names = fold(host.name for host in hosts)
        raise InputError(
            f"only ssh starts workers on hosts by name: add --launcher ssh, or leave out the hosts {names}"
        )
    if hosts and given is not None:
        raise InputError(f"this is in a {given.scheduler} job, whose nodes are used: leave --hosts and --hostfile out")
    if launcher == "ssh" and not hosts and given is None:
        raise InputError("which hosts? --launcher ssh wants --hosts n1:4,n2:4 or --hostfile FILE, outside a job")


def read_text(path: str) -> str:
    """Return what is in the user's file *path*; raise InputError where it cannot be read."""
    try:
        return read_file(path)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path!r}: {getattr(error, 'strerror', None) or error}") from error


def _own_addresses(interface: str) -> Sequence[str]:
    interfaces = importlib.import_module("scoop_hpc.transport.interfaces")  # psutil, where it is needed only
    addresses: Sequence[str] = interfaces.own_addresses(interface)
    return addresses
