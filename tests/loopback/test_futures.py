"""Futures as the standard library knows them, between real processes."""

from __future__ import annotations

import signal
import time

import pytest
from conftest import Runs

START = "import asyncio, concurrent.futures, os, sys, threading, time\nfrom scoop_hpc import futures\n"


def run(runs: Runs, program: str, workers: int = 2) -> str:
    """Run *program*; return what it printed, once it has ended well."""
    done = runs.run("-n", str(workers), runs.write(START + program))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_task_queued_behind_others_is_cancelled_and_a_running_one_is_not(runs: Runs) -> None:
    program = """
def block(name):
    open(name, "w").close()
    while not os.path.exists("go"):
        time.sleep(0.005)
    return name

if __name__ == "__main__":
    all = [futures.submit(block, name) for name in "abcdef"]
    while not (os.path.exists("a") and os.path.exists("b")):
        time.sleep(0.005)
    states = [(future.running(), future.cancel(), future.cancelled(), future.done()) for future in all]
    open("go", "w").close()
    print(states[:2], set(states[2:]), [future.result() for future in all[:2]])
    print([name for name in "cdef" if os.path.exists(name)])
"""
    out = run(runs, program, workers=2)
    running, queued = "(True, False, False, False)", "(False, True, True, True)"
    assert out == f"[{running}, {running}] {{{queued}}} ['a', 'b']\n[]\n"


def test_wait_and_as_completed_of_the_standard_library_let_the_worker_go_on(runs: Runs) -> None:
    program = """
def square(n):
    return n * n

def both(count):
    first = [futures.submit(square, n) for n in range(count)]
    done = concurrent.futures.wait(first).done
    second = [futures.submit(square, n) for n in range(count)]
    return len(done), sum(future.result() for future in concurrent.futures.as_completed(second))

if __name__ == "__main__":
    print(both(100), futures.submit(both, 10).result(), futures.submit(both, 5).result(timeout=60))
    try:
        concurrent.futures.wait([futures.submit(time.sleep, 60)], timeout=0.05).not_done.pop().cancel()
    finally:
        os._exit(0)
"""
    for workers in (1, 2):
        program_of = program if workers > 1 else program.replace("time.sleep, 60", "time.sleep, 0")
        assert run(runs, program_of, workers).startswith("(100, 328350) (10, 285) (5, 30)\n")


def test_futures_are_awaited_in_asyncio(runs: Runs) -> None:
    program = """
def square(n):
    return n * n

async def total(count):
    wrapped = [asyncio.wrap_future(futures.submit(square, n)) for n in range(count)]
    ticks = asyncio.create_task(asyncio.sleep(0))
    await ticks
    return sum(await asyncio.gather(*wrapped))

def loop_of_its_own(count):
    return asyncio.run(total(count))

async def main():
    inner = [asyncio.wrap_future(futures.submit(loop_of_its_own, n)) for n in (3, 4)]
    return await total(50), await asyncio.gather(*inner)

if __name__ == "__main__":
    print(asyncio.run(main()))
"""
    for workers in (1, 3):
        assert run(runs, program, workers) == "(40425, [5, 14])\n"


def test_tasks_that_a_coroutine_waits_for_may_have_event_loops_of_their_own(runs: Runs) -> None:
    program = """
async def square(n):
    await asyncio.sleep(0)
    return n * n

def work(n):
    return asyncio.run(square(n))

async def main():
    loop = asyncio.get_running_loop()
    single = futures.submit(work, 3).result()
    mapped = sum(futures.map(work, range(40))), list(futures.map_scan(work, max, range(40)))[-1]
    return single, *mapped, futures.map_reduce(work, max, range(40)), asyncio.get_running_loop() is loop

if __name__ == "__main__":
    for n in range(50):
        futures.submit(work, n).result()
    print(asyncio.run(main()))
"""
    for workers in (1, 2):
        assert run(runs, program, workers) == "(9, 20540, 1521, 1521, True)\n"


def test_program_that_waits_with_a_timeout_is_given_no_quick_items_to_do(runs: Runs) -> None:
    program = """
from scoop_hpc.worker.current import current

if __name__ == "__main__":
    may = []
    for timeout in (None, 60):
        future = futures.submit(time.sleep, 0.05)
        concurrent.futures.Future.add_done_callback(future, lambda _: may.append(current().may_run_here()))
        future.result(timeout)
    print(may)
"""
    assert run(runs, program) == "[True, False]\n"


@pytest.mark.parametrize(
    ("left", "workers"), [("submit(total)", 1), ("submit(time.sleep, 0.05).add_done_callback(total)", 2)]
)
def test_maps_of_what_the_program_has_left_are_done_whole(runs: Runs, left: str, workers: int) -> None:
    program = f"""
def same(n):
    return n

def total(*_):
    mapped = sum(futures.map(same, range(30_000))), sum(futures.map_as_completed(same, range(100)))
    print(*mapped, len(list(futures.map_scan(same, max, range(100)))), flush=True)

if __name__ == "__main__":
    futures.{left}
"""
    assert run(runs, program, workers) == "449985000 4950 100\n"


def test_result_is_waited_for_in_another_thread(runs: Runs) -> None:
    program = """
def square(n):
    return n * n

if __name__ == "__main__":
    future = futures.submit(square, 7)
    got = []
    thread = threading.Thread(target=lambda: got.append(future.result(timeout=60)))
    thread.start()
    futures.wait([future])
    thread.join()
    print(got)
"""
    assert run(runs, program) == "[49]\n"


