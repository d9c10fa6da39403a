"""Commands that start agents in containers."""

from __future__ import annotations

from scoop_hpc.launchers.container import Container, gpu_option, inside, srun_options
from scoop_hpc.launchers.srun import SrunLauncher

AGENT = ["python3", "-c", "code"]


def test_singularity_is_called_as_apptainer_is() -> None:
    argv = inside(Container("docker://site/tools", "singularity"), AGENT, "/scratch/me")
    assert argv == ["singularity", "exec", "--bind", "/scratch/me", "docker://site/tools", *AGENT]


def test_pyxis_is_srun_s() -> None:
    pyxis = Container("site/tools", "pyxis")
    assert inside(pyxis, AGENT, "/scratch/me") == AGENT
    (command,) = SrunLauncher(srun_options(pyxis, "/scratch/me")).commands(AGENT, ["n1", "n2"], {})
    assert "--container-image=site/tools" in command.argv
    assert "--container-mounts=/scratch/me:/scratch/me" in command.argv
    assert command.argv.index("--container-image=site/tools") < command.argv.index("python3")


def test_other_runtimes_are_not_srun_s() -> None:
    assert srun_options(Container("tools.sif"), "/scratch/me") == []


def test_options_for_the_runtime_stand_before_the_image() -> None:
    container = Container("tools.sif", options=("--nv", "--bind=/data"))
    argv = inside(container, AGENT, "/scratch/me")
    assert argv == ["apptainer", "exec", "--bind", "/scratch/me", "--nv", "--bind=/data", "tools.sif", *AGENT]


def test_mounts_for_pyxis_join_the_program_s_directory() -> None:
    pyxis = Container("site/tools", "pyxis", ("--container-mounts=/data:/data:ro", "--container-writable"))
    assert srun_options(pyxis, "/scratch/me") == [
        "--container-image=site/tools",
        "--container-mounts=/scratch/me:/scratch/me,/data:/data:ro",
        "--container-mount-home",
        "--container-writable",
    ]


def test_gpus_are_shown_by_the_option_of_their_vendor() -> None:
    assert gpu_option("singularity", "ROCR_VISIBLE_DEVICES") == ("--rocm",)
    assert gpu_option("apptainer", "ZE_AFFINITY_MASK") == gpu_option("pyxis", "CUDA_VISIBLE_DEVICES") == ()
