"""Command lines of `scoop-hpc render` and the scripts that they give, as files; run as a program, write them anew.

``tests/data/render/SCHEDULER/NAME.sh`` is what a scheduler makes of a command line, or ``NAME.refused`` why it cannot.
``jobscripts/NAME.sh`` is the same for readers, below a comment that the file itself has.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import click

from scoop_hpc.cli import submit
from scoop_hpc.errors import ScoopError

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "render"
JOBSCRIPTS = ROOT / "jobscripts"
SCHEDULERS = ("slurm", "pbs", "sge")
SITE = ROOT / "tests" / "data" / "site"  # what the schedulers' commands answer that render asks

JOBS = {
    "whole-nodes": "--nodes 4 pi.py 1000",
    "workers": "--nodes 4 --workers-per-node 2 --walltime 10 pi.py 1000",
    "uneven": "--workers 7 --cpus-per-worker 2 --walltime 1-12 pi.py",
    "queue": "--nodes 2 --workers-per-node 4 --queue short --account physics --name 'my job' pi.py",
    "memory": "--nodes 2 --workers-per-node 4 --memory 8G pi.py",
    "memory-per-cpu": "--nodes 2 --workers-per-node 2 --memory-per-cpu 2G --exclusive pi.py",
    "gpus": "--nodes 2 --workers-per-node 4 --gpus-per-node 4 --constraint a100 pi.py",
    "array": "--workers-per-node 2 --array 1-99:2%10 --output 'log {job_id}.{array_index}' pi.py",
    "dependencies": "--workers-per-node 2 --after-any 17 --after-any 18 --begin 2030-01-31T08:00 pi.py",
    "success": "--workers-per-node 2 --after 17 --after-failure 18 --qos high --reservation res1 pi.py",
    "mail": "--workers-per-node 2 --mail-user me@example.org --mail-events begin,fail --walltime 2h --signal 90s "
    "--requeue --license matlab:2 pi.py",
    "environment": "--workers-per-node 2 --setup 'module purge' --module gcc/12 --module 'a b' --conda sim "
    "--env OMP_NUM_THREADS=4 --env \"A=it's\" --prologue 'ulimit -c 0' --error err.txt --output out.txt "
    "pi.py 'two words' '$HOME'",
    "container": "--workers-per-node 2 --container /images/tools.sif --container-runtime singularity pi.py",
}
EXAMPLES = {
    "slurm-whole-nodes": ("slurm", "--nodes 4 pi.py 1000"),
    "slurm-workers": ("slurm", "--nodes 4 --workers-per-node 2 --walltime 10 --queue short pi.py 1000"),
    "slurm-big-site": (
        "slurm",
        "--nodes 64 --workers-per-node 8 --cpus-per-worker 16 --gpus-per-node 8 --memory 480G --walltime 12h "
        "--account physics --qos high --queue gpu --array 0-9%2 --signal 10m --requeue --module python/3.11 "
        "--env OMP_NUM_THREADS=16 pi.py 1000",
    ),
    "pbs-whole-nodes": ("pbs", "--nodes 4 pi.py 1000"),
    "pbs-array": (
        "pbs",
        "--nodes 2 --workers-per-node 4 --cpus-per-worker 2 --memory 16G --walltime 2h --queue workq --array 0-99%10 "
        "--module python/3.11 pi.py",
    ),
    "pbs-mpiexec": (
        "pbs",
        "--nodes 4 --workers-per-node 8 --walltime 2h --module cray-pals --launcher mpi "
        "--mpiexec 'mpiexec -n {nodes} --ppn 1 --cpu-bind none' pi.py 1000",
    ),
    "sge-nodes": ("sge", "--nodes 4 --workers-per-node 2 --walltime 10 pi.py 1000"),
    "sge-workers": (
        "sge",
        "--workers 64 --walltime 12h --memory-per-cpu 2G --queue short --account physics pi.py 1000",
    ),
    "local": ("local", "--nodes 2 --workers-per-node 2 --walltime 10 pi.py 1000"),
}
PYTHON = "/usr/bin/python3"
DIRECTORY = "/home/me/project"


@contextlib.contextmanager
def _at_a_site() -> Iterator[None]:
    """Be in the same place, by the same Python, wherever the tests run; schedulers' commands answer from files."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch("os.getcwd", return_value=DIRECTORY))
        stack.enter_context(mock.patch("sys.executable", PYTHON))
        stack.enter_context(mock.patch("scoop_hpc.cli.options.job.check_program"))
        conda = {"CONDA_EXE": "/home/me/miniforge3/bin/conda"}
        stack.enter_context(mock.patch("scoop_hpc.cli.options.job.conda_variables", return_value=conda))
        stack.enter_context(mock.patch("scoop_hpc.cli.options.settings.read_file", return_value=None))
        stack.enter_context(mock.patch("scoop_hpc.jobs.commands.subprocess.run", _answer))
        stack.enter_context(mock.patch.dict(os.environ, {"HOME": "/home/me"}, clear=True))
        yield


def _answer(argv: list[str], **how: object) -> subprocess.CompletedProcess[str]:
    name = "_".join(word.lstrip("-") for word in argv)
    return subprocess.CompletedProcess(argv, 0, (SITE / f"{name}.out").read_text(), "")


def render(scheduler: str, words: str) -> str:
    """Return what ``scoop-hpc render --scheduler SCHEDULER WORDS`` prints; raise its ScoopError."""
    printed = io.StringIO()
    with _at_a_site(), contextlib.redirect_stdout(printed):
        argv = ["--scheduler", scheduler, *shlex.split(words)]
        with click.Context(submit.render):
            submit.render.main(argv, prog_name="render", standalone_mode=False)
    return printed.getvalue()


def result(scheduler: str, words: str) -> tuple[str, str]:
    """Return the suffix of the file for what a scheduler makes of a command line, and its text."""
    try:
        return ".sh", render(scheduler, words)
    except ScoopError as error:
        return ".refused", f"{error}\n"


def without_comment(script: str) -> str:
    """Return *script* without the comment below its first line."""
    first, *lines = script.splitlines(keepends=True)
    while lines and lines[0].startswith(("# ", "#\n")):
        del lines[0]
    return "".join([first, *lines])


def main() -> None:
    """Write all files anew; the comments of jobscripts/ stay."""
    for scheduler in SCHEDULERS:
        directory = DATA / scheduler
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.iterdir():
            old.unlink()
        for name, words in JOBS.items():
            suffix, text = result(scheduler, words)
            (directory / f"{name}{suffix}").write_text(text)
    for name, (scheduler, words) in EXAMPLES.items():
        path = JOBSCRIPTS / f"{name}.sh"
        old_lines = path.read_text().splitlines(keepends=True)[1:] if path.exists() else []
        comment = old_lines[: next((i for i, line in enumerate(old_lines) if not line.startswith(("# ", "#\n"))), 0)]
        first, _, rest = render(scheduler, words).partition("\n")
        path.write_text(f"{first}\n{''.join(comment)}{rest}")


if __name__ == "__main__":
    main()
