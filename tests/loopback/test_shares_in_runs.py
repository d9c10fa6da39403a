"""Workers of real runs have their shares of this machine, and know their places."""

from __future__ import annotations

import json
import os

import pytest
from conftest import MEET, Runs

LOOK = (
    "import json, os, signal, sys\nfrom scoop_hpc import futures, worker\n"
    + MEET
    + """
def look(n, count):
    meet(n, count)
    own = worker.info()
    return own.name, own.rank, own.local_rank, own.size, own.cpus, own.gpus, os.environ["OMP_NUM_THREADS"]

def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""
)
ALL = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

needs_two_cpus = pytest.mark.skipif(len(ALL) < 2, reason="two workers cannot be bound to one CPU each")


@pytest.fixture
def shared(runs: Runs) -> Runs:
    """Runs in whose environment nobody has said anything of threads or GPUs, on two CPUs."""
    for name in list(runs.environ):
        if name.endswith(("_NUM_THREADS", "_MAXIMUM_THREADS", "_VISIBLE_DEVICES")):
            del runs.environ[name]
    runs.before = lambda: os.sched_setaffinity(0, ALL[:2])
    return runs


def looked(runs: Runs, *words: str, workers: int = 2) -> list[list[object]]:
    """Return what each of the workers has seen, by rank, and then what the program has."""
    program = runs.write(
        LOOK + "if __name__ == '__main__':\n"
        f"    seen = futures.map(look, range({workers}), [{workers}] * {workers}, chunksize=1)\n"
        "    own = worker.info()\n"
        "    print(json.dumps([*sorted(seen, key=lambda each: each[1]), [own.name, own.cpus, own.gpus]]))\n"
    )
    done = runs.run("-n", str(workers), *words, program)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@needs_two_cpus
def test_bound_workers_have_a_cpu_each_and_the_program_has_all(shared: Runs) -> None:
    *workers, program = looked(shared, "--bind", "cores")
    assert workers == [
        ["0.1", 0, 0, 2, [ALL[0]], [], "1"],
        ["0.2", 1, 1, 2, [ALL[1]], [], "1"],
    ]
    assert program == ["0.0", ALL[:2], []]


@needs_two_cpus
def test_nobody_is_bound_where_nobody_says_so(shared: Runs) -> None:
    assert [each[4] for each in looked(shared)[:2]] == [ALL[:2], ALL[:2]]


def test_gpus_are_dealt_to_the_workers(shared: Runs) -> None:
    shared.environ["CUDA_VISIBLE_DEVICES"] = "4,6"
    assert [each[5] for each in looked(shared)[:2]] == [["4"], ["6"]]
    (shared.directory / "met-0").unlink()
    (shared.directory / "met-1").unlink()
    assert [each[5] for each in looked(shared, "--gpus-per-worker", "all")[:2]] == [["4", "6"], ["4", "6"]]


@needs_two_cpus
def test_who_takes_the_place_of_a_dead_worker_has_its_share(shared: Runs) -> None:
    shared.environ["CUDA_VISIBLE_DEVICES"] = "4,6"
    program = shared.write(
        LOOK + "if __name__ == '__main__':\n"
        "    futures.submit(die).exception()\n"
        "    print(json.dumps(sorted(futures.map(look, range(2), [2, 2], chunksize=1), key=lambda each: each[1])))\n"
    )
    done = shared.run("-n", "2", "--bind", "cores", program)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert {name for name, *_ in seen} != {"0.1", "0.2"}
    assert [rest for _, *rest in seen] == [[0, 0, 2, [ALL[0]], ["4"], "1"], [1, 1, 2, [ALL[1]], ["6"], "1"]]


def test_too_few_gpus_are_one_line(shared: Runs) -> None:
    shared.environ["CUDA_VISIBLE_DEVICES"] = "4,6"
    done = shared.run("-n", "2", "--gpus-per-worker", "2", shared.write(LOOK))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "--gpus-per-worker 2 for 2 workers needs 4 GPUs, and there are 2: ask for more" in line


def test_a_number_of_gpus_that_is_none_is_one_line(shared: Runs) -> None:
    done = shared.run("--gpus-per-worker", "0", shared.write(LOOK))
    expected = "scoop-hpc: error: --gpus-per-worker '0': give a positive number, or all\n"
    assert (done.returncode, done.stderr) == (2, expected)


@needs_two_cpus
def test_two_nodes_on_one_machine_share_it(shared: Runs) -> None:
    shared.environ["SCOOP_HPC_STATE"] = str(shared.directory / "state")
    shared.environ["CUDA_VISIBLE_DEVICES"] = "4,6"
    program = shared.write(
        LOOK + "if __name__ == '__main__':\n"
        "    print(json.dumps(sorted(futures.map(look, range(2), [2, 2], chunksize=1), key=lambda each: each[1])))\n"
    )
    words = ("--scheduler", "local", "--nodes", "2", "--workers-per-node", "1", "--bind", "cores", "--label", "--wait")
    done = shared.run(*words, program, command=("submit",))
    assert done.returncode == 0, done.stdout + done.stderr
    label, bracket, rest = done.stdout.partition("[[")
    assert label.endswith("0.0] ")
    first, second = json.loads(bracket + rest)
    assert first == ["0.1", 0, 0, 2, [ALL[0]], ["4"], "1"]
    assert second == ["1.0", 1, 0, 2, [ALL[1]], ["6"], "1"]
