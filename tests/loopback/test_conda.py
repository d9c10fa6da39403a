"""Jobs in conda's environments, by fakes that have hooks as the real ones do, and in virtual environments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = (
    "import os\n\nif __name__ == '__main__':\n    print(os.environ.get('CONDA_PREFIX'), os.environ.get('OF_SETUP'))\n"
)
# the hook defines a function that evaluates what the program prints: nobody else can change a shell's variables
FAKE = """#!/bin/bash
name=${0##*/}
prefix() { case $1 in */*) echo "$1" ;; *) echo "${MAMBA_ROOT_PREFIX:-${0%/bin/*}}/envs/$1" ;; esac }
case "$*" in
    HOOK) echo "$name() { local ask; ask=\\$('$0' shell.posix \\"\\$@\\") || return; eval \\"\\$ask\\"; }" ;;
    "shell.posix activate "*)
        where=$(prefix "$3")
        [ -d "$where" ] || { echo "EnvironmentNameNotFound: Could not find conda environment: $3" >&2; exit 1; }
        echo "export CONDA_PREFIX='$where' PATH='$where/bin:$PATH'" ;;
    *) echo "$name: cannot understand $*" >&2; exit 2 ;;
esac
"""
HOOKS = {"conda": "shell.bash hook", "mamba": "shell hook --shell bash", "micromamba": "shell hook --shell bash"}


class Site:
    """A machine whose shells do not find the conda at ``root``, which has the environments ml, full and empty."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "root"
        for name in ("ml", "empty"):
            (self.root / "envs" / name / "bin").mkdir(parents=True)
        python = self.root / "envs" / "ml" / "bin" / "python"
        python.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n')
        python.chmod(0o755)
        # one that has none of our packages: without -S and site-packages, it is what an environment without them is
        python = self.root / "envs" / "empty" / "bin" / "python"
        python.write_text(f'#!/bin/sh\ncd /\nexec {sys.executable} -S "$@"\n')
        python.chmod(0o755)
        (directory / "p.py").write_text(PROGRAM)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONDA_", "MAMBA_"))}
        self.environ = {
            **kept,
            "HOME": str(directory),
            "PATH": "/usr/bin:/bin",
            "SCOOP_HPC_STATE": str(directory / "state"),
            "XDG_CONFIG_HOME": str(directory / "config"),
        }
        self.environ.pop("PYTHONPATH", None)

    def install(self, name: str, where: str = "root/bin") -> str:
        """Put a fake *name* there; return its path."""
        path = self.directory / where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FAKE.replace("HOOK", f'"{HOOKS[name]}"'))
        path.chmod(0o755)
        return str(path)

    def scoop_hpc(self, *words: str) -> tuple[int, str, str]:
        """Run ``scoop-hpc WORDS``."""
        argv = [sys.executable, "-m", "scoop_hpc", *words]
        done = subprocess.run(
            argv, cwd=self.directory, env=self.environ, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout, done.stderr

    def submit(self, *words: str) -> tuple[int, str, str]:
        """Submit the program, and see it through."""
        return self.scoop_hpc("submit", "--scheduler", "local", "--workers-per-node", "1", "--wait", *words, "p.py")

    def of_job(self, *words: str) -> tuple[str, str]:
        """Return the last line that such a job printed, and what `status` gives as its reason."""
        status, stdout, _ = self.submit(*words)
        assert status != 0
        (job,) = json.loads(self.scoop_hpc("status", "--json")[1])
        return stdout.splitlines()[-1], job["reason"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("name", ["conda", "mamba", "micromamba"])
def test_conda_is_found_where_the_users_shell_has_it(site: Site, name: str) -> None:
    variable = "CONDA_EXE" if name == "conda" else "MAMBA_EXE"
    site.environ[variable] = site.install(name)
    assert site.submit("--conda", "ml")[:2] == (0, f"{site.root}/envs/ml None\n")


def test_conda_is_found_where_its_installer_puts_it(site: Site) -> None:
    site.install("conda", "miniforge3/bin")
    (site.directory / "miniforge3" / "envs").symlink_to(site.root / "envs")
    assert site.submit("--conda", "ml")[:2] == (0, f"{site.directory}/miniforge3/envs/ml None\n")


@pytest.mark.parametrize("line", ["export PATH={bin}:$PATH", 'eval "$({conda} shell.bash hook)"'])
def test_lines_of_setup_come_before_conda(site: Site, line: str) -> None:
    conda = site.install("conda")
    setup = line.format(bin=Path(conda).parent, conda=conda)
    words = ["--setup", "export OF_SETUP=1", "--setup", setup, "--conda", "ml"]
    assert site.submit(*words)[:2] == (0, f"{site.root}/envs/ml 1\n")


def test_an_environment_may_be_a_directory(site: Site) -> None:
    site.environ["CONDA_EXE"] = site.install("conda")
    assert site.submit("--conda", "root/envs/ml")[:2] == (0, f"{site.root}/envs/ml None\n")
    status, _, stderr = site.submit("--conda", "./no")
    assert (status, stderr.splitlines()) == (
        2,
        ["scoop-hpc: error: --conda './no' is no directory: name an environment, or the directory of one"],
    )


def test_a_node_without_conda_says_so(site: Site) -> None:
    line, reason = site.of_job("--conda", "ml")
    assert line.startswith("scoop-hpc: error: no conda, mamba or micromamba on ")
    assert reason.startswith("no conda, mamba or micromamba on ")


def test_an_environment_that_is_not_there_is_named(site: Site) -> None:
    site.environ["CONDA_EXE"] = site.install("conda")
    line, reason = site.of_job("--conda", "nosuch")
    assert line.startswith("scoop-hpc: error: cannot activate the conda environment nosuch on ")
    assert reason.startswith("cannot activate the conda environment nosuch on ")


def test_an_environment_without_this_package_is_named(site: Site) -> None:
    site.environ["CONDA_EXE"] = site.install("conda")
    line, reason = site.of_job("--conda", "empty")
    python = site.root / "envs" / "empty" / "bin" / "python"
    complaint = f"the environment empty has no scoop_hpc: install it there, by {python} -m pip install"
    assert line == f"scoop-hpc: error: {complaint}"
    assert reason.startswith(complaint)


def test_a_virtual_environment_without_this_package_is_named(site: Site) -> None:
    venv = site.root / "envs" / "empty"
    (venv / "bin" / "activate").write_text(f"PATH={venv}/bin:$PATH\n")
    line, reason = site.of_job("--venv", str(venv))
    assert line.startswith(
        f"scoop-hpc: error: the environment {venv} has no scoop_hpc: install it there, by {venv}/bin/"
    )
    assert reason.startswith(f"the environment {venv} has no scoop_hpc")


def test_modules_that_do_not_exist_are_named(site: Site) -> None:
    module = "module() { echo \"ERROR: Unable to locate a modulefile for '$2'\" >&2; return 1; }"
    line, reason = site.of_job("--setup", module, "--module", "gcc/99")
    assert line.startswith("scoop-hpc: error: cannot load the modules gcc/99 on ")
    assert reason.startswith("cannot load the modules gcc/99 on ")
