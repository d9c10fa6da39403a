"""Functions with options, in runs and in an Executor's own workers: retried where they run, seen by the runtime."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import Runs

# each key fails once, whichever worker tries it; the runtime's view of a task is what its cost says
FLAKY = """
import os
from scoop_hpc import futures
from scoop_hpc.worker.current import current

class Flaky(Exception): pass

def fail_once(key):
    try:
        os.close(os.open(f"failed-{key}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    raise Flaky(key)

def runtime():
    running = current().runner.running
    options = running and running.options
    return options and (options.retries, options.time_limit, options.name)
"""
MODULE = """
from flaky import *

@futures.task(retries=1, retry_on=(Flaky,), time_limit=60, name="of a module")
def in_module(key):
    fail_once(key)
    return runtime(), os.getpid()
"""
FUNCTIONS = """
import functools, itertools, operator
from scoop_hpc import Executor
from flaky import *
from module import in_module

@futures.task(retries=1, name="decorated")
def decorated(key):
    fail_once(key)
    return runtime(), os.getpid()

def plain(key):
    fail_once(key)
    return runtime(), os.getpid()

@futures.task(retries=1)
def number(prefix, n):
    fail_once(f"{prefix}{n}")
    return n

class Model:
    @futures.task(retries=1, name="method")
    def fit(self, key):
        fail_once(key)
        return runtime(), os.getpid()

renamed = futures.task(plain, retries=1, name="renamed")

def divide(a, b): return a / b

def closed(offset):
    @futures.task(retries=1, name="closure")
    def inner(key):
        fail_once(key + offset)
        return runtime(), os.getpid()
    return inner
"""
PROGRAM = f"""
from scoop import futures as scoop_futures
{FUNCTIONS}
if __name__ == "__main__":
    @futures.task(retries=1, name="under the guard")
    def under(key):
        fail_once(key)
        return runtime(), os.getpid()

    plain = futures.task(plain, retries=1, name="guarded")
    functions = dict(module=in_module, decorated=decorated, method=Model().fit, renamed=renamed, closure=closed("x"),
                     under=under, rebound=plain, partial=functools.partial(decorated))
    functions["lambda"] = futures.task(lambda key: (fail_once(key), runtime(), os.getpid())[1:], retries=1, name="y")
    for name, function in functions.items():
        options, pid = futures.submit(function, name).result(timeout=60)  # by the other worker
        assert pid != os.getpid(), name
        print(name, options)
    executor = Executor()
    print("executor", executor.submit(decorated, "executor").result(timeout=60)[0])
    print("chunks", *{{options for options, _ in executor.map(decorated, map("e{{}}".format, range(9)), chunksize=3)}})
    many, few = ["m%s" % n for n in range(300)], ["a", "b"]
    print("map", *{{options for options, _ in futures.map(in_module, many, timeout=60)}})
    print("small map", *{{options for options, _ in futures.map(decorated, few)}})
    print(sum(scoop_futures.map(number, itertools.repeat("s"), range(100))))
    print(sum(futures.map_as_completed(number, itertools.repeat("c"), range(100))))
    print(futures.map_reduce(number, operator.add, itertools.repeat("r"), range(1000), timeout=60))
    print(list(futures.map_scan(number, operator.add, itertools.repeat("x"), range(50)))[-1])
    future = futures.submit(futures.task(fail_once, retries=3, retry_on=OSError), "other")
    print(repr(future.exception(timeout=60)), len(os.listdir()) > 1500)
    futures.submit(futures.task(divide, retries=2), 1, 0).result(timeout=60)
"""
OF_RUNS = """\
module (1, 60.0, 'of a module')
decorated (1, None, 'decorated')
method (1, None, 'method')
renamed (1, None, 'renamed')
closure (1, None, 'closure')
under (1, None, 'under the guard')
rebound (1, None, 'guarded')
partial (1, None, 'decorated')
lambda (1, None, 'y')
executor (1, None, 'decorated')
chunks (1, None, 'decorated')
map (1, 60.0, 'of a module')
small map (1, None, 'decorated')
4950
4950
499500
1225
Flaky('other') True
"""


def test_functions_keep_their_options_and_repeat_what_fails_wherever_they_run(runs: Runs) -> None:
    runs.write(FLAKY, "flaky.py")
    runs.write(MODULE, "module.py")
    done = runs.run("-n", "2", runs.write(PROGRAM))
    assert done.stdout == OF_RUNS, done.stderr
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[-1 if sys.version_info < (3, 11) else -2] == "ZeroDivisionError: division by zero"
    if sys.version_info >= (3, 11):
        assert lines[-1] == "3 attempts failed: no more than 2 retries were asked for"
    remote = done.stderr.partition('"""')[2].rpartition('"""')[0]
    assert remote.count("File ") == remote.count("in divide") == 1


SCRIPT = f"""
{FUNCTIONS}
with Executor(2) as executor:
    functions = dict(module=in_module, decorated=decorated, method=Model().fit, renamed=renamed, closure=closed("x"),
                     partial=functools.partial(decorated))
    for name, function in functions.items():
        options, pid = executor.submit(function, name).result()
        assert pid != os.getpid(), name
        print(name, options)
    print("chunks", *{{options for options, _ in executor.map(decorated, map("e{{}}".format, range(9)), chunksize=3)}})
    print(sum(executor.map(number, itertools.repeat("s"), range(100))))
    def nested(): return sum(futures.map(number, itertools.repeat("n"), range(100)))
    print(executor.submit(nested).result())
"""
OF_A_POOL = """\
module (1, 60.0, 'of a module')
decorated (1, None, 'decorated')
method (1, None, 'method')
renamed (1, None, 'renamed')
closure (1, None, 'closure')
partial (1, None, 'decorated')
chunks (1, None, 'decorated')
4950
4950
"""


def test_executor_s_own_workers_have_the_options_of_the_script_s_functions(tmp_path: Path) -> None:
    for name, text in (("flaky.py", FLAKY), ("module.py", MODULE), ("script.py", SCRIPT)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr, done.returncode) == (OF_A_POOL, "", 0)
