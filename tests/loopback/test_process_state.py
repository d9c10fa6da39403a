"""What tasks that run in the origin leave to the program: nothing."""

from __future__ import annotations

import random

import numpy
import pytest
from conftest import Runs

SEEDED = """
import os, random, sys, time
import numpy as np
from scoop_hpc import Executor, futures
from scoop_hpc.errors import *

def work(n):
    np.random.seed(n); np.random.rand(n % 5); np.random.randn()
    random.seed(n); random.gauss(0, 1)
    time.sleep(0.0005 * (n % 7))
    return n

def tree(n):
    random.random(); np.random.randn()
    return n if n < 2 else sum(f.result() for f in [futures.submit(tree, n - 1), futures.submit(tree, n - 2)])

def draw():
    return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn()]

if __name__ == "__main__":
    random.seed(1); np.random.seed(1)
    drawn = []
    for round in range(5):
        drawn += draw()
        list(futures.map(work, range(30)))
        drawn += draw()
        futures.submit(work, 3).result()
        drawn += draw()
        for future in futures.as_completed([futures.submit(work, n) for n in range(10)]):
            drawn += draw()
        futures.map_reduce(lambda n: random.random(), max, range(100))
        list(futures.map_scan(lambda n: np.random.randn(), max, range(100)))
        assert futures.submit(tree, 8).result() == 21
        with Executor() as executor:
            list(executor.map(work, range(10)))
    print([float(x) for x in drawn + draw()])
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_seeded_program_draws_the_same_numbers_whatever_tasks_the_origin_runs(runs: Runs, workers: int) -> None:
    done = runs.run("-n", str(workers), runs.write(SEEDED))
    assert done.stderr == ""
    ours, theirs = random.Random(1), numpy.random.RandomState(1)
    expected: list[float] = []
    for _ in range(5 * 13 + 1):
        expected += [ours.random(), ours.gauss(0, 1), theirs.rand(), theirs.randn()]
    assert done.stdout == f"{expected}\n"


def test_tasks_of_a_seeded_program_alone_are_the_same_each_time_and_differ(runs: Runs) -> None:
    program = runs.write(
        "import random\nfrom scoop_hpc import futures\ndef task(): return random.random()\n"
        "if __name__ == '__main__':\n    random.seed(5)\n"
        "    print([random.random()] + [futures.submit(task).result() for _ in range(5)])"
    )
    first = runs.run("-n", "1", program).stdout
    assert len(set(first.split())) == 6
    assert runs.run("-n", "1", program).stdout == first


CHANGES = """
import decimal, logging, os, random, signal, sys, time, warnings
from scoop_hpc import futures

def state():
    return {
        "cwd": os.getcwd(), "environ": dict(os.environ), "filters": list(warnings.filters), "path": list(sys.path),
        "root": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "level": logging.getLogger("some").level, "argv": list(sys.argv), "streams": (sys.stdout, sys.stderr),
        "limit": sys.getrecursionlimit(), "hook": sys.excepthook, "shown": time.strftime("%H", time.localtime(0)),
        "handlers": [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)],
        "decimal": (decimal.getcontext().prec, decimal.getcontext().traps[decimal.Inexact]),
    }

def disturb(n=0, inner=None):
    os.chdir(os.path.sep)
    os.environ["NEW"] = "1"
    os.environ.pop("OLD", None)
    os.environ["TZ"] = "Asia/Tokyo"; time.tzset()
    warnings.simplefilter("error")
    sys.path.insert(0, "/nowhere"); sys.argv.append("more")
    logging.basicConfig(level=logging.DEBUG); logging.disable(logging.INFO)
    logging.getLogger("some").setLevel(logging.ERROR); logging.getLogger("other").setLevel(1)
    sys.stdout = sys.stderr = open(os.devnull, "w")
    sys.setrecursionlimit(5000)
    sys.excepthook = print
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    decimal.getcontext().prec = 5
    decimal.getcontext().traps[decimal.Inexact] = True
    if inner is not None:
        assert futures.submit(time.sleep, 0.02).result(30) is None  # the program may go on meanwhile
        assert (os.getcwd(), os.environ["NEW"], sys.getrecursionlimit()) == (os.path.sep, "1", 5000)
    if n % 3 == 2:
        raise KeyError(n)
    return n
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_program_finds_its_process_as_it_has_left_it(runs: Runs, workers: int) -> None:
    runs.environ["OLD"] = "old"
    program = runs.write(
        CHANGES + "if __name__ == '__main__':\n"
        "    mine = state()\n"
        "    def same(step):\n"
        "        now = state()\n"
        "        wrong = {k: (v, mine[k]) for k, v in now.items() if v != mine[k]}\n"
        "        if wrong: print(step, wrong, file=sys.__stdout__)\n"
        "    futures.submit(disturb).result(); same('submit')\n"
        "    futures.submit(disturb, 2).exception(); same('raises')\n"
        "    list(futures.map(disturb, [0] * 20, chunksize=1)); same('map')\n"
        "    futures.map_reduce(disturb, max, [0] * 20); same('map_reduce')\n"
        "    list(futures.map_scan(disturb, max, [0] * 20)); same('map_scan')\n"
        "    waiting = [futures.submit(disturb, 0, 'wait') for _ in range(6)]\n"
        "    for future in futures.as_completed(waiting): same('as_completed'); assert future.result() == 0\n"
        "    seen = []\n"
        "    future = futures.submit(disturb); future.add_done_callback(lambda f: (same('callback'), seen.append(f)))\n"
        "    future.result(60); assert seen\n"
        "    try: futures.submit(disturb, 0, 'wait').result(0.01)\n"
        "    except futures.TimeoutError: same('timeout')\n"
        "    os.chdir('tmp'); os.environ['OWN'] = 'mine'; mine = state()\n"
        "    futures.submit(disturb).result(); same('after a change of its own')\n"
        "    print(os.path.basename(os.getcwd()))\n"
        "    open('written', 'w').close()"
    )  # fmt: skip
    done = runs.run("-n", str(workers), program)
    assert (done.stdout, done.stderr, done.returncode) == ("tmp\n", "", 0)
    assert (runs.temporary / "written").exists()


