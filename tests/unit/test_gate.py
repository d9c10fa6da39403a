"""The gate where ranks of a node meet before MPI_Init: which ranks have one, and what they call it."""

from __future__ import annotations

import pytest

from scoop_hpc.mpi.gate import Gate, maker_of_way, read_gate

HYDRA = {"MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "3"}
SRUN = {"SLURM_LOCALID": "1", "SLURM_NODEID": "2", "SLURM_STEP_TASKS_PER_NODE": "4(x2),3"}


@pytest.mark.parametrize("environ", [HYDRA, SRUN], ids=["Hydra", "srun"])
def test_ranks_of_a_node_have_the_gate_of_its_proxy(environ: dict[str, str]) -> None:
    assert read_gate(environ, 77, 1000) == Gate(1, 3, b"\0scoop-hpc-1000-77")


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {**HYDRA, "MPI_LOCALNRANKS": "1", "MPI_LOCALRANKID": "0"},
        {**HYDRA, "MPI_LOCALRANKID": "3"},
        {**HYDRA, "MPI_LOCALNRANKS": "x"},
        {**SRUN, "SLURM_NODEID": "3"},
        {**SRUN, "SLURM_NODEID": ""},
        {**SRUN, "SLURM_STEP_TASKS_PER_NODE": "4(y2"},
    ],
)
def test_who_has_nobody_to_wait_for_or_cannot_tell_has_none(environ: dict[str, str]) -> None:
    assert read_gate(environ, 77, 1000) is None


def test_ranks_whose_proxy_is_not_known_have_none() -> None:
    assert read_gate(HYDRA, 0, 1000) is None


@pytest.mark.parametrize("descriptor", ["", "none", "-1", "99999"])
def test_a_way_that_is_none_was_made_by_nobody(descriptor: str) -> None:
    assert maker_of_way({"PMI_FD": descriptor}) == 0
