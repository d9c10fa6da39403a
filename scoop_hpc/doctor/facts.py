"""The facts that checks are made of: values that travel from a job's nodes as JSON."""

from __future__ import annotations

from dataclasses import dataclass

ABSENT = "-"  # the version of a package that is not installed


@dataclass(frozen=True, slots=True)
class Software:
    """What has to be the same on all nodes. *packages* are names and versions."""

    python: str
    executable: str
    scoop_hpc: str
    protocol: int
    packages: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface that is up. *speed* is in Mbit/s, 0 where the system does not tell."""

    name: str
    addresses: tuple[str, ...]  # those that other nodes could use
    speed: int


@dataclass(frozen=True, slots=True)
class Space:
    """The room in a directory, in bytes; *total* is 0 where there is no such directory."""

    path: str
    free: int
    total: int
    is_writable: bool


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of ulimit(1); None: unlimited."""

    soft: int | None
    hard: int | None


@dataclass(frozen=True, slots=True)
class Limits:
    """What limits this user on a node; *threads* are those that the user has there already."""

    files: Limit  # -n
    processes: Limit  # -u: threads count, too
    locked: Limit  # -l, in bytes
    pids: int | None  # pids.max of the control group, None: none
    threads: int
    is_root: bool  # whom -u does not limit


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs that some jobs want; empty: not there."""

    modules: str  # such as "Lmod 8.7"
    containers: tuple[str, ...]
    mpi: tuple[str, ...]  # commands that start MPI programs
    mpi4py: str  # version
    has_infiniband: bool


@dataclass(frozen=True, slots=True)
class Marked:
    """A directory that the login node has put a mark in, as another host sees it."""

    path: str
    is_there: bool
    has_mark: bool
    is_writable: bool


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One host, as this user sees it."""

    host: str
    cpus: int
    software: Software
    interfaces: tuple[Interface, ...]
    address: str  # the one that a run would tell other nodes first; empty if there is none
    spaces: tuple[Space, ...]
    limits: Limits
    shares_memory: bool  # a process may map what another one of this user has made
    tools: Tools
    marked: tuple[Marked, ...] = ()


@dataclass(frozen=True, slots=True)
class Way:
    """What one node has measured of the way to another. *trouble* says why nothing was; all else is 0 then."""

    source: str
    target: str
    address: str = ""  # of the target
    latency: float = 0.0  # seconds, there and back
    rate: float = 0.0  # bytes per second
    clock: float = 0.0  # seconds by which the target's clock is ahead
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What a job's nodes have found: *expected* is how many of them there are."""

    expected: int
    nodes: tuple[NodeFacts, ...]
    ways: tuple[Way, ...]
