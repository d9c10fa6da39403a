"""Maps by bundles in real runs: as for thousands of workers, where one owner is too slow to hand each its chunks."""

from __future__ import annotations

import pytest
from conftest import Runs

HEAD = """
import os, pathlib, sys, time
from msgspec.structs import replace
from scoop_hpc import Executor, futures
from scoop_hpc.bulk.sizes import Sizes
from scoop_hpc.errors import WorkerLostError
from scoop_hpc.worker.current import current

def slow_owner():  # so that a bundle spans so many chunks as with thousands of workers
    worker = current()
    worker.policy = replace(worker.policy, chunk_owner=0.0625)

bundles = []
share_of = Sizes.share

def share(sizes, count):
    part = share_of(sizes, count)
    if part < count:
        bundles.append(count)
    return part

Sizes.share = share
"""


def program(functions: str, body: str) -> str:
    """Return a program that has *functions* and does the statements *body*, with a slow owner."""
    lines = ["slow_owner()", *body.strip().splitlines()]
    return HEAD + functions + "if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in lines)


WHERE = """
def where(n):
    time.sleep(0.004)
    return n, os.environ["SCOOP_HPC_RANK"]
"""


def test_all_workers_have_a_part_of_each_bundle(runs: Runs) -> None:
    body = """
results = list(futures.map(where, range(600)))
print([n for n, _ in results] == list(range(600)), len({rank for _, rank in results}))
print(sum(n for n, _ in futures.map_as_completed(where, iter(range(600)))) == sum(range(600)))
print(sum(bundles) > 600)
"""
    done = runs.run("-n", "4", runs.write(program(WHERE, body)))
    assert done.stdout == "True 4\nTrue\nTrue\n", done.stderr
    assert done.returncode == 0


def test_workers_share_the_bundles_of_an_executor(runs: Runs) -> None:
    body = """
with Executor() as executor:
    results = list(executor.map(where, range(600)))
print([n for n, _ in results] == list(range(600)), len({rank for _, rank in results}), len(bundles) > 0)
"""
    done = runs.run("-n", "4", runs.write(program(WHERE, body)))
    assert done.stdout == "True 4 True\n", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("options", ["max_workers=2", "initializer=int"])
def test_executor_that_says_who_may_run_its_calls_bundles_none(runs: Runs, options: str) -> None:
    body = f"""
with Executor({options}) as executor:
    print(len(list(executor.map(where, range(60)))), bundles)
"""
    done = runs.run("-n", "4", runs.write(program(WHERE, body)))
    assert done.stdout == "60 []\n", done.stderr
    assert done.returncode == 0


KILLERS = """
def kill(n):
    time.sleep(0.004)
    if n == 77: os._exit(3)
    return n * n

def kill_once(n):
    time.sleep(0.004)
    if n % 50 == 7:
        try:
            pathlib.Path(f"killed-{n}").mkdir()
        except FileExistsError:
            return n * n
        os._exit(3)
    return n * n

def fail(n):
    time.sleep(0.004)
    return 1 // (77 - n)
"""


@pytest.mark.parametrize("mapped", ["futures.map", "Executor().map"])
def test_item_that_kills_its_workers_is_named_and_fails_alone(runs: Runs, mapped: str) -> None:
    body = (
        f"results = {mapped}(kill, range(200))"
        + """
print([next(results) for _ in range(77)] == [n * n for n in range(77)])
try:
    next(results)
except WorkerLostError as error:
    print(str(error).partition(': ')[0], len(error.losses))
"""
    )
    done = runs.run("-n", "3", runs.write(program(KILLERS, body)))
    assert done.stdout == "True\nitem 78 of map 3\n", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("mapped", ["futures.map", "Executor().map"])
def test_bundles_whose_workers_die_are_done_all_the_same(runs: Runs, mapped: str) -> None:
    body = f"print(list({mapped}(kill_once, range(300))) == [n * n for n in range(300)])"
    done = runs.run("-n", "3", runs.write(program(KILLERS, body)))
    assert done.stdout == "True\n", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("mapped", ["futures.map", "Executor().map"])
def test_failure_in_a_bundle_comes_at_its_place(runs: Runs, mapped: str) -> None:
    body = (
        f"results = {mapped}(fail, range(200))"
        + """
print([next(results) for _ in range(77)] == [1 // (77 - n) for n in range(77)])
next(results)
"""
    )
    done = runs.run("-n", "3", runs.write(program(KILLERS, body)))
    assert done.stdout == "True\n", done.stderr
    assert done.returncode == 1
    assert "return 1 // (77 - n)" in done.stderr  # the remote traceback
    assert done.stderr.rstrip().endswith("ZeroDivisionError: integer division or modulo by zero")
