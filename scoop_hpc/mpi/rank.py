"""A rank, from its begin to the end of MPI: the first becomes the driver, one of each node an agent's parent.

::

    rank 0   <--facts-- all ranks          over MPI
    rank 0   --orders--> all ranks
    all      MPI_Finalize
    rank 0: the driver     leaders: wait for the agent that they start     others: end, or wait for their leader

After MPI_Finalize a rank stays an ordinary process to its end: to mpiexec, one that execs, leaves by `os._exit` or
closes a descriptor that it does not know is one that failed, for which it kills all others. So agents are children.
They get no descriptor but the standard ones, and an environment without mpiexec's variables: a task may start programs
that use MPI themselves.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from scoop_hpc.complaints import say
from scoop_hpc.errors import LaunchError
from scoop_hpc.launchers.base import Command, Forwarding
from scoop_hpc.mpi.plan import BeAgent, Facts, Leave, Order, RankedNode, Stay, plan_nodes, plan_orders
from scoop_hpc.protocol.messages import VERSION
from scoop_hpc.shares.gpus import own_device_variables

_PR_SET_PDEATHSIG = 1  # prctl(2)
_PASSED_BY = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)  # mpiexec sends them to all ranks


class Way(Protocol):
    """The way to the other ranks: `scoop_hpc.mpi.exchange`."""

    rank: int
    size: int

    def gather(self, own: bytes, patience: float) -> list[bytes]:
        """Return what all ranks told: *own* of this one, the first."""

    def tell(self, text: bytes, patience: float) -> None:
        """Tell the first rank *text*."""

    def order(self, texts: Mapping[int, bytes], patience: float) -> None:
        """Tell each rank of *texts* its own."""

    def ordered(self, patience: float) -> bytes:
        """Return what the first rank tells this one."""

    def end(self) -> None:
        """Finalise MPI, which waits for all ranks."""

    def abort(self, status: int) -> None:
        """End all ranks by force."""


class Watching(Protocol):
    """What sees to it that MPI_Finalize does not last for ever: `scoop_hpc.mpi.watch`."""

    def begin(self) -> None:
        """Count the time from now on."""

    def close(self) -> None:
        """Count no longer."""


class Starter(Struct, frozen=True):
    """The facts about mpiexec or srun that matter to a rank."""

    early: bool  # it lets a rank end long before the others
    binds: bool  # by itself, not because the scheduler does: its own process has all CPUs that were granted


def begin(exchange: Way, watch: Watching, starter: Starter, patience: float) -> FirstRank | None:
    """Be one of the ranks: return what the first one needs to be the driver, None to all others, which are done."""
    parent = os.getppid()
    own = msgspec.msgpack.encode(_facts(exchange.rank, starter.binds, parent))
    if exchange.rank == 0:
        told = exchange.gather(own, patience)

        def settle(node: RankedNode) -> None:
            _use_cpus(node.cpus)
            _end_with(parent)

        return FirstRank(exchange, watch, starter.early, patience, told, settle)
    exchange.tell(own, patience)
    # the first rank may take its time to see that all is right, before it says what to do
    order = msgspec.msgpack.decode(exchange.ordered(2 * patience), type=Order)
    _finalise(exchange, watch)
    match order:
        case BeAgent():
            _be_agent(order, parent)
        case Stay(pid):
            _stay(pid)
        case Leave():
            pass
    return None


class FirstRank:
    """Rank 0, which knows what all ranks are, and has to give them their orders. Closed, it sends away who has none."""

    def __init__(
        self,
        exchange: Way,
        watch: Watching,
        early: bool,
        patience: float,
        told: Sequence[bytes],
        settle: Callable[[RankedNode], None],
    ) -> None:
        self._exchange = exchange
        self._watch = watch
        self._early = early
        self._patience = patience
        self._told = told
        self._settle = settle  # on the own node, when MPI is over
        self._is_over = False
        self.nodes: tuple[RankedNode, ...] = ()

    def __enter__(self) -> FirstRank:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_over:
            self._order({rank: Leave() for rank in range(1, self._exchange.size)})

    def plan(self) -> None:
        """Find out the nodes; raise LaunchError if the ranks do not fit together."""
        self.nodes = plan_nodes([msgspec.msgpack.decode(text, type=Facts) for text in self._told])

    def start_agents(self, agents: Mapping[str, BeAgent]) -> None:
        """Let the leaders of these nodes start their *agents*; be without MPI from then on."""
        self._order(plan_orders(self.nodes, agents, self._early))
        self._settle(self.nodes[0])

    def _order(self, orders: Mapping[int, Order]) -> None:
        self._is_over = True
        try:
            texts = {rank: msgspec.msgpack.encode(order) for rank, order in orders.items()}
            self._exchange.order(texts, self._patience)
        except LaunchError as error:
            say(f"error: {error}")
            self._exchange.abort(1)
        _finalise(self._exchange, self._watch)


class RanksLauncher:
    """Starts the agent of this node as a child; the ranks of the other nodes start theirs.

    It has one command only. That of another node is not a child of the driver, which knows its agent by its connection.
    Where mpiexec ends all ranks by force, with their process groups, the agents live long enough to clean up.
    """

    name = "mpiexec"
    forwarding = Forwarding.LAUNCHER
    relays = True
    outlived = False

    def __init__(self, ranks: FirstRank) -> None:
        self.one_machine = len(ranks.nodes) == 1
        self._ranks = ranks

    def commands(self, agent: Sequence[str], nodes: Sequence[str], environ: Mapping[str, str]) -> list[Command]:
        here, *others = nodes
        texts = {os.fsencode(name): os.fsencode(value) for name, value in environ.items()}
        cpus = {node.name: node.cpus for node in self._ranks.nodes}
        self._ranks.start_agents({name: BeAgent((*agent, "--node", name), texts, cpus[name]) for name in others})
        return [Command((*agent, "--node", here), dict(environ), (here,), own_session=True)]


def _finalise(exchange: Way, watch: Watching) -> None:
    watch.begin()
    exchange.end()
    watch.close()


def _facts(rank: int, binds: bool, parent: int) -> Facts:
    boot = ""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    cpus: set[int] = set()
    if sys.platform == "linux":
        cpus |= os.sched_getaffinity(0)
        if binds:
            with contextlib.suppress(OSError):  # mpiexec's process here is another user's
                cpus |= os.sched_getaffinity(parent)
    python = "{}.{}".format(*sys.version_info)
    return Facts(rank, socket.gethostname(), boot, os.getpid(), tuple(sorted(cpus)), python, VERSION)


def _use_cpus(cpus: Sequence[int]) -> None:
    """Use what all ranks of this node may use, together: they have one CPU each, and most of them end."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # the node's cgroup says otherwise
            os.sched_setaffinity(0, cpus)


