"""A run whose workers are in a container, as apptainer would start it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from conftest import Runs

ROOT = Path(__file__).parents[2]
FAKES = ROOT / "tests" / "fakes" / "container"
PROGRAM = """
import os
from scoop_hpc import futures

def where(i):
    return os.environ["PLACE"], os.getcwd()

if __name__ == "__main__":
    print(set(futures.map(where, range(20))))
"""


@pytest.fixture
def contained(runs: Runs) -> Runs:
    """Runs that find an apptainer; ``images`` in their directory tells of its calls."""
    python = runs.directory / "image" / "python3"  # the image's own
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    runs.environ["PYTHONPATH"] = str(ROOT)
    runs.environ["PATH"] = f"{FAKES}:{python.parent}:{runs.environ['PATH']}"
    runs.environ["FAKE_CONTAINERS"] = str(runs.directory / "images")
    runs.environ["PLACE"] = "here"
    return runs


def test_agents_start_in_the_image_where_the_driver_is_and_as_it_is(contained: Runs) -> None:
    done = contained.run("-n", "2", "--container", "tools.sif", contained.write(PROGRAM))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{{('here', {str(contained.directory)!r})}}\n"
    assert (contained.directory / "images").read_text() == f"{contained.directory} tools.sif\n"


def test_a_runtime_that_is_not_there_is_one_line(contained: Runs) -> None:
    words = ("--container", "tools.sif", "--container-runtime", "singularity", contained.write(PROGRAM))
    done = contained.run("-n", "2", *words)
    assert done.returncode == 2
    assert done.stderr == (
        "scoop-hpc: error: --container-runtime singularity: there is no program 'singularity' here: load its module, "
        "or choose another\n"
    )


def test_pyxis_without_slurm_is_one_line(contained: Runs) -> None:
    words = ("--container", "tools.sif", "--container-runtime", "pyxis", contained.write(PROGRAM))
    done = contained.run(*words)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "plugin of Slurm" in done.stderr


@pytest.mark.parametrize("nodes", ["node1", "node[1-2]"])
def test_a_runtime_that_other_nodes_lack_is_the_cause_in_the_last_line(contained: Runs, nodes: str) -> None:
    srun = contained.directory / "image" / "srun"
    told = "echo 'srun: error: node1: task 0: Exited with exit code 127' >&2"
    srun.write_text(f'#!/bin/sh\nwhile [ "$1" != /bin/sh ]; do shift; done\n"$@"\nstatus=$?\n{told}\nexit $status\n')
    srun.chmod(0o755)
    job = {"JOB_ID": "7", "JOB_NODELIST": nodes, "TASKS_PER_NODE": "1(x2)", "JOB_CPUS_PER_NODE": "1(x2)"}
    contained.environ.update({f"SLURM_{name}": value for name, value in job.items()})
    if nodes == "node1":
        contained.environ.update(SLURM_TASKS_PER_NODE="1", SLURM_JOB_CPUS_PER_NODE="1")
    words = ("--container", "tools.sif", "--container-runtime", "singularity", contained.write(PROGRAM))
    done = contained.run(*words)
    assert done.returncode == 1
    cause = f"no singularity on {os.uname().nodename}: load it by --module or --setup, or choose another"
    assert cause in done.stderr.splitlines()[-1]


def test_slurm_without_pyxis_is_named_by_what_srun_does_not_know(contained: Runs) -> None:
    srun = contained.directory / "image" / "srun"
    words = "srun: unrecognized option '--container-image=tools.sif'\nTry \"srun --help\" for more information\n"
    srun.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{words}END\nexit 1\n")
    srun.chmod(0o755)
    job = {"JOB_ID": "7", "JOB_NODELIST": "node1", "TASKS_PER_NODE": "1", "JOB_CPUS_PER_NODE": "1"}
    contained.environ.update({f"SLURM_{name}": value for name, value in job.items()})
    done = contained.run("--container", "tools.sif", "--container-runtime", "pyxis", contained.write(PROGRAM))
    assert done.returncode == 1
    assert "no agent on node1: srun: unrecognized option '--container-image=tools.sif'" in done.stderr


def test_options_for_the_runtime_reach_it_with_that_of_the_gpus(contained: Runs) -> None:
    contained.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
    words = ("--container", "tools.sif", "--container-option", "--bind=/data", contained.write(PROGRAM))
    done = contained.run("-n", "2", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert (contained.directory / "images").read_text() == f"{contained.directory} --nv --bind=/data tools.sif\n"


def test_options_for_a_container_without_one_are_one_line(contained: Runs) -> None:
    done = contained.run("--container-option", "--nv", contained.write(PROGRAM))
    assert done.returncode == 2
    assert done.stderr == "scoop-hpc: error: --container-option '--nv': of which image? give --container as well\n"
