"""Reductions and scans among real workers."""

from __future__ import annotations

import subprocess

import pytest
from conftest import MEET, Runs

HEAD = "import functools, itertools, operator, os, time\nfrom scoop_hpc import futures\n"


def program(functions: str, body: str) -> str:
    """Return a program that has *functions* and does the statements *body*."""
    main = "\n    ".join(["if __name__ == '__main__':", *body.splitlines()])
    return f"{HEAD}{functions}\n{main}\n"


def run(runs: Runs, functions: str, body: str, workers: int = 3) -> subprocess.CompletedProcess[str]:
    """Run such a program."""
    return runs.run("-n", str(workers), runs.write(program(functions, body)))


def printed(runs: Runs, functions: str, body: str, workers: int = 3) -> str:
    """Run it, and return what it printed."""
    done = run(runs, functions, body, workers)
    assert done.returncode == 0, done.stderr
    return done.stdout


MATRICES = """
def shear(n):
    return (1, n, 0, 1) if n % 2 else (1, 0, n, 1)

def multiply(a, b):
    return tuple(sum(a[2 * i + k] * b[2 * k + j] for k in (0, 1)) % 997 for i in (0, 1) for j in (0, 1))
"""


@pytest.mark.parametrize("workers", [1, 3])
def test_folds_are_those_of_the_standard_library(runs: Runs, workers: int) -> None:
    body = """
for n in (1, 2, 10, 1000, 20_000):
    values = list(map(shear, range(n)))
    assert futures.map_reduce(shear, multiply, range(n)) == functools.reduce(multiply, values)
    assert futures.map_reduce(shear, multiply, range(n), timeout=60) == functools.reduce(multiply, values)
    assert list(futures.map_scan(shear, multiply, range(n))) == list(itertools.accumulate(values, multiply))
print('same')"""
    assert printed(runs, MATRICES, body, workers) == "same\n"


WHERE = MEET + "def where(n):\n    meet(os.getpid(), COUNT)\n    return {os.getpid()}\n"


def test_all_workers_take_part(runs: Runs) -> None:
    assert (
        printed(runs, "COUNT = 4\n" + WHERE, "print(len(futures.map_reduce(where, operator.or_, range(100))))") == "4\n"
    )


def test_all_workers_but_the_origin_take_part_in_what_is_to_be_in_time(runs: Runs) -> None:
    body = "pids = futures.map_reduce(where, operator.or_, range(60), timeout=60)\nprint(len(pids - {os.getpid()}))"
    assert printed(runs, "COUNT = 3\n" + WHERE, body) == "3\n"


def test_one_long_item_does_not_hold_up_the_others(runs: Runs) -> None:
    functions = """
def cost(n):
    open(f'done/{n}', 'w').close()
    until = time.monotonic() + 50
    while n == 10 and len(os.listdir('done')) < 990 and time.monotonic() < until:
        time.sleep(0.01)
    return n if time.monotonic() < until else 0
"""
    body = "os.mkdir('done')\nprint(futures.map_reduce(cost, operator.add, range(1000)))"
    assert printed(runs, functions, body) == "499500\n"


def test_folds_inside_the_tasks_of_a_fold(runs: Runs) -> None:
    functions = """
def slow(n):
    time.sleep(0.001)
    return n

def row(n):
    return futures.map_reduce(slow, operator.add, range(n + 1))
"""
    body = "print(futures.map_reduce(row, operator.add, range(40)))"
    assert printed(runs, functions, body) == f"{sum(sum(range(n + 1)) for n in range(40))}\n"


def test_exception_of_another_worker_comes_with_its_traceback(runs: Runs) -> None:
    functions = "def inverse(n):\n    time.sleep(0.001)\n    return 1 / (n - 399)\n"
    done = run(runs, functions, "print(futures.map_reduce(inverse, operator.add, range(400)))")
    assert done.returncode == 1
    assert "return 1 / (n - 399)" in done.stderr
    assert done.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_time_is_kept_while_parts_go_on(runs: Runs) -> None:
    body = """
start = time.monotonic()
try:
    futures.map_reduce(time.sleep, max, [600] * 4, timeout=0.5)
except futures.TimeoutError:
    print(time.monotonic() - start < 20)"""
    assert printed(runs, "", body) == "True\n"


def test_iterator_of_many_items_is_folded(runs: Runs) -> None:
    body = "print(futures.map_reduce(str, max, (n for n in range(150_000))))"
    assert printed(runs, "", body) == "99999\n"


def test_folds_go_to_all_nodes(runs: Runs) -> None:
    runs.environ.update(SCOOP_HPC_LOCAL_JOB_ID="local-9", SCOOP_HPC_LOCAL_NODES="a:1,b:2,c:1")
    functions = "COUNT = 5\n" + WHERE
    functions += "def row(n):\n    return futures.map_reduce(where, operator.or_, range(n))\n"
    body = """
print(len(futures.map_reduce(where, operator.or_, range(200))))
for name in os.listdir():
    if name.startswith('met-'):
        os.unlink(name)                       # they are to meet again
print(len(futures.map_reduce(row, operator.or_, range(1, 20)) - {os.getpid()}))
print(list(futures.map_scan(str, operator.add, range(2000)))[-1] == ''.join(map(str, range(2000))))"""
    done = runs.run(runs.write(program(functions, body)))
    assert (done.stdout, done.returncode) == ("5\n4\nTrue\n", 0), done.stderr
