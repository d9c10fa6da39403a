"""Commands that start agents in containers."""

from __future__ import annotations

from scoop_hpc.launchers.container import Container, inside, srun_options
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
