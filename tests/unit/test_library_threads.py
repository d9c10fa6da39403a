"""How many threads a worker's numerical libraries get."""

from __future__ import annotations

import pytest

from scoop_hpc.cli.threads import VARIABLES, counted_variables, cpus_of_worker, thread_variables
from scoop_hpc.run.placement import place
from scoop_hpc.schedulers.allocation import Allocation, Node


def allocation(*cpus: int, slots: int, per_worker: int = 1) -> Allocation:
    nodes = tuple(Node(f"n{index}", slots, each) for index, each in enumerate(cpus))
    return Allocation("slurm", nodes, "1", per_worker)


@pytest.mark.parametrize(
    ("given", "workers", "cpus"),
    [
        (allocation(8, slots=8), None, 1),
        (allocation(8, slots=2, per_worker=4), None, 4),
        (allocation(8, slots=2), None, 4),  # the node is the job's alone
        (allocation(8, slots=8), 1, 8),
        (allocation(8, slots=8), 3, 2),
        (allocation(8, slots=8), 20, 1),
        (allocation(64, 16, slots=4), None, 4),  # one number for all nodes: the smallest
    ],
)
def test_a_worker_has_its_share_of_its_node(given: Allocation, workers: int | None, cpus: int) -> None:
    assert cpus_of_worker(given, place(given, workers)) == cpus


def test_all_seven_variables_are_set_where_the_user_has_set_none() -> None:
    assert thread_variables({}, 3) == dict.fromkeys(VARIABLES, b"3")
    assert len(VARIABLES) == 7


def test_what_the_user_has_set_stays() -> None:
    added = thread_variables({b"MKL_NUM_THREADS": b"4"}, 1)
    assert b"MKL_NUM_THREADS" not in added
    assert added[b"OMP_NUM_THREADS"] == b"1"


@pytest.mark.parametrize(("openmp", "others"), [(b"4", b"4"), (b"4,2", b"4"), (b" 4", b"4"), (b"many", b"1")])
def test_the_users_openmp_threads_hold_for_all_libraries(openmp: bytes, others: bytes) -> None:
    added = thread_variables({b"OMP_NUM_THREADS": openmp}, 1)
    assert b"OMP_NUM_THREADS" not in added
    assert set(added.values()) == {others}


def test_what_pbs_has_set_by_itself_is_not_the_users() -> None:
    assert thread_variables({b"NCPUS": b"8", b"OMP_NUM_THREADS": b"8"}, 1) == dict.fromkeys(VARIABLES, b"1")


def test_only_what_the_user_has_not_set_holds_the_worker_s_cpus() -> None:
    assert set(counted_variables({b"MKL_NUM_THREADS": b"4"})) == {*map(bytes.decode, VARIABLES)} - {"MKL_NUM_THREADS"}
    assert counted_variables({b"OMP_NUM_THREADS": b"4"}) == ()
