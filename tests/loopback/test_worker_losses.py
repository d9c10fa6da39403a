"""Workers that die, of their tasks or by the hand of somebody else: the run goes on."""

from __future__ import annotations

import os
import random
import resource
import signal
import time

import pytest
from conftest import Runs, members, signal_if_there, until

HEAD = """
import array, collections, ctypes, os, pathlib, signal, sys, time
from scoop_hpc import futures
from scoop_hpc.errors import TimeLimitError, WorkerLostError
"""
MAIN = "if __name__ == '__main__':\n"


def program(functions: str, body: str) -> str:
    """Return a program that has *functions* and does the statements *body*."""
    return HEAD + functions + MAIN + "".join(f"    {line}\n" for line in body.strip().splitlines())


GUILTY = """
def die(n):
    time.sleep(0.002)  # no short task: the origin may run such
    if n == 7: ctypes.string_at(0)
    if n == 33: os._exit(0)
    if n == 58: os.kill(os.getpid(), signal.SIGKILL)
    return n * n
"""


def test_tasks_that_take_their_workers_down_fail_by_themselves(runs: Runs) -> None:
    body = """
results = {}
for n, future in enumerate([futures.submit(die, n) for n in range(60)]):
    try:
        results[n] = future.result()
    except WorkerLostError as error:
        print(n, len(error.losses), error.losses[-1].rpartition(' died: ')[2])
print(all(value == n * n for n, value in results.items()), len(results))
"""
    done = runs.run("-n", "3", runs.write(program(GUILTY, body)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "7 3 killed by SIGSEGV",
        "33 3 exit status 0",
        "58 3 killed by SIGKILL",
        "True 57",
    ]
    lines = done.stderr.splitlines()
    assert len(lines) <= 9 + 3  # what was sent together is blamed together, once
    last = [line for line in lines if "killed by SIGSEGV, in die(), attempt 3; another takes its place" in line]
    assert len(last) == 1


QUICK = """
def where(n):
    return os.getpid()

def die():
    time.sleep(0.002)
    os._exit(1)
"""


def test_program_does_quick_items_of_a_map_until_a_worker_has_died(runs: Runs) -> None:
    body = """
for n in range(200):
    futures.submit(where, n).result()  # known to be short by now
print(os.getpid() in set(futures.map(where, range(100))))
print(type(futures.submit(die).exception()).__name__)
print(os.getpid() in set(futures.map(where, range(100))))
"""
    done = runs.run("-n", "2", runs.write(program(QUICK, body)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True", "WorkerLostError", "False"]


FATAL = """
def die(n):
    time.sleep(0.002)
    os._exit(n)

once = futures.task(die, max_losses=1)
often = futures.task(die, max_losses=5)
"""


def test_option_says_how_many_workers_a_task_may_be_lost_with(runs: Runs) -> None:
    body = """
def losses(result):
    try:
        result()
    except WorkerLostError as error:
        return len(error.losses)
print(losses(futures.submit(once, 3).result), losses(futures.submit(often, 3).result))
print(losses(lambda: list(futures.map(often, [3]))), losses(lambda: list(futures.map(once, [3]))))
from scoop_hpc import Executor
with Executor(2) as executor:
    print(losses(executor.submit(once, 3).result), losses(lambda: list(executor.map(often, [3]))))
"""
    done = runs.run("-n", "2", runs.write(program(FATAL, body)))
    assert done.stdout == "1 5\n5 1\n1 5\n", done.stderr


@pytest.mark.parametrize("way", ["list(futures.map(die, range(40)))", "list(futures.map_scan(die, max, range(40)))"])
def test_only_the_guilty_item_of_a_map_fails(runs: Runs, way: str) -> None:
    body = f"""
try:
    {way}
except WorkerLostError as error:
    print(str(error).partition(': ')[0], len(error.losses))
print(sum(futures.map(die, [n for n in range(2000) if n not in (7, 33, 58)])))
"""
    done = runs.run("-n", "2", runs.write(program(GUILTY, body)))
    caller = "map_scan" if "scan" in way else "map"
    expected = sum(n * n for n in range(2000)) - 7 * 7 - 33 * 33 - 58 * 58
    assert done.stdout == f"item 8 of {caller} 3\n{expected}\n", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("options", ["", "max_workers=1"])
def test_chunk_of_an_executor_that_is_lost_is_cut_and_not_tried_again(runs: Runs, options: str) -> None:
    body = f"""
from scoop_hpc import Executor
with Executor({options}) as executor:
    print(sum(executor.map(die, range(100, 200))))  # how long they take is known by now
    try:
        list(executor.map(die, [1, 2, 33, *range(100, 200)]))
    except WorkerLostError as error:
        print(str(error).partition(': ')[0], len(error.losses))
"""
    done = runs.run("-n", "2", runs.write(program(GUILTY, body)))
    assert done.stdout == f"{sum(n * n for n in range(100, 200))}\nitem 3 of map 3\n", done.stderr
    assert done.stderr.count("attempt 2") == 1


def test_reductions_that_kill_take_no_program_down_once_a_worker_has_died(runs: Runs) -> None:
    functions = """
def die_at(n):
    time.sleep(0.002)
    if n == 7: os._exit(1)
    return n

def add(a, b):
    if a == 37 or b == 37: os._exit(2)  # an item of a chunk, or all of it, where that was cut
    return a + b

def add_up_to(a, b):
    if a + b > 1500: os._exit(3)  # where parts come together
    return a + b

def lost(result):
    try:
        return result()
    except WorkerLostError as error:
        return len(error.losses) > 0
"""
    body = """
print(lost(lambda: futures.map_reduce(die_at, add, range(30))))
items = [n for n in range(100) if n != 7]
print(lost(lambda: list(futures.map_scan(die_at, add, items))))
print(lost(lambda: list(futures.map_scan(die_at, add_up_to, items))))
print(lost(lambda: futures.map_reduce(die_at, add_up_to, items)))
print(futures.map_reduce(die_at, max, items, initial=500), list(futures.map_scan(die_at, max, items)) == items)
print(futures.map_reduce(die_at, lambda a, b: a + b, items, initial=7))
"""
    done = runs.run("-n", "3", runs.write(program(functions, body)))
    assert done.stdout == "True\nTrue\nTrue\nTrue\n500 True\n4950\n", done.stderr
    assert done.returncode == 0
    assert ", in die_at(), attempt 1; another" in done.stderr
    assert "fold_part" not in done.stderr


def test_task_that_exceeds_its_time_limit_fails_or_is_tried_again(runs: Runs) -> None:
    functions = """
@futures.task(time_limit=0.3)
def nap(seconds):
    time.sleep(seconds)

@futures.task(time_limit=60)
def quick(seconds):
    time.sleep(seconds)
    return seconds

@futures.task(time_limit=1, retries=2)
def slow_at_first(name):
    path = pathlib.Path(name)
    path.write_text(path.read_text() + 'x' if path.exists() else 'x')
    time.sleep(60 if len(path.read_text()) < 3 else 0)
    return path.read_text()

def parent():
    try:
        return futures.submit(nap, 60).result()
    except TimeLimitError as error:
        return len(error.losses)
"""
    body = """
try:
    futures.submit(nap, 60).result()
except TimeLimitError as error:
    print(str(error).partition(':')[0])
print(futures.submit(slow_at_first, 'tried').result(), futures.submit(parent).result())
print(list(futures.map(quick, [0.01] * 20)) == [0.01] * 20)
"""
    done = runs.run("-n", "2", runs.write(program(functions, body)))
    assert done.stdout == "the task exceeded its time limit of 0.3 s\nxxx 1\nTrue\n", done.stderr
    assert done.returncode == 0
    assert "was killed: a task exceeded its time limit, in nap(), attempt 1; another" in done.stderr


def test_time_limit_is_refused_where_nobody_else_can_be_killed(runs: Runs) -> None:
    functions = "@futures.task(time_limit=2)\ndef nap(): pass\n"
    done = runs.run("-n", "1", runs.write(program(functions, "futures.submit(nap)")))
    assert done.returncode == 1
    assert "the task has a time limit of 2 s, and no other worker to run it" in done.stderr


def test_program_ends_though_the_first_workers_die_while_they_import_it(runs: Runs) -> None:
    text = """
import os, pathlib, signal
from scoop_hpc import futures
if __name__ != '__main__' and len(list(pathlib.Path().glob('died-*'))) < 2:
    pathlib.Path(f'died-{os.getpid()}').touch()
    os.kill(os.getpid(), signal.SIGKILL)
if __name__ == '__main__':
    print(list(futures.map(abs, range(3))))
"""
    done = runs.run("-n", "2", runs.write(text))
    assert (done.returncode, done.stdout) == (0, "[0, 1, 2]\n"), done.stderr
    assert len(list(runs.directory.glob("died-*"))) >= 2


NESTED = """
@futures.task(max_losses=9)  # than which fewer workers are killed: chance may strike the same call each time
def leaf(n):
    with open(f'leaf-{n}', 'a') as file: file.write('x')
    open(f'begun-{os.getpid()}', 'w').close()
    time.sleep(0.005)
    return n, array.array('d', [n]) * 20_000

@futures.task(max_losses=9)
def branch(n):
    with open(f'branch-{n}', 'a') as file: file.write('x')
    parts = [futures.submit(leaf, 10 * n + k) for k in range(10)]
    return sum(value for value, large in (part.result() for part in parts) if large[-1] == value)
"""


@pytest.mark.parametrize("seed", range(int(os.environ.get("SOAK_SEEDS", "3"))))
def test_workers_that_are_killed_at_any_moment_cost_no_result(runs: Runs, seed: int) -> None:
    body = """
print(sum(futures.map(branch, range(60))) == sum(range(600)))
counts = [len(path.read_text()) for path in pathlib.Path().glob('leaf-*')]
print(len(counts), max(counts))
"""
    run = runs.start("-n", "3", runs.write(program(NESTED, body)))
    until(lambda: any(runs.directory.glob("leaf-*")))
    dice = random.Random(seed)
    killed: set[int] = set()
    fresh = 0  # in a row; after three that had not begun a task no other takes their place, and rightly so
    while len(killed) < 8 and run.poll() is None:
        workers = [pid for pid, title in members(run.pid).items() if title == "scoop-worker" and pid not in killed]
        begun = [pid for pid in workers if (runs.directory / f"begun-{pid}").exists()]
        victims = workers if fresh < 2 else begun
        if victims:
            victim = dice.choice(victims)
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:  # the program has ended
                break
            killed.add(victim)
            fresh = 0 if victim in begun else fresh + 1
        time.sleep(dice.uniform(0.0, 0.1))  # to no end but that the moments differ
    stdout, stderr = run.communicate(timeout=120)
    assert run.returncode == 0, stderr
    right, counts = stdout.splitlines()
    assert right == "True"
    leaves, most = map(int, counts.split())
    assert leaves == 600
    assert most <= 1 + len(killed)
    assert "Traceback" not in stderr
    until(lambda: not members(run.pid))


def test_node_whose_workers_die_before_they_begin_a_task_gets_no_others(runs: Runs) -> None:
    run = runs.start("-n", "2", runs.write(program("", "open('begun', 'w').close()\ntime.sleep(600)")))
    until((runs.directory / "begun").exists)
    while run.poll() is None:
        for pid, title in members(run.pid).items():
            if title == "scoop-worker":
                signal_if_there(pid, signal.SIGKILL)
        time.sleep(0.01)
    _, stderr = run.communicate(timeout=120)
    assert run.returncode == 1
    assert stderr.splitlines()[-1].endswith("killed by SIGKILL; no worker is left")


SHORT = """
import resource
def die():
    if not os.path.exists("died"):
        pathlib.Path("died").touch()
        agent = os.getppid()
        soft, hard = resource.prlimit(agent, resource.RLIMIT_NOFILE)
        print(agent, soft, hard, flush=True)
        taken = set(map(int, os.listdir(f"/proc/{agent}/fd")))
        least = next(number for number in range(hard) if len(set(range(number + 1)) - taken) > 1)  # one more is free
        resource.prlimit(agent, resource.RLIMIT_NOFILE, (least, hard))
        os.kill(os.getpid(), signal.SIGKILL)
def meet(n):
    pathlib.Path(str(n)).touch()
    while not os.path.exists(str(1 - n)): time.sleep(0.01)
"""


def test_worker_that_cannot_take_a_dead_ones_place_now_takes_it_later(runs: Runs) -> None:
    body = "futures.submit(die).result()\nprint(list(futures.map(meet, range(2), chunksize=1)))"
    process = runs.start("-n", "2", runs.write(program(SHORT, body)))
    assert process.stdout is not None
    assert process.stderr is not None
    agent, *limits = map(int, process.stdout.readline().split())
    refused = next(line for line in process.stderr if "cannot start" in line)
    assert refused.endswith(": cannot start scoop-worker 0.3: Too many open files; it is tried again\n")
    resource.prlimit(agent, resource.RLIMIT_NOFILE, (limits[0], limits[1]))
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert stdout == "[None, None]\n"