def test_tasks_find_what_an_initializer_has_set_and_what_the_program_has_changed(runs: Runs) -> None:
    program = runs.write(
        "import os\nfrom scoop_hpc import Executor\n"
        "def start():\n    os.environ['SET'] = 'by start'; os.chdir('tmp')\n"
        "def look(): return os.environ.get('SET'), os.path.basename(os.getcwd()), os.environ.get('MODE')\n"
        "if __name__ == '__main__':\n"
        "    with Executor(initializer=start) as executor:\n"
        "        home = os.getcwd()\n"
        "        print(executor.submit(look).result(), executor.submit(look).result(), os.getcwd() == home)\n"
        "        os.environ['MODE'] = 'b'\n"
        "        print(executor.submit(look).result()[1:], look()[0])"
    )
    expected = "('by start', 'tmp', None) ('by start', 'tmp', None) True\n('tmp', 'b') None\n"
    assert runs.run("-n", "1", program).stdout == expected


def test_end_of_the_process_is_the_programs(runs: Runs) -> None:
    program = runs.write(
        "import atexit, os\nfrom scoop_hpc import futures\ndef task(): os.chdir('/')\n"
        "if __name__ == '__main__':\n    atexit.register(lambda: print(os.path.basename(os.getcwd())))\n"
        "    os.chdir('tmp'); futures.submit(task)"
    )
    assert runs.run("-n", "1", program).stdout == "tmp\n"


def test_program_whose_directory_a_task_has_removed_is_told_so(runs: Runs) -> None:
    program = runs.write(
        "import os\nfrom scoop_hpc import futures\ndef task():\n    os.chdir('/'); os.rmdir(where)\n    return 1\n"
        "where = os.path.abspath('gone')\n"
        "if __name__ == '__main__':\n    os.mkdir(where); os.chdir(where); future = futures.submit(task)\n"
        "    try: future.result()\n    except OSError as error: print(error.filename == where, future.result())"
    )
    done = runs.run("-n", "1", program)
    assert (done.stdout, done.stderr) == ("True 1\n", "")


def test_directory_that_c_code_changes_in_a_task_is_not_the_programs(runs: Runs) -> None:
    program = runs.write(
        "import ctypes, os, time\nfrom scoop_hpc import futures\n"
        "def task():\n    ctypes.CDLL(None).chdir(b'/')\n    time.sleep(0.001)\n    return os.getcwd()\n"
        "if __name__ == '__main__':\n    before = os.getcwd()\n"
        "    print(futures.submit(task).result(), os.getcwd() == before, os.chdir in os.supports_fd)"
    )
    assert runs.run("-n", "1", program).stdout == "/ True True\n"


FIRST_TO_DRAW = """
import random
from scoop_hpc import futures

def task(): return random.random()

if __name__ == "__main__":
    {before}
    drawn = [futures.submit(task).result() for _ in range(5)] + [random.random() for _ in range(5)]
    assert len(set(drawn)) == 10
    {after}
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("pass", "pass", id="a task"),
        pytest.param(
            "state = random.getstate()",
            "random.setstate(state); assert [random.random() for _ in range(5)] == drawn[5:]",
            id="a task, of a program that has its state",
        ),
    ],
)
def test_first_to_draw_has_the_stream_and_the_other_side_another(runs: Runs, before: str, after: str) -> None:
    done = runs.run("-n", "1", runs.write(FIRST_TO_DRAW.format(before=before, after=after)))
    assert (done.returncode, done.stderr) == (0, "")
