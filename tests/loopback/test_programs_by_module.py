"""`run -m` and `submit -m`: programs that are named as modules are what `python -m` makes of them, in every worker."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import Runs, without_warnings

LIB = "def half(x):\n    return x / 2\n"
JOB = """
import os, sys
from dataclasses import dataclass
from scoop_hpc import futures
from . import lib
from .lib import half

@dataclass
class Point:
    x: float

class Local:
    def __reduce__(self):
        return Local, ()

def halved(point):
    assert type(point) is Point
    return Point(lib.half(point.x))

def here(_):
    return __name__, __package__, __spec__.name, __file__, sys.argv, sys.path[0], type(Local()) is Local

if __name__ == "__main__":
    points = list(futures.map(halved, map(Point, range(6)), chunksize=1))
    print(points == [Point(half(x)) for x in range(6)])
    print(set(map(repr, futures.map(here, range(20), chunksize=1))) == {repr(here(0))})
    print(__name__, __package__, __spec__.name, os.path.relpath(__file__), sys.argv[0] == __file__, sys.argv[1:])
    print(sys.path[0] == os.getcwd(), futures.submit(lambda: Point(3)).result() == Point(3))
"""
MAIN = """
from scoop_hpc import futures
from ..lib import half
def f(x):
    return half(x)
def main():
    print(sum(futures.map(f, range(10))), __package__, __spec__.name)
if __name__ == "__main__":
    main()
"""


@pytest.fixture
def package(runs: Runs) -> Runs:
    for name in ("pkg", "pkg/sub"):
        (runs.directory / name).mkdir()
        runs.write("", f"{name}/__init__.py")
    runs.write(LIB, "pkg/lib.py")
    runs.write(JOB, "pkg/job.py")
    runs.write(MAIN, "pkg/sub/__main__.py")
    return runs


@pytest.mark.parametrize("workers", ["1", "3"])
def test_functions_and_classes_of_a_module_are_those_of_the_program_everywhere(package: Runs, workers: str) -> None:
    done = package.run("-n", workers, "-m", "pkg.job", "-n", "--", "-m")
    assert (without_warnings(done.stderr), done.returncode) == ("", 0)
    assert done.stdout.splitlines() == [
        "True",
        "True",
        "__main__ pkg pkg.job pkg/job.py True ['-n', '--', '-m']",
        "True True",
    ]


def test_what_a_module_has_of_its_place_is_what_python_gives_it(package: Runs) -> None:
    text = "import sys\nif __name__ == '__main__':\n"
    text += "    print(__name__, __package__, __spec__, __file__, __cached__, __doc__)\n"
    text += "    print(__loader__.name, sys.argv, sys.path[0])\n"
    package.write(text, "pkg/place.py")
    python = [sys.executable, "-m", "pkg.place", "x"]
    theirs = subprocess.run(python, cwd=package.directory, capture_output=True, text=True, check=True)
    ours = package.run("-n", "2", "-m", "pkg.place", "x")
    assert ours.stdout.partition(" at 0x")[0] == theirs.stdout.partition(" at 0x")[0]
    assert ours.stdout.partition(">")[2] == theirs.stdout.partition(">")[2]


def test_package_means_its_main(package: Runs) -> None:
    assert package.run("-n", "2", "-m", "pkg.sub").stdout == "22.5 pkg.sub pkg.sub.__main__\n"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("pkg.nosuch", "cannot find the module 'pkg.nosuch' from"),
        ("pkg", "the package 'pkg' has no __main__.py to run"),
        ("pkg/job.py", "cannot find the module 'pkg/job.py' from"),
    ],
)
@pytest.mark.parametrize("command", [("run", "-n", "2"), ("submit", "--scheduler", "local")])
def test_missing_module_is_one_line(package: Runs, command: tuple[str, ...], name: str, complaint: str) -> None:
    done = package.run("-m", name, command=command)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert done.stderr.startswith(f"scoop-hpc: error: {complaint}")


def test_error_of_the_package_is_shown_once_from_its_own_frame_on(package: Runs) -> None:
    package.write("import nope\n", "pkg/__init__.py")
    done = package.run("-n", "3", "-m", "pkg.job")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    file = package.directory / "pkg" / "__init__.py"
    assert lines[1] == f'  File "{file}", line 1, in <module>'
    assert [line.count("Traceback") for line in lines[:4]] == [1, 0, 0, 0]
    assert [line for line in lines[4:] if not line.startswith("scoop-hpc: error: ")] == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_module_without_a_guard_is_told_so(package: Runs, workers: str) -> None:
    package.write("from scoop_hpc import futures\nprint(list(futures.map(abs, [-1, 2])))\n", "pkg/bare.py")
    done = package.run("-n", workers, "-m", "pkg.bare")
    assert done.returncode == 2
    assert "if __name__ == '__main__':" in done.stderr


def test_module_is_submitted_with_its_lines_and_its_words(package: Runs) -> None:
    package.write("#SCOOP --nodes 2 --workers-per-node 1 --name fancy\n" + JOB, "pkg/job.py")
    done = package.run("--scheduler", "local", "--wait", "-m", "pkg.job", "a", "--wait", command=("submit",))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "True",
        "True",
        "__main__ pkg pkg.job pkg/job.py True ['a', '--wait']",
        "True True",
    ]
