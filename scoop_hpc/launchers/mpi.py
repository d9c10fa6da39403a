"""An MPI's mpiexec: all agents by one command, where nothing else starts processes on other nodes.

The agents do not use MPI, and need not: mpiexec starts any program. Each flag has its reason [mpiexec(1) of each]: one
process per node, because an agent starts the rest; unbound, because its workers use all CPUs of the job there, and Open
MPI binds each process to one; more of them than slots, because Slurm's job may have a slot on few nodes; as root,
because Open MPI refuses that. mpiexec's own standard input is empty: it would eat the job script's.

mpiexec brings no environment that can be relied on, and shows to everybody what it is told to bring, as arguments.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct, field

from scoop_hpc.errors import InputError
from scoop_hpc.launchers.base import Command, Forwarding
from scoop_hpc.shares.gpus import ALL_VARIABLES

_COUNT, _HOSTS = "{nodes}", "{hosts}"

# Open MPI; MPICH and Intel MPI, which begins with the rank
_FIRST_DEATH = (
    r"process rank \d+ with PID \d+ on node \S+ exited on signal \d+( \(.+?\))?"
    r"|(RANK \d+ )?PID \d+ RUNNING AT \S+ = +(EXIT CODE|KILLED BY SIGNAL): \d+( \(.+?\))?"
)


class Dialect(Struct, frozen=True):
    """What the mpiexecs of one kind of MPI have to be told; ``{nodes}`` is the number of nodes."""

    name: str
    version: re.Pattern[str]  # begins what its --version prints
    programs: tuple[str, ...]  # that it may be called, the surest first
    flags: tuple[str, ...]
    hosts: str  # flag before a list of hosts
    blind: tuple[str, ...] = ()  # variables of jobs whose nodes it may not find by itself
    environ: Mapping[str, str] = field(default_factory=dict)


# else it goes by the tasks of Slurm's job, not by -ppn
_NO_PINS = {"I_MPI_PIN": "0", "I_MPI_JOB_RESPECT_PROCESS_PLACEMENT": "0"}
_AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

INTEL = Dialect(
    name="Intel MPI",
    version=re.compile(r"Intel\(R\) MPI"),
    programs=("mpiexec.hydra", "mpiexec"),
    flags=("-n", _COUNT, "-ppn", "1"),
    hosts="-hosts",
    environ=MappingProxyType(_NO_PINS),
)
MPICH = Dialect(
    name="MPICH",
    version=re.compile("HYDRA"),
    programs=("mpiexec.hydra", "mpiexec.mpich", "mpiexec"),
    flags=("-n", _COUNT, "-ppn", "1", "-bind-to", "none"),
    hosts="-hosts",
)
OPEN_MPI = Dialect(
    name="Open MPI",
    version=re.compile(r"mpi(exec|run)(\.openmpi)? \((Open MPI|OpenRTE)\)"),
    programs=("mpiexec.openmpi", "mpiexec"),
    flags=("-n", _COUNT, "--map-by", "ppr:1:node:OVERSUBSCRIBE", "--bind-to", "none"),
    hosts="--host",
    # it always starts its daemons by qrsh there, but reads the nodes only if it was built for Grid Engine
    blind=("PE_HOSTFILE",),
    environ=MappingProxyType(_AS_ROOT),
)
DIALECTS = (INTEL, MPICH, OPEN_MPI)


def dialect_of(version: str) -> Dialect | None:
    """Return the dialect of the mpiexec whose ``--version`` prints *version*, None if it is none of those known here.

    >>> dialect_of("mpiexec (Open MPI) 5.0.11").name
    'Open MPI'
    """
    return next((dialect for dialect in DIALECTS if dialect.version.search(version)), None)


class Mpiexec(Struct, frozen=True):
    """A command that starts a process on each node: an mpiexec of a *dialect*, or a whole command of a site's own."""

    words: tuple[str, ...]
    dialect: Dialect | None = None

    def finds(self, variables: Container[str]) -> bool:
        """Return whether it finds the nodes of a job by itself, which has these *variables*."""
        return self.dialect is None or not any(name in variables for name in self.dialect.blind)

    def argv(self, nodes: Sequence[str], names_them: bool) -> tuple[str, ...]:
        """Return the command for *nodes*, with their names if it *names_them*.

        >>> Mpiexec(("aprun", "-n", "{nodes}", "-N", "1")).argv(["n1", "n2"], False)
        ('aprun', '-n', '2', '-N', '1')
        """
        words = self.words
        if self.dialect is not None:
            words += self.dialect.flags
            if names_them:
                words += (self.dialect.hosts, _HOSTS)
        values = {_COUNT: str(len(nodes)), _HOSTS: ",".join(nodes)}
        return tuple(re.sub(r"\{(nodes|hosts)\}", lambda found: values[found[0]], word) for word in words)


def is_whole(command: str) -> bool:
    """Return whether the user's *command* says itself on how many nodes it starts something."""
    return _COUNT in command or _HOSTS in command


def split(command: str) -> tuple[str, ...]:
    """Return the words of the user's *command*; raise InputError."""
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise InputError(f"--mpiexec {command!r}: {error}", "--mpiexec") from error
    if not words:
        raise InputError("--mpiexec is empty: name a command, or leave it out", "--mpiexec")
    return words


class MpiLauncher:
    """Starts all agents by one mpiexec. *job_nodes* are all that the job has."""

    name = "mpi"
    one_machine = False
    forwarding = Forwarding.FILE
    relays = True
    outlived = False

    def __init__(self, mpiexec: Mpiexec, job_nodes: Sequence[str]) -> None:
        self._mpiexec = mpiexec
        self._job_nodes = frozenset(job_nodes)

    def commands(self, agent: Sequence[str], nodes: Sequence[str], environ: Mapping[str, str]) -> list[Command]:
        dialect = self._mpiexec.dialect
        names_them = self._job_nodes != set(nodes) or not self._mpiexec.finds(environ)
        argv = (*self._mpiexec.argv(nodes, names_them), *agent, "--node-of-host")
        # some bring all of it to the other nodes, whose GPUs are not these
        brought = {name: value for name, value in environ.items() if name not in ALL_VARIABLES}
        environ = {**brought, **(dialect.environ if dialect else {})}
        return [Command(argv, environ, tuple(nodes), first_death=_FIRST_DEATH)]
