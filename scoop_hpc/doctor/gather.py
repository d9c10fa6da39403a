"""Look at the machine that this process is on; what cannot be told is left empty, for a doctor has to finish."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence

import psutil

from scoop_hpc import __version__
from scoop_hpc.doctor.facts import (
    ABSENT,
    Interface,
    Limit,
    Limits,
    Marked,
    NodeFacts,
    Software,
    Space,
    Tools,
)
from scoop_hpc.errors import InputError
from scoop_hpc.protocol.messages import VERSION
from scoop_hpc.transport import addresses, maps

# of those that travel, or that others unpickle: a result of numpy 2 cannot be read by numpy 1
_PACKAGES = ("cloudpickle", "greenlet", "msgspec", "pyzmq", "numpy")
_CONTAINERS = ("apptainer", "singularity", "enroot")  # those that --container-runtime knows; enroot is pyxis's
_MPI = ("mpirun", "mpiexec", "srun")


def look(
    environ: Mapping[str, str], marks: Sequence[tuple[str, str]] = (), towards: str = "", host: str = ""
) -> NodeFacts:
    """Return the facts of this machine, which others call *host*.

    *marks* are directories, each with the name of a file that somebody else has put there; *towards* is an address of
    the machine that a run would be driven from.
    """
    return NodeFacts(
        host=host or socket.gethostname(),
        cpus=os.cpu_count() or 1,
        software=_software(),
        interfaces=_interfaces(),
        address=next(iter(own_addresses(towards)), ""),
        spaces=(_space("/dev/shm"), _space(environ.get("TMPDIR", "") or tempfile.gettempdir())),
        limits=_limits(),
        shares_memory=maps.usable(),
        tools=_tools(environ),
        marked=tuple(_marked(directory, name) for directory, name in marks),
    )


def own_addresses(towards: str = "") -> list[str]:
    """Return the addresses of this machine, those first that a run would tell other nodes first."""
    try:
        found = addresses.own_addresses()
    except (InputError, OSError, psutil.Error):  # a machine without a network
        return []
    return addresses.preferred(found, addresses.route_to(towards)) if towards else found


def _software() -> Software:
    versions = tuple((name, _version(name)) for name in _PACKAGES)
    return Software(platform.python_version(), sys.executable or "", __version__, VERSION, versions)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package) or ABSENT
    except (importlib.metadata.PackageNotFoundError, OSError, ValueError):  # the last two: it is damaged
        return ABSENT


def _interfaces() -> tuple[Interface, ...]:
    try:
        states, every = psutil.net_if_stats(), psutil.net_if_addrs()
    except (OSError, psutil.Error):
        return ()
    families = (socket.AF_INET, socket.AF_INET6)
    found = []
    for name, known in sorted(every.items()):
        usable = addresses.usable(each.address for each in known if each.family in families)
        if usable and name in states and states[name].isup:
            found.append(Interface(name, tuple(usable), states[name].speed))
    return tuple(found)


def _space(path: str) -> Space:
    try:
        found = os.statvfs(path)
    except OSError:
        return Space(path, 0, 0, False)
    return Space(path, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, _is_writable(path))


def _is_writable(path: str) -> bool:
    return os.access(path, os.W_OK | os.X_OK)


def _limits() -> Limits:
    return Limits(
        files=_limit(resource.RLIMIT_NOFILE),
        processes=_limit(resource.RLIMIT_NPROC),
        locked=_limit(resource.RLIMIT_MEMLOCK),
        pids=_most_pids(),
        threads=_count_threads(),
        is_root=os.geteuid() == 0,
    )


def _limit(kind: int) -> Limit:
    soft, hard = (None if value == resource.RLIM_INFINITY else value for value in resource.getrlimit(kind))
    return Limit(soft, hard)


def _most_pids() -> int | None:
    """Return the least ``pids.max`` of the control groups that this process is in [cgroups(7)]."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
        for _, controllers, path in (group for group in groups if len(group) == 3):
            if controllers == "" or "pids" in controllers.split(","):
                root = "/sys/fs/cgroup" if controllers == "" else "/sys/fs/cgroup/pids"
                found += _limits_above(root, path)
    return min(found, default=None)


def _limits_above(root: str, path: str) -> list[int]:
    found = []
    while path not in ("", "/"):
        with contextlib.suppress(OSError, ValueError), open(f"{root}{path}/pids.max", encoding="ascii") as file:
            found.append(int(file.read()))  # or "max"
        path = os.path.dirname(path)
    return found


def _count_threads() -> int:
    """Return how many threads this user has on this machine."""
    count = 0
    own = os.getuid()
    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if process.uids().real == own:
                count += process.num_threads()
    return count


def _tools(environ: Mapping[str, str]) -> Tools:
    return Tools(
        modules=_modules(environ),
        containers=_on_path(_CONTAINERS),
        mpi=_on_path(_MPI),
        mpi4py="" if _version("mpi4py") == ABSENT else _version("mpi4py"),
        has_infiniband=os.path.isdir("/sys/class/infiniband") and bool(os.listdir("/sys/class/infiniband")),
    )


def _on_path(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if shutil.which(name))


def _modules(environ: Mapping[str, str]) -> str:
    """Return the system of environment modules, empty if there is none."""
    if environ.get("LMOD_CMD") or environ.get("LMOD_PKG"):
        return f"Lmod {environ.get('LMOD_VERSION', '')}".rstrip()
    home = environ.get("MODULESHOME", "")
    if home:
        return f"Environment Modules in {home}"
    scripts = ("/etc/profile.d/lmod.sh", "/etc/profile.d/modules.sh")  # those that a job script looks for
    return next((f"modules by {path}" for path in scripts if os.path.exists(path)), "")


def _marked(directory: str, name: str) -> Marked:
    there = os.path.isdir(directory)
    has_mark = False
    if there:
        with contextlib.suppress(OSError):
            os.listdir(directory)  # NFS looks again at what other hosts have put there
            has_mark = os.path.exists(os.path.join(directory, name))
    return Marked(directory, there, has_mark, there and _is_writable(directory))
