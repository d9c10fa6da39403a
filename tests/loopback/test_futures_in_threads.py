"""Futures while the main thread waits elsewhere, and futures in other threads, in a run."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from conftest import Runs, until

START = """
import asyncio, concurrent.futures, functools, os, queue, sys, threading, time
from scoop_hpc import Executor, futures

def square(n):
    time.sleep(0.002)
    return n * n

def add(a, b):
    return a + b

"""
MAIN = 'if __name__ == "__main__":\n'

workers = pytest.mark.parametrize("workers", [1, 2, 4])


def run(runs: Runs, functions: str, program: str, workers: int) -> str:
    """Run *program* with *functions*; return what it printed, once it has ended well."""
    text = START + functions + MAIN + "    " + program.strip().replace("\n", "\n    ") + "\n"
    done = runs.run("-n", str(workers), runs.write(text))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@workers
def test_callback_is_called_wherever_the_main_thread_waits(runs: Runs, workers: int) -> None:
    program = """
results = queue.Queue()
for n in range(20):
    futures.submit(square, n).add_done_callback(results.put)
print(sorted(results.get(timeout=50).result() for _ in range(20)) == [n * n for n in range(20)])
event = threading.Event()
futures.submit(square, 3).add_done_callback(lambda future: event.set())
print(event.wait(50))
for pause in (0.001, 0):  # a loop that sleeps, and one that spins
    flag = []
    futures.submit(square, 3).add_done_callback(flag.append)
    while not flag:
        if pause: time.sleep(pause)
    print(flag[0].result())
with Executor(1) as executor:
    for n in range(5):
        executor.submit(square, n).add_done_callback(results.put)
    print(sorted(results.get(timeout=50).result() for _ in range(5)))
"""
    assert run(runs, "", program, workers) == "True\nTrue\n9\n9\n[0, 1, 4, 9, 16]\n"


@workers
def test_tasks_that_wait_for_callbacks_do_not_block_all_workers(runs: Runs, workers: int) -> None:
    functions = """
def tree(depth):
    if not depth:
        return 1
    done = queue.Queue()
    for _ in range(2):
        futures.submit(tree, depth - 1).add_done_callback(done.put)
    return 1 + sum(done.get(timeout=50).result() for _ in range(2))

def executors(depth):
    if not depth:
        return 1
    done = queue.Queue()
    with Executor() as executor:
        for _ in range(2):
            executor.submit(executors, depth - 1).add_done_callback(done.put)
        return 1 + sum(done.get(timeout=50).result() for _ in range(2))

async def in_threads(depth):
    calls = [asyncio.to_thread(lambda: futures.submit(to_thread, depth - 1).result()) for _ in range(2)]
    return 1 + sum(await asyncio.gather(*calls))

def to_thread(depth):
    return asyncio.run(in_threads(depth)) if depth else 1
"""
    program = "print(tree(4), futures.submit(tree, 4).result(), executors(3), to_thread(3))\n"
    assert run(runs, functions, program, workers) == "31 31 15 15\n"


@workers
def test_any_thread_may_submit_and_wait(runs: Runs, workers: int) -> None:
    functions = """
def hold(k):
    while not os.path.exists(f"go-{k}"):
        time.sleep(0.005)

def use(k):
    five = [futures.submit(square, n) for n in range(5)]
    waited = futures.wait(five).done
    finished = sorted(future.result() for future in futures.as_completed([futures.submit(square, 2), five[1]]))
    standard = concurrent.futures.wait([futures.submit(square, n) for n in range(5)], timeout=50).done
    polled = futures.submit(square, k)
    while not polled.done():
        time.sleep(0.001)
    try:
        futures.submit(hold, k).result(timeout=0.01)
    except futures.TimeoutError:
        late = True
    open(f"go-{k}", "w").close()
    return (
        futures.submit(square, 7).result(), sum(future.result() for future in waited), finished, len(standard),
        polled.result() == k * k, late, list(futures.map(abs, range(-5, 0))),
        list(futures.map(add, range(3000), range(3000))) == list(range(0, 6000, 2)),
        sorted(futures.map_as_completed(abs, range(500))) == list(range(500)),
        futures.map_reduce(abs, add, range(3000)), list(futures.map_scan(abs, add, range(500)))[-1],
    )
"""
    program = """
threads = concurrent.futures.ThreadPoolExecutor(3)
seen = set(map(repr, threads.map(use, range(3))))
with Executor() as executor:
    print(seen, sum(threads.map(lambda n: executor.submit(square, n).result(), range(20))))
"""
    expected = (
        "{'(49, 30, [1, 4], 5, True, True, [5, 4, 3, 2, 1], True, True, 4498500, 124750)'} "
        f"{sum(n * n for n in range(20))}\n"
    )
    assert run(runs, functions, program, workers) == expected


def test_map_goes_on_in_the_thread_that_it_is_handed_to(runs: Runs) -> None:
    program = """
