"""The examples give on this machine what they give without any worker."""

from __future__ import annotations

import importlib.util
import math
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from conftest import without_warnings
from deap import algorithms, tools

Run = Callable[..., str]


@pytest.fixture(params=["run", "submit"])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a program with four workers, on one node or on two that are played here; return what it printed."""
    monkeypatch.setenv("SCOOP_HPC_STATE", str(tmp_path / "state"))
    options = {
        "run": ["run", "-n", "4"],
        "submit": ["submit", "--scheduler", "local", "--nodes", "2", "--workers-per-node", "2", "--wait"],
    }[request.param]

    def run_it(program: Path, *arguments: str) -> str:
        argv = [sys.executable, "-m", "scoop_hpc", *options, str(program), *arguments]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=200, cwd=tmp_path)
        assert done.returncode == 0, f"{argv!r} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return without_warnings(done.stdout)  # a job's output has both streams in it

    return run_it


def load(path: Path) -> ModuleType:
    """Import the example for its functions."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pi(run: Run, examples: Path) -> None:
    pi = load(examples / "pi.py")
    hits = sum(pi.throw(seed, 1000).hits for seed in range(7, 27))
    printed = run(examples / "pi.py", "--tasks", "20", "--samples", "1000", "--seed", "7")
    assert f"pi is about {4 * hits / 20_000:.6f} (20000 darts)\n" in printed


def test_tree(run: Run, examples: Path) -> None:
    tree = load(examples / "tree.py")
    total = tree.serial_total((), 5, 3, 11)
    assert f"243 leaves, total {total}\n" in run(examples / "tree.py", "--depth", "5", "--seed", "11")


def test_wordcount(run: Run, examples: Path) -> None:
    files = sorted(examples.glob("*.py"))
    words = Counter(word.lower() for file in files for word in re.findall(r"[A-Za-z]+", file.read_text()))
    printed = run(examples / "wordcount.py", "--top", "3", *map(str, files))
    assert f"{sum(words.values())} words in {len(files)} files\n" in printed
    top = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:3]
    assert [line.split() for line in printed.splitlines() if line.startswith(" ")] == [
        [str(n), word] for word, n in top
    ]


def test_wordcount_of_the_standard_library(run: Run, examples: Path) -> None:
    assert re.search(r"^ +\d+ self$", run(examples / "wordcount.py"), re.MULTILINE)


def test_reservoir(run: Run, examples: Path) -> None:
    reservoir = load(examples / "reservoir.py")
    level, levels = reservoir.FULL // 2, []
    for number in range(730):
        level = reservoir.day(5, number).applied(level)
        levels.append(level)
    days = f"730 days: empty on {levels.count(0)}, full on {levels.count(reservoir.FULL)}, {level} m3 at the end\n"
    assert run(examples / "reservoir.py", "--years", "2", "--seed", "5") == days


@pytest.mark.filterwarnings("ignore:A class named:RuntimeWarning")  # the example is imported once per test
def test_evolve(run: Run, examples: Path) -> None:
    evolve = load(examples / "evolve.py")
    random.seed(5)
    toolbox = evolve.make_toolbox(3)
    toolbox.register("map", map)
    population = toolbox.population(n=60)
    best = tools.HallOfFame(1)
    algorithms.eaSimple(population, toolbox, 0.6, 0.4, 15, halloffame=best, verbose=False)
    arguments = ["--population", "60", "--generations", "15", "--dimensions", "3", "--seed", "5"]
    printed = run(examples / "evolve.py", *arguments)
    assert f"best of generation 15: {best[0].fitness.values[0]:.6f}\n" in printed


# SCOOP's take long, and are run once here; as a job in tests/cluster/test_main_job.py
@pytest.mark.parametrize("run", ["run"], indirect=True)
def test_scoops_full_tree(run: Run, scoop_examples: Path) -> None:
    leaves = (i * i for k in range(1, 21) for j in range(1, k + 1) for i in range(1, j + 1))
    assert run(scoop_examples / "full_tree.py").splitlines()[-1] == str(sum(leaves))


@pytest.mark.parametrize("run", ["run"], indirect=True)
def test_scoops_pi_calc(run: Run, scoop_examples: Path) -> None:
    found = re.search(r"^pi = (.*)$", run(scoop_examples / "pi_calc.py"), re.MULTILINE)
    assert found is not None
    assert abs(float(found[1]) - math.pi) < 5 * math.sqrt(math.pi * (4 - math.pi) / 15_000_000)