def test_short_tasks_do_not_wait_for_a_program_that_computes(runs: Runs) -> None:
    program = """
def note(n):
    if n >= 0:
        with open("ran", "a") as ran:
            ran.write("x")
    return n

if __name__ == "__main__":
    for _ in range(200):
        futures.submit(note, -1).result()   # known to be short by now
    waiting = [futures.submit(note, n) for n in range(2000)]
    seen = 0
    while not os.path.exists("ran") or os.path.getsize("ran") < 900:
        sum(range(1000))                     # never a look at the futures
    print(len([future for future in waiting if future.result() is not None]), os.path.getsize("ran"))
"""
    assert run(runs, program) == "2000 2000\n"


def test_tasks_behind_one_that_turns_out_long_are_done_by_others(runs: Runs) -> None:
    program = """
def work(n):
    if n != 300:
        if n > 0:
            open(f"did{n}", "w").close()
        return n
    while sum(os.path.exists(f"did{k}") for k in range(600)) < 560:
        time.sleep(0.005)                    # waits for what stands behind it
    return n

if __name__ == "__main__":
    for _ in range(200):
        futures.submit(work, 0).result()
    print(sum(future.result() for future in [futures.submit(work, n) for n in range(1, 600)]))
"""
    assert run(runs, program, workers=3) == f"{sum(range(600))}\n"


def test_quick_tasks_end_before_long_ones_of_the_same_function(runs: Runs) -> None:
    program = """
def work(n):
    if n in (100, 700):                       # hours, if nobody did the others
        while not os.path.exists("others are done"):
            time.sleep(0.005)
    return n

if __name__ == "__main__":
    all, done = [futures.submit(work, n) for n in range(2000)], []
    for future in futures.as_completed(all, timeout=60):  # by the other workers
        done.append(future.result())
        if len(done) == 1998:
            open("others are done", "w").close()
    print(sorted(done) == list(range(2000)), sorted(done[1998:]))
"""
    assert run(runs, program, workers=4) == "True [100, 700]\n"


def test_tasks_that_submit_thousands_are_each_run_once(runs: Runs) -> None:
    program = """
def leaf(n):
    return n

def spawn(first):
    return [future.result() for future in [futures.submit(leaf, n) for n in range(first, first + 3000)]]

if __name__ == "__main__":
    numbers = [n for numbers in futures.map(spawn, range(0, 24_000, 3000)) for n in numbers]
    print(numbers == list(range(24_000)))
"""
    assert run(runs, program, workers=3) == "True\n"


def test_map_whose_function_turns_slow_is_shared_anew(runs: Runs) -> None:
    program = """
def work(n):
    if n >= 20_000:
        time.sleep(0.002)
    return n, os.getpid()

if __name__ == "__main__":
    found = list(futures.map(work, range(20_400), timeout=60))
    print([n for n, _ in found] == list(range(20_400)), len({pid for _, pid in found[20_000:]}))
"""
    assert run(runs, program, workers=3) == "True 3\n"


@pytest.mark.parametrize("verb", ["map(work, items)", "map_as_completed(work, items)", "map_scan(work, max, items)"])
def test_map_over_what_waits_for_futures_is_complete(runs: Runs, verb: str) -> None:
    program = f"""
def slow(n):
    time.sleep(0.002)
    return n

def work(n):
    return n

if __name__ == "__main__":
    all = [futures.submit(slow, n) for n in range(200)]
    items = (future.result() for future in futures.as_completed(all))
    print(sum(1 for _ in futures.{verb}))
"""
    assert run(runs, program) == "200\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_reaches_a_program_that_waits_for_many_short_tasks(runs: Runs, workers: int) -> None:
    program = """
def work(n):
    end = time.monotonic() + 0.0005
    while time.monotonic() < end:
        pass

if __name__ == "__main__":
    all = [futures.submit(work, n) for n in range(40_000)]
    try:
        print("began", flush=True)
        futures.wait(all)
    except KeyboardInterrupt:
        print("caught", flush=True)
        os._exit(5)
"""
    process = runs.start("-n", str(workers), runs.write(START + program))
    assert process.stdout is not None
    assert process.stdout.readline() == "began\n"
    time.sleep(0.2)  # any moment will do
    process.send_signal(signal.SIGINT)
    assert (process.communicate(timeout=120)[0], process.returncode) == ("caught\n", 5)


def test_generator_is_refused_where_it_is_submitted(runs: Runs) -> None:
    program = """
if __name__ == "__main__":
    try:
        futures.submit(sum, (n for n in range(3)))
    except TypeError as error:
        print(error)
"""
    out = run(runs, program)
    assert "generator" in out
    assert "list" in out


@pytest.mark.parametrize("workers", [1, 2])
def test_context_of_a_task_is_a_copy(runs: Runs, workers: int) -> None:
    program = """
import contextvars
word = contextvars.ContextVar("word", default="none")

def change(n):
    before = word.get()
    word.set(f"task {n}")
    return before

if __name__ == "__main__":
    word.set("program")
    seen = {futures.submit(change, n).result() for n in range(50)}
    print(word.get(), "task" in str(seen))
"""
    assert run(runs, program, workers) == "program False\n"
