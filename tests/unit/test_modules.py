"""Programs that are named as modules: which file that is, and how it comes into the script of a job."""

from __future__ import annotations

import contextlib
import io
import py_compile
import shlex
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from scoop_hpc.cli.submit import render, submit
from scoop_hpc.errors import InputError, ProgramError
from scoop_hpc.files.modules import find_source


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a package, a namespace and a module, which is the current one."""
    files = {
        "top.py": "print(1)\n",
        "pkg/__init__.py": "raise RuntimeError('imported')\n",
        "pkg/job.py": "#SCOOP --name fancy --nodes 3\nfrom . import lib\n",
        "pkg/lib.py": "",
        "pkg/broken.py": "def f(:\n",
        "pkg/sub/__init__.py": "",
        "pkg/sub/__main__.py": "print(2)\n",
        "space/deep/job.py": "print(3)\n",
    }
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCOOP_HPC_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "file", "full_name"),
    [
        ("top", "top.py", "top"),
        ("pkg.job", "pkg/job.py", "pkg.job"),
        ("pkg.lib", "pkg/lib.py", "pkg.lib"),
        ("pkg.sub", "pkg/sub/__main__.py", "pkg.sub.__main__"),
        ("space.deep.job", "space/deep/job.py", "space.deep.job"),
    ],
)
def test_module_is_found_without_importing_its_packages(home: Path, name: str, file: str, full_name: str) -> None:
    found = find_source(name, [str(home)])
    assert (found.file, found.spec.name) == (str(home / file), full_name)
    assert found.content == (home / file).read_bytes()
    assert "pkg" not in sys.modules


def test_module_of_a_later_entry_and_of_an_archive_is_found(home: Path) -> None:
    with zipfile.ZipFile(home / "all.zip", "w") as archive:
        archive.writestr("packed/__init__.py", "")
        archive.writestr("packed/job.py", "print(4)\n")
    assert find_source("packed.job", [str(home), str(home / "all.zip")]).content == b"print(4)\n"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nosuch", "cannot find the module 'nosuch' from"),
        ("pkg.nosuch", "cannot find the module 'pkg.nosuch' from"),
        ("top.nosuch", "cannot find the module 'top.nosuch' from"),
        ("", "cannot find the module '' from"),
        (".job", "cannot find the module '.job' from"),
        ("pkg", r"the package 'pkg' has no __main__\.py to run"),
        ("space", r"the package 'space' has no __main__\.py to run"),
        ("top.py", "such as top; leave it out for a file"),
        ("pkg/job", "-m wants the dotted name of a module"),
        ("sys", "cannot find the module 'sys'"),
    ],
)
def test_what_is_no_module_with_a_source_is_refused(home: Path, name: str, complaint: str) -> None:
    with pytest.raises(ProgramError, match=complaint) as caught:
        find_source(name, [str(home)])
    assert "\n" not in str(caught.value)


def test_module_without_a_source_is_refused(home: Path) -> None:
    source = home / "compiled.py"
    source.write_text("pass\n")
    py_compile.compile(str(source), cfile=str(home / "compiled.pyc"))
    source.unlink()
    with pytest.raises(ProgramError, match="the module 'compiled' has no Python source to run"):
        find_source("compiled", [str(home)])


def rendered(*words: str) -> list[str]:
    """Return the lines of the script that is rendered for Slurm."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        render.main(["--scheduler", "slurm", *words], "scoop-hpc", standalone_mode=False)
    return printed.getvalue().splitlines()


def run_of(lines: Sequence[str]) -> list[str]:
    words = shlex.split(lines[-1])
    return words[words.index("run") + 1 :]


def test_script_runs_the_module_with_its_words() -> None:
    lines = rendered("-m", "pkg.job", "-m", "--nodes", "9")
    assert run_of(lines) == ["--allocation", "slurm", "-m", "--", "pkg.job", "-m", "--nodes", "9"]


def test_lines_of_the_module_are_its_settings() -> None:
    assert {"#SBATCH --job-name=fancy", "#SBATCH --nodes=3"} <= set(rendered("-m", "pkg.job"))
    assert "#SBATCH --nodes=5" in rendered("--nodes", "5", "-m", "pkg.job")


def test_job_is_named_after_the_module() -> None:
    assert "#SBATCH --job-name=space.deep.job" in rendered("-m", "space.deep.job")


def test_module_is_looked_for_where_the_job_runs(home: Path) -> None:
    lines = rendered("--chdir", "space", "-m", "deep.job")
    assert f"#SBATCH --chdir={home / 'space'}" in lines
    assert run_of(lines)[-1] == "deep.job"


def test_file_is_a_file_all_the_same() -> None:
    assert run_of(rendered("top.py", "-m", "x")) == ["--allocation", "slurm", "--", "top.py", "-m", "x"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["-m", "pkg.nosuch"], "cannot find the module 'pkg.nosuch'"),
        (["-m", "pkg.broken"], r"the program '.*broken\.py' is not Python"),
        (["-m", "top.py"], "such as top"),
        (["--scheduler", "pbs", "-m", "abe", "top.py"], "PBS's -m is --mail-events here"),
        (["--scheduler", "slurm", "-m", "block:cyclic", "top.py"], "sbatch's -m is passed on here by --directive"),
    ],
)
def test_module_that_the_job_could_not_run_is_refused(words: list[str], complaint: str) -> None:
    for command in (render, submit):
        with pytest.raises(InputError, match=complaint):
            command.main(words, "scoop-hpc", standalone_mode=False)


def test_module_of_another_python_is_left_to_the_run(home: Path) -> None:
    (home / "env" / "bin").mkdir(parents=True)
    for name in ("python", "activate"):
        (home / "env" / "bin" / name).touch()
    assert run_of(rendered("--venv", "env", "-m", "installed.there"))[-1] == "installed.there"