def _be_agent(order: BeAgent, parent: int) -> None:
    """Start the agent, and wait for its end. How it ended is for the driver to judge."""
    _use_cpus(order.cpus)
    for number in _PASSED_BY:
        signal.signal(number, _ignore)  # by a handler, not SIG_IGN, which the agent would inherit
    environ = {**order.environ, **own_device_variables(os.environb)}
    rank = os.getpid()
    with subprocess.Popen(
        order.argv,
        env=environ,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        # Hydra tells of a rank that was killed only when nobody holds its standard output any more
        preexec_fn=lambda: _end_with(rank),
    ) as agent:

        def end_if_alone(number: int, frame: object) -> None:
            if os.getppid() != parent:
                agent.terminate()

        signal.signal(signal.SIGTERM, end_if_alone)
        _end_with(parent)
        agent.wait()


def _end_with(parent: int) -> None:
    """Get SIGTERM when *parent*, mpiexec's process on this node, dies: some leave their ranks behind [prctl(2)]."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        signal.raise_signal(signal.SIGTERM)


def _stay(pid: int) -> None:
    """Wait until the process *pid* of this node has ended, without using a core."""
    for number in (signal.SIGTERM, *_PASSED_BY):
        signal.signal(number, _ignore)
    poller = select.poll()
    try:
        poller.register(os.pidfd_open(pid), select.POLLIN)
    except OSError:  # it has ended, or is in another container
        return
    poller.poll()


def _ignore(number: int, frame: object) -> None:
    """Do nothing."""
