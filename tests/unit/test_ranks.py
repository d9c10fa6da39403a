"""Which rank is what, and whose ranks a process may be: by what they say of themselves, without an MPI."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from msgspec import structs

from scoop_hpc.errors import InputError, LaunchError
from scoop_hpc.mpi.plan import BeAgent, Facts, Leave, Order, Stay, named, plan_nodes, plan_orders
from scoop_hpc.mpi.rank import FirstRank, RanksLauncher
from scoop_hpc.mpi.world import (
    Family,
    Library,
    World,
    clean_environ,
    read_mpiexec,
    refuse_lonely,
    refuse_strangers,
)

HYDRA = {"PMI_SIZE": "8", "PMI_RANK": "3", "MPI_LOCALRANKID": "1"}
OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0"}
MPICH_5 = Library("MPICH Version:      5.0.2\nMPICH Release date: Fri Sep 25")
OPEN_MPI_5 = Library("Open MPI v5.0.11, package: Open MPI user@localhost", speaks_pmix=True)
INTEL = Library("Intel(R) MPI Library 2021.18.1 for Linux* OS\n")
AGENT = BeAgent(("python", "agent"), {b"KEY": b"secret"}, (0, 1))


def facts(rank: int, host: str, cpus: tuple[int, ...] = (0,), boot: str = "") -> Facts:
    return Facts(rank, host, boot or f"boot of {host}", 100 + rank, cpus, "3.11", 10)


def test_ranks_of_a_host_are_one_node_and_the_lowest_leads() -> None:
    nodes = plan_nodes([facts(2, "n2"), facts(0, "n1", (0,)), facts(3, "n1", (2, 3)), facts(1, "n2")])
    assert [(node.name, node.ranks, node.leader, node.pid) for node in nodes] == [
        ("n1", (0, 3), 0, 100),
        ("n2", (1, 2), 1, 101),
    ]
    assert nodes[0].cpus == (0, 2, 3)


def test_the_node_of_the_first_rank_comes_first() -> None:
    assert [node.name for node in plan_nodes([facts(1, "a"), facts(0, "z")])] == ["z", "a"]


def test_two_machines_of_one_name_are_told_apart_and_refused() -> None:
    with pytest.raises(LaunchError, match="rank 0 and rank 1 are on two machines that are called 'localhost'"):
        plan_nodes([facts(0, "localhost", boot="x"), facts(1, "localhost", boot="y")])
    with pytest.raises(LaunchError, match="called 'n1.a' and 'n1.b'"):
        plan_nodes([facts(0, "n1.a"), facts(1, "n1.b")])


def test_another_python_is_named_with_its_rank() -> None:
    other = msgspec.structs.replace(facts(1, "n2"), python="3.12")
    with pytest.raises(LaunchError, match=r"rank 1 on n2 runs Python 3\.12 .* rank 0 on n1 3\.11"):
        plan_nodes([facts(0, "n1"), other])


def orders(early: bool, agents: dict[str, BeAgent]) -> dict[int, Order]:
    return plan_orders(plan_nodes([facts(rank, f"n{rank // 2}") for rank in range(6)]), agents, early)


def test_leaders_start_agents_and_all_others_leave() -> None:
    assert orders(early=True, agents={"n1": AGENT, "n2": AGENT}) == {
        1: Leave(),
        2: AGENT,
        3: Leave(),
        4: AGENT,
        5: Leave(),
    }


def test_where_ranks_may_not_end_early_they_stay_as_long_as_their_leader() -> None:
    given = orders(early=False, agents={"n1": AGENT})
    assert (given[1], given[3]) == (Stay(100), Stay(102))  # with the driver, and with an agent


def test_a_node_without_a_worker_has_no_agent() -> None:
    assert orders(early=False, agents={"n1": AGENT})[4] == Leave()


class Recorded:
    """The way to other ranks, which are not there: what they were told is kept."""

    rank, size = 0, 4

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.done: list[str] = []

    def gather(self, own: bytes, patience: float) -> list[bytes]:
        return [msgspec.msgpack.encode(facts(rank, f"n{rank // 2}")) for rank in range(4)]

    def tell(self, text: bytes, patience: float) -> None:
        raise AssertionError

    def order(self, texts: Mapping[int, bytes], patience: float) -> None:
        self.done.append("order")
        self.orders = {rank: msgspec.msgpack.decode(text, type=Order) for rank, text in texts.items()}

    def ordered(self, patience: float) -> bytes:
        raise AssertionError

    def end(self) -> None:
        self.done.append("end")

    def abort(self, status: int) -> None:
        raise AssertionError


class Unwatched:
    def begin(self) -> None: ...

    def close(self) -> None: ...


def first_rank(way: Recorded) -> FirstRank:
    return FirstRank(way, Unwatched(), True, 1.0, way.gather(b"", 1.0), lambda node: way.done.append(node.name))


def test_the_launcher_starts_the_own_agent_and_lets_others_start_theirs() -> None:
    way = Recorded()
    with first_rank(way) as first:
        first.plan()
        (command,) = RanksLauncher(first).commands(["python", "agent"], ["n0", "n1"], {"KEY": "secret"})
    assert (command.argv, command.nodes) == (("python", "agent", "--node", "n0"), ("n0",))
    assert way.orders[2] == BeAgent(("python", "agent", "--node", "n1"), {b"KEY": b"secret"}, (0,))
    assert way.done == ["order", "end", "n0"]


def test_who_has_no_order_is_sent_away() -> None:
    way = Recorded()
    with pytest.raises(InputError), first_rank(way):
        raise InputError("no such program")
    assert way.orders == {1: Leave(), 2: Leave(), 3: Leave()}
    assert way.done == ["order", "end"]


@pytest.mark.parametrize(
    ("environ", "world"),
    [
        (HYDRA, World("mpiexec of MPICH", 3, 8, Family.HYDRA)),
        ({**HYDRA, "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}, World("mpiexec of MPICH", 3, 8, Family.HYDRA)),
        (OPEN_MPI, World("mpiexec of Open MPI", 0, 4, Family.OPEN_MPI)),
        ({"PMI_SIZE": "8", "PMI_RANK": "3"}, None),
        ({**HYDRA, "PMI_SIZE": "1"}, None),
        ({**HYDRA, "PMI_RANK": "first"}, None),
        ({}, None),
    ],
)
def test_what_mpiexec_has_said(environ: dict[str, str], world: World | None) -> None:
    assert read_mpiexec(environ) == world


@pytest.mark.parametrize(
    ("world", "library", "words"),
    [
        (World("mpiexec of MPICH", 0, 8, Family.HYDRA), OPEN_MPI_5, "mpiexec of MPICH .*loaded Open MPI 5.0.11"),
        (World("mpiexec of Open MPI", 0, 8, Family.OPEN_MPI), MPICH_5, "mpiexec of Open MPI .*loaded MPICH 5.0.2"),
        (World("mpiexec of Open MPI", 0, 8, Family.OPEN_MPI), INTEL, r"Intel\(R\) MPI Library 2021.18.1"),
        (World("srun", 0, 8, plugin="pmix_v4"), MPICH_5, "--mpi=pmix_v4: start them by srun --mpi=pmi2"),
    ],
)
def test_the_wrong_mpiexec_is_refused_with_both_names(world: World, library: Library, words: str) -> None:
    with pytest.raises(InputError, match=words):
        refuse_strangers(world, library)


@pytest.mark.parametrize(
    ("world", "library"),
    [
        (World("mpiexec of MPICH", 0, 8, Family.HYDRA), MPICH_5),
        (World("mpiexec of MPICH", 0, 8, Family.HYDRA), INTEL),
        (World("mpiexec of Open MPI", 0, 8, Family.OPEN_MPI), OPEN_MPI_5),
        (World("mpiexec of Open MPI", 0, 8, Family.OPEN_MPI), structs.replace(MPICH_5, speaks_pmix=True)),
        (World("srun", 0, 8, plugin="pmi2"), OPEN_MPI_5),  # some are built with it; else it is lonely
        (World("srun", 0, 8, plugin="pmix"), OPEN_MPI_5),
        (World("mpiexec of MPICH", 0, 8, Family.HYDRA), Library("A vendor's own MPI 3")),
    ],
)
def test_an_mpi_that_may_belong_to_the_ranks_is_tried(world: World, library: Library) -> None:
    refuse_strangers(world, library)


def test_a_rank_that_is_alone_where_it_is_one_of_many_has_the_wrong_mpi() -> None:
    world = World("srun", 0, 8, plugin="pmi2")
    with pytest.raises(InputError, match="srun started 8 ranks, .*Open MPI 5.0.11.*srun --mpi=pmix"):
        refuse_lonely(world, OPEN_MPI_5, 1)
    refuse_lonely(world, OPEN_MPI_5, 8)


def test_a_clean_environment_keeps_what_users_and_slurm_set_for_mpiexec() -> None:
    kept = {
        "HYDRA_BOOTSTRAP": "slurm",
        "HYDRA_LAUNCHER_EXTRA_ARGS": "--external-launcher",
        "I_MPI_HYDRA_BOOTSTRAP": "slurm",
        "OMPI_MCA_plm_slurm_args": "--external-launcher",
        "PRTE_MCA_plm_slurm_args": "--external-launcher",
        "OMPI_MCA_btl": "^ofi",
        "OPAL_PREFIX": "/opt/openmpi",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "SLURM_JOB_ID": "7",
        "SLURM_NTASKS": "8",
        "SLURM_CPUS_PER_TASK": "2",
    }
    ranks = {
        **HYDRA,
        **OPEN_MPI,
        "PMI_FD": "11",
        "HYDI_CONTROL_FD": "7",
        "PMIX_RANK": "0",
        "PRTE_LAUNCHED": "1",
        "OMPI_MCA_num_procs": "2",
        "OPAL_USER_PARAMS_GIVEN": "1",
        "I_MPI_INFO_NP": "1",
        "I_MPI_HYDRA_UUID": "bc4c",
        "SLURM_STEP_NODELIST": "n[1-4]",
        "SLURM_PROCID": "3",
        "SLURM_MPI_TYPE": "pmi2",
    }
    assert clean_environ({**ranks, **kept}) == kept


def test_a_message_names_some_of_many_ranks() -> None:
    assert named(range(100)).endswith("18, 19 and 80 more")
