"""Several copies of one command, as srun and mpiexec number them."""

from __future__ import annotations

import pytest

from scoop_hpc.cli.copies import Copy, find_copy

STEP = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_ID": "0"}


@pytest.mark.parametrize(
    ("environ", "launcher"),
    [
        (STEP, "srun"),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0"}, "mpiexec"),
        ({"PMI_SIZE": "4", "PMI_RANK": "0"}, "mpiexec"),
    ],
)
def test_the_first_of_several_copies_speaks_for_all(environ: dict[str, str], launcher: str) -> None:
    copy = find_copy(environ, at_terminal=False)
    assert copy == Copy(launcher, 4, speaks=True)
    assert copy.complaint("p.py").startswith(f"{launcher} has started 4 copies of this command")


def test_other_copies_say_nothing() -> None:
    assert find_copy({**STEP, "SLURM_PROCID": "3"}, at_terminal=False) == Copy("srun", 4, speaks=False)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"},  # a batch script
        {"PMI_SIZE": "1", "PMI_RANK": "0"},
        {"SLURM_STEP_NUM_TASKS": "many"},
    ],
)
def test_a_command_that_was_started_once_is_no_copy(environ: dict[str, str]) -> None:
    assert find_copy(environ, at_terminal=False) is None


def test_a_shell_at_the_terminal_of_an_interactive_step_is_no_copy() -> None:
    environ = {**STEP, "SLURM_PROCID": "0", "SLURM_PTY_PORT": "40000"}
    assert find_copy(environ, at_terminal=True) is None
    assert find_copy(environ, at_terminal=False) is not None
