"""A scheduler that another package brings: the one of docs/add-a-scheduler.rst, on a toy that runs jobs here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import until, without_warnings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = Path(__file__).parents[1] / "plugin_scheduler"

MEET = """
import os, sys, time
from scoop_hpc import futures

def meet(number):
    open(f"here-{number}", "w").close()
    while len([name for name in os.listdir(".") if name.startswith("here-")]) < 4:
        time.sleep(0.02)
    return os.getppid()

if __name__ == "__main__":
    agents = set(futures.map(meet, range(4)))
    print(len(agents), os.environ["SPOOL_NODES"], os.environ["COLOUR"])
    sys.exit(int(sys.argv[1]))
"""
HOLD = """
import time

if __name__ == "__main__":
    print("holding", flush=True)
    time.sleep(60)
"""


def install(target: Path, package: str = "scoop-spool", points: dict[str, str] | None = None) -> None:
    """Install the package into *target* as pip would, perhaps by another name, with other entry points."""
    about = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    if not (target / "scoop_spool").exists():
        shutil.copytree(PACKAGE / "scoop_spool", target / "scoop_spool", ignore=shutil.ignore_patterns("__pycache__"))
    info = target / f"{package.replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {about['version']}\n")
    named = about["entry-points"]["scoop_hpc.schedulers"] if points is None else points
    lines = ["[scoop_hpc.schedulers]", *(f"{name} = {value}" for name, value in named.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


class Site:
    """A machine with spool on PATH, and the package that makes it known."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "work"
        self.spool = directory / "spool"
        self.packages = directory / "packages"
        for path in (self.directory, self.spool, self.packages):
            path.mkdir()
        install(self.packages)
        self.environ = {
            **os.environ,
            "PATH": f"{PACKAGE / 'bin'}:{os.environ['PATH']}",
            "SPOOL_DIR": str(self.spool),
            "COLOUR": "green",
            "SCOOP_HPC_STATE": str(directory / "state"),
            "PYTHONPATH": os.pathsep.join([str(self.packages), *filter(None, sys.path)]),
        }

    def scoop_hpc(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "scoop_hpc", *words],
            cwd=self.directory,
            env=self.environ,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def submit(self, program: str, *words: str, arguments: tuple[str, ...] = ()) -> str:
        (self.directory / "program.py").write_text(program)
        done = self.scoop_hpc("submit", "--parsable", *words, "program.py", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def status(self, job: str) -> dict[str, Any]:
        done = self.scoop_hpc("status", "--json", job)
        assert (done.returncode, done.stderr) == (0, "")
        (told,) = json.loads(done.stdout)
        return dict(told)

    def close(self) -> None:
        """End the jobs that a failed test left."""
        for job in self.spool.glob("s*"):
            (job / "cancel").touch()
        until(lambda: all(self._has_ended(job) for job in self.spool.glob("s*")))

    def _has_ended(self, job: Path) -> bool:
        return (job / "state").read_text().split()[1] in ("done", "failed", "killed")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def test_a_job_runs_on_all_of_its_nodes_and_takes_its_program_s_exit_status(site: Site) -> None:
    job = site.submit(MEET, "--nodes", "2", arguments=("3",))
    assert job == "s1"
    done = site.scoop_hpc("wait", job)
    assert (done.returncode, done.stdout) == (3, "")
    assert "job s1 ended FAILED with exit status 3" in done.stderr
    told = site.status(job)
    assert (told["scheduler"], told["state"], told["exit_status"]) == ("spool", "FAILED", 3)
    assert told["nodes"] == ["n1", "n2"]
    assert told["output"] == str(site.directory / "scoop-s1.out")
    done = site.scoop_hpc("logs", job)
    assert (done.returncode, without_warnings(done.stdout)) == (0, "2 n1:2,n2:2 green\n")


def test_submit_waits_for_the_job_and_shows_what_it_prints(site: Site) -> None:
    (site.directory / "program.py").write_text("if __name__ == '__main__':\n    print('hello')\n")
    done = site.scoop_hpc("submit", "--wait", "--workers-per-node", "1", "program.py")
    assert (done.returncode, without_warnings(done.stdout)) == (0, "hello\n")
    assert done.stderr == f"Submitted job s1 to spool; output: {site.directory / 'scoop-s1.out'}\n"


def test_a_job_that_waits_is_explained_and_one_that_runs_is_cancelled(site: Site) -> None:
    (site.spool / "hold").touch()
    job = site.submit(HOLD, "--workers-per-node", "1")
    assert site.status(job)["state"] == "PENDING"
    assert "the spool is held" in site.scoop_hpc("explain", job).stdout
    (site.spool / "hold").unlink()
    output = site.directory / f"scoop-{job}.out"
    until(lambda: output.exists() and "holding" in output.read_text())
    assert site.status(job)["state"] == "RUNNING"
    assert site.scoop_hpc("cancel", job).stdout == f"Cancelled job {job}\n"
    assert site.scoop_hpc("wait", job).returncode == 143
    assert site.status(job)["state"] == "CANCELLED"
    assert site.scoop_hpc("requeue", job).stdout.startswith(f"Submitted job s2, as {job} was; output: ")


def test_its_template_is_rendered_listed_and_extended(site: Site) -> None:
    (site.directory / "program.py").write_text("")
    words = ("render", "--nodes", "2", "--name", "a b", "--directive=--slots=1", "program.py")
    script = site.scoop_hpc(*words).stdout
    assert script.startswith('#!/bin/bash\n#SPOOL --name="a b"\n#SPOOL --nodes=2\n#SPOOL --slots=2\n')
    assert f"#SPOOL --output={site.directory}/scoop-@.out\n#SPOOL --slots=1\n" in script
    assert "run --allocation spool -- program.py" in script
    ours = site.packages / "scoop_spool" / "spool.sh.j2"
    assert f"spool.sh.j2 {ours}\n" in site.scoop_hpc("template", "list").stdout
    assert site.scoop_hpc("template", "show", "spool").stdout == ours.read_text()
    assert site.scoop_hpc("template", "new", "--scheduler", "spool", "mine.sh.j2").returncode == 0
    with open(site.directory / "mine.sh.j2", "a") as file:
        file.write("{% block run %}\necho mine\n{{ super() -}}\n{% endblock %}\n")
    assert "\necho mine\n" in site.scoop_hpc("render", "--template", "mine.sh.j2", *words[1:]).stdout


def test_what_it_cannot_express_is_refused(site: Site) -> None:
    (site.directory / "program.py").write_text("")
    done = site.scoop_hpc("submit", "--walltime", "5", "program.py")
    assert done.returncode == 2
    assert "the scheduler 'spool' cannot express --walltime" in done.stderr
    done = site.scoop_hpc("submit", "--scheduler", "nosuch", "program.py")
    assert "choose one of slurm, pbs, sge, local, spool" in done.stderr


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ({"broken": "scoop_spool.nosuch:X"}, "'broken', which is left out: ModuleNotFoundError"),
        ({"broken": "scoop_spool.launcher:SpoolLauncher"}, "'broken', which is left out: TypeError"),
        ({"slurm": "scoop_spool.adapter:SpoolScheduler"}, "'slurm', which is left out: scoop_hpc has one of that name"),
    ],
)
def test_a_package_that_is_unfit_is_named_and_the_others_go_on(site: Site, points: dict[str, str], why: str) -> None:
    install(site.packages, "scoop-odd", points)
    (site.directory / "program.py").write_text("")
    done = site.scoop_hpc("submit", "--workers-per-node", "1", "--parsable", "program.py")
    assert (done.returncode, done.stdout) == (0, "s1\n")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"scoop-hpc: warning: the package 'scoop-odd' brings a scheduler {why}")


def test_without_the_package_its_jobs_are_listed_and_the_others_go_on(site: Site) -> None:
    job = site.submit("if __name__ == '__main__':\n    pass\n", "--workers-per-node", "1")
    assert site.scoop_hpc("wait", job).returncode == 0
    shutil.rmtree(site.packages)
    done = site.scoop_hpc("history")
    assert (done.returncode, done.stdout.splitlines()[1].split()[:2]) == (0, [job, "UNKNOWN"])
    assert "the job's scheduler 'spool' is unknown here: it came with another package" in done.stderr


def test_a_run_in_a_job_without_all_of_its_variables_is_refused(site: Site) -> None:
    (site.directory / "program.py").write_text("if __name__ == '__main__':\n    print('hello')\n")
    site.environ["SPOOL_JOB"] = "s1"
    done = site.scoop_hpc("run", "program.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "SPOOL_JOB is set, as in spool's jobs, but SPOOL_NODES is not" in done.stderr
