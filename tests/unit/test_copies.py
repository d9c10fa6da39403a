"""Copies of one command are noticed where one run would become several; what is left over from elsewhere is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scoop_hpc.cli.allocated import refuse_second_pool
from scoop_hpc.cli.mpi.ranks import enter
from scoop_hpc.errors import AllocationError
from scoop_hpc.schedulers.copies import read_copy
from scoop_hpc.schedulers.reader import Copy
from scoop_hpc.schedulers.readers import outside_jobs

ENVIRONMENTS = Path(__file__).parents[1] / "data" / "slurm" / "22.05.8" / "env"


def environment(name: str) -> dict[str, str]:
    lines = (ENVIRONMENTS / f"{name}.txt").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


STEP = environment("step-n2")


@pytest.mark.parametrize(
    ("environ", "copy"),
    [
        (STEP, Copy("srun", 1, 2)),
        ({**STEP, "SLURM_PROCID": "0"}, Copy("srun", 0, 2)),
        (environment("batch-from-a-step"), None),
        ({**STEP, "SLURM_STEP_NODELIST": "other[1-2]"}, None),
        (environment("step-n1-c2"), None),
        ({**STEP, "SLURM_PTY_PORT": "33343", "SLURM_PROCID": "0"}, None),
        ({**STEP, "SLURM_PTY_PORT": "33343"}, Copy("srun", 1, 2)),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}, Copy("mpiexec", 3, 4)),
        ({"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, None),
        ({"PMI_SIZE": "2", "PMI_RANK": "0"}, Copy("mpiexec", 0, 2)),
        ({"MV2_COMM_WORLD_SIZE": "2", "MV2_COMM_WORLD_RANK": "0"}, Copy("mpiexec", 0, 2)),
        ({"JSM_NAMESPACE_SIZE": "2", "JSM_NAMESPACE_RANK": "1"}, Copy("jsrun", 1, 2)),
        ({"FLUX_JOB_SIZE": "2", "FLUX_TASK_RANK": "1"}, Copy("flux run", 1, 2)),
        ({"PMI_SIZE": "many", "PMI_RANK": "0", "SLURM_STEP_NUM_TASKS": "2"}, None),
        ({}, None),
    ],
)
def test_which_of_several_copies_this_is(environ: dict[str, str], copy: Copy | None) -> None:
    assert read_copy(environ) == copy


def test_the_first_copy_says_why_and_the_others_end_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "environ", {**STEP, "SLURM_PROCID": "0"})
    with pytest.raises(
        AllocationError, match="srun started 2 copies of this command.*in the job's script without srun"
    ):
        enter(60.0)
    monkeypatch.setattr(os, "environ", dict(STEP))
    with pytest.raises(SystemExit) as ended:
        enter(60.0)
    assert (ended.value.code, *capsys.readouterr()) == (0, "", "")


def test_of_several_copies_with_a_pool_only_the_first_has_the_job_s_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {**STEP, "SLURM_PROCID": "0"})
    refuse_second_pool()
    monkeypatch.setattr(os, "environ", dict(STEP))
    with pytest.raises(AllocationError, match="2 copies"):
        refuse_second_pool()
    monkeypatch.setattr(os, "environ", {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"})
    refuse_second_pool()  # in no job: each has its own


def test_a_submitted_job_is_no_copy() -> None:
    environ = {"PMI_SIZE": "2", "PMI_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_MCA_btl": "self", **STEP}
    assert outside_jobs(environ) == {"OMPI_MCA_btl": "self"}