results = futures.map(square, range(500), chunksize=1)
first = next(results)
found = []
thread = threading.Thread(target=lambda: found.extend(results))
thread.start()
thread.join()
print(first, found == [n * n for n in range(1, 500)])
"""
    assert run(runs, "", program, 2) == "0 True\n"


@workers
def test_callback_may_wait_for_another_future(runs: Runs, workers: int) -> None:
    program = """
results = queue.Queue()
def then(future):
    results.put(future.result() + futures.submit(square, 4).result())
for n in range(10):
    futures.submit(square, n).add_done_callback(then)
print(sorted(results.get(timeout=50) for _ in range(10)) == sorted(n * n + 16 for n in range(10)))
locked, freed = threading.Event(), threading.Event()
futures.submit(square, 1).add_done_callback(lambda future: (locked.set(), freed.wait(50)))
locked.wait(50)
last = futures.submit(square, 2)
last.add_done_callback(lambda future: freed.set())  # the first callback holds its thread until then
print(freed.wait(50), last.result())
"""
    assert run(runs, "", program, workers) == "True\nTrue 4\n"


@workers
def test_threads_that_outlive_the_program_get_their_results(runs: Runs, workers: int) -> None:
    program = """
def go_on():
    ended.wait(50)
    print(list(futures.map(square, range(40))) == [n * n for n in range(40)], futures.submit(square, 5).result())
ended = threading.Event()
thread = threading.Thread(target=go_on)
thread.start()
threading.Timer(0.05, ended.set).start()
"""
    assert run(runs, "", program, workers) == "True 25\n"


def test_program_that_fails_waits_for_its_threads_and_keeps_its_status(runs: Runs) -> None:
    text = (
        START
        + MAIN
        + (
            "    ended = threading.Event()\n"
            "    threading.Thread(target=lambda: (ended.wait(50), print(futures.submit(square, 5).result()))).start()\n"
            "    threading.Timer(0.05, ended.set).start()\n"
            "    sys.exit('no such file')\n"
        )
    )
    done = runs.run("-n", "2", runs.write(text))
    assert (done.returncode, done.stdout, done.stderr) == (1, "25\n", "no such file\n")


def test_failing_callback_is_shown_and_sys_exit_in_one_is_the_programs(runs: Runs) -> None:
    text = (
        START
        + MAIN
        + (
            "    done = queue.Queue()\n"
            "    def fail(future): raise ArithmeticError('in a callback')\n"
            "    def leave(future): sys.exit(3)\n"
            "    future = futures.submit(square, 3)\n"
            "    for callback in (fail, done.put): future.add_done_callback(callback)\n"
            "    print(done.get(timeout=50).result())\n"
            "    futures.submit(square, 3).add_done_callback(leave)\n"
            "    while True: futures.submit(square, 3).result()\n"
        )
    )
    done = runs.run("-n", "2", runs.write(text))
    assert (done.returncode, done.stdout) == (3, "9\n")  # as soon as the program uses this package
    assert "ArithmeticError: in a callback" in done.stderr


def test_ctrl_c_reaches_a_program_that_waits_elsewhere(runs: Runs) -> None:
    text = (
        START
        + MAIN
        + (
            "    futures.submit(time.sleep, 50).add_done_callback(print)\n"
            "    try: open('waits', 'w').close(); queue.Queue().get()\n"
            "    except KeyboardInterrupt: print('interrupted'); sys.exit(5)\n"
        )
    )
    process = runs.start("-n", "2", runs.write(text))
    until((runs.directory / "waits").exists)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert (process.returncode, out) == (5, "interrupted\n")


def test_a_script_that_nobody_started_by_scoop_hpc_is_called_back_too(runs: Runs) -> None:
    text = (
        START
        + MAIN
        + (
            "    done = queue.Queue()\n"
            "    for n in range(3): futures.submit(square, n).add_done_callback(done.put)\n"
            "    print(sorted(done.get(timeout=50).result() for _ in range(3)))\n"
        )
    )
    path = runs.write(text)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", path], cwd=runs.directory, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0, 1, 4]\n", "")


def test_tasks_that_join_threads_which_wait_never_block_all_workers(runs: Runs) -> None:
    functions = """
sys.setswitchinterval(1e-5)  # a thread is found blocked while what it runs ends

def joined(n):
    results = []
    threads = [threading.Thread(target=lambda k=k: results.append(futures.submit(square, k).result())) for k in (1, 2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return sum(results)
"""
    program = """
for _ in range(30):
    tasks = [futures.submit(joined, n) for n in range(12)]
    assert sum(futures.map(square, range(10))) == 285
    assert [task.result() for task in tasks] == [5] * 12
print("done")
"""
    assert run(runs, functions, program, 2) == "done\n"
