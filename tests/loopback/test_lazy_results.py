"""Coroutine functions and generator functions as tasks: one sentence that says what to do, wherever they run."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import Runs

PROGRAM = """
import functools, operator, sys
from scoop_hpc import Executor, futures

async def fetch(x): return x
def each(x): yield x
async def stream(x): yield x

def told(call):
    try: return repr(call())
    except TypeError as error: return str(error)

def ways(function):
    yield lambda: futures.submit(function, 1).result()
    yield lambda: futures.submit(nested, function).result()
    yield lambda: list(futures.map(function, [1, 2]))
    yield lambda: list(futures.map(function, range(100)))
    yield lambda: list(futures.map(function, range(100), timeout=60))
    yield lambda: futures.map_reduce(function, operator.add, range(100))
    yield lambda: list(futures.map_scan(function, operator.add, range(100)))
    with Executor(max_workers=2) as executor:
        yield lambda: executor.submit(function, 1).result()
        yield lambda: executor.submit(functools.partial(function, 1)).result()
        yield lambda: executor.submit(nested, function).result()
        yield lambda: list(executor.map(function, [1, 2], chunksize=2))

def nested(function):
    return futures.submit(function, 1).result()

if __name__ == "__main__":
    for function in (fetch, each, stream):
        print(sorted({told(call) for call in ways(function)}))
"""
TOLD = """\
['fetch() returned a coroutine, which nobody awaits: let the task be a function that returns \
asyncio.run(fetch(...))']
['each() returned a generator, which cannot travel: let the task return a list of what it yields']
['stream() returned an asynchronous generator, which cannot travel: let the task return a list of what it yields']
"""


@pytest.mark.parametrize("workers", [0, 1, 3], ids=["without a run", "one worker", "three workers"])
def test_task_that_returns_something_lazy_says_what_to_do_and_warns_of_nothing(runs: Runs, workers: int) -> None:
    how = ["-m", "scoop_hpc", "run", "-n", str(workers)] if workers else ["-W", "ignore:::scoop_hpc"]
    done = subprocess.run(
        [sys.executable, *how, runs.write(PROGRAM)],
        cwd=runs.directory,
        env=runs.environ,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, TOLD), done.stderr
    assert "never awaited" not in done.stderr
    assert workers == 0 or done.stderr == ""
