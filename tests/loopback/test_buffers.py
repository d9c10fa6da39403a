"""Large buffers between the workers of one machine: no copy that can be avoided, and nothing is left of them."""

from __future__ import annotations

import os

import pytest
from conftest import Runs, members, shared_memory, until

from scoop_hpc.transport import maps
from scoop_hpc.transport.segments import LAYOUT, Segments

HEAD = """
import os, resource, sys
from concurrent.futures import CancelledError
from scoop_hpc import futures

def echo(x):
    return x

def descriptors(x=0):
    return len(os.listdir("/proc/self/fd"))

def elsewhere(function, *args):
    return futures.submit(function, *args).result(timeout=60)  # who waits with a time-out leaves tasks to others

def main():
"""
KILL = """
def kill(worker):
    try:
        os.kill(worker, 9)
    except ProcessLookupError:  # it was the one that this task was executed by first
        pass
"""
MAIN = "\nif __name__ == '__main__':\n    main()\n"


def printed(runs: Runs, body: str, head: str = HEAD, workers: tuple[str, ...] = ("-n", "2")) -> str:
    """Run a program whose ``main`` is *body*; return what it printed."""
    text = head + "".join(f"    {line}\n" for line in body.splitlines()) + MAIN
    done = runs.run(*workers, runs.write(text))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("nodes", ["a:2", "a:1,b:1", "a:1,b:2,c:1"])
def test_hundreds_of_echoes_leave_no_descriptor(runs: Runs, nodes: str) -> None:
    runs.environ.update(SCOOP_HPC_LOCAL_JOB_ID="local-9", SCOOP_HPC_LOCAL_NODES=nodes)
    body = """before = descriptors(), elsewhere(descriptors)
for size in (100_000, 1_000_000):
    for n in range(2):
        for future in [futures.submit(echo, bytearray([n]) * size) for _ in range(100)]:
            assert future.result(timeout=60) == bytearray([n]) * size
        assert list(futures.map(echo, [bytearray([n]) * size] * 10)) == [bytearray([n]) * size] * 10
after = descriptors(), elsewhere(descriptors)
print(max(b - a for a, b in zip(before, after)) <= 40)"""  # 32 may rest
    assert printed(runs, body, workers=()) == "True\n"


def test_arrays_of_all_kinds_arrive_whole_and_writable(runs: Runs) -> None:
    head = "import numpy\n" + HEAD
    body = """plain = numpy.arange(1_000_000.0)
square = plain.reshape(1000, 1000)
for array in (plain, square, numpy.asfortranarray(square), square[100:900], square[:, 100:900], plain[::2], plain[:0],
              plain[:10], plain[:20_000], plain.astype(object)[:100_000], plain.view([("x", float)])):
    back = elsewhere(echo, array)
    assert back is not array
    assert back.shape == array.shape and back.dtype == array.dtype and (back == array).all(), array
    assert back.flags.writeable and back.flags.f_contiguous >= array.flags.f_contiguous, array.flags
    if array.size:
        back[...] = back[-1]
nested = elsewhere(echo, {"a": [plain, square], "b": (bytes(plain), bytearray(plain), "x" * 1_000_000)})
assert (nested["a"][0] == plain).all() and nested["a"][1].base is not None and nested["b"][2] == "x" * 1_000_000
assert nested["b"][0] == nested["b"][1] == bytes(plain)
print("whole")"""
    assert printed(runs, body, head=head) == "whole\n"


def test_large_argument_and_result_are_snapshots(runs: Runs) -> None:
    head = (
        "import threading\nkept = bytearray(1_000_000)\n" + HEAD.replace("def main", "def fill(n):\n"
        "    kept[:] = bytes([n]) * len(kept)\n    return kept\n\ndef main")
    )  # fmt: skip
    body = """work = bytearray(1_000_000)
pairs = []
for n in range(50):
    work[:] = bytes([n]) * len(work)
    pairs.append((n, futures.submit(echo, work)))
print([n for n, future in pairs if future.result(timeout=60) != bytes([n]) * len(work)])
pairs = [(n, futures.submit(fill, n)) for n in range(50)]
print([n for n, future in pairs if future.result(timeout=60) != bytes([n]) * len(work)])
print([n for n, result in enumerate(futures.map(fill, range(50), timeout=60)) if result != bytes([n]) * len(work)])"""
    assert printed(runs, body, head=head) == "[]\n[]\n[]\n"


def test_results_of_a_running_reduction_may_be_changed(runs: Runs) -> None:
    head = "import numpy, operator\n" + HEAD.replace(
        "def main", "def ones(n):\n    return numpy.full(100_000, n)\n\ndef main"
    )
    body = """for found, n in zip(futures.map_scan(ones, operator.add, range(1, 40)), range(1, 40)):
    assert (found == n * (n + 1) // 2).all(), (found, n)
    found[:] = 0
print((futures.map_reduce(ones, operator.iadd, range(1, 40)) == 780).all())"""
    assert printed(runs, body, head=head) == "True\n"


def test_program_may_keep_more_arrays_than_it_may_open_files(runs: Runs) -> None:
    body = """resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
held = [elsewhere(echo, bytes([n]) * 600_000) for n in range(200)]
held += list(futures.map(bytearray, [600_000] * 200))
print(open("/dev/null").name, sum(map(len, held)))"""
    assert printed(runs, body) == "/dev/null 240000000\n"


def test_cancelled_and_abandoned_tasks_leave_no_descriptor(runs: Runs) -> None:
    body = """before = descriptors()
for way in range(3):
    tasks = [futures.submit(echo, bytearray(600_000)) for _ in range(100)]
    if way == 0:
        print(all(task.cancel() or task.done() or task.running() for task in tasks))
    elif way == 1:
        results = futures.map(echo, [bytearray(600_000)] * 100, timeout=60, chunksize=1)
        next(results)
        results.close()
    for task in tasks:
        try:
            task.result(timeout=60)
        except CancelledError:
            pass
for _ in range(40):
    elsewhere(abs, 1)
    futures.wait([futures.submit(echo, 1)], timeout=0.01)
print(descriptors() - before <= 40)"""
    assert printed(runs, body) == "True\nTrue\n"


def test_worker_that_is_killed_leaves_no_memory_behind(runs: Runs) -> None:
    before = shared_memory()
    body = """held = [futures.submit(echo, bytearray(5_000_000)) for _ in range(20)]
print(len(elsewhere(echo, bytearray(5_000_000))), flush=True)
futures.submit(kill, elsewhere(os.getpid)).result(timeout=60)"""
    text = KILL + HEAD + "".join(f"    {line}\n" for line in body.splitlines()) + MAIN
    process = runs.start("-n", "2", runs.write(text))
    assert process.stdout is not None
    assert process.stdout.readline() == "5000000\n"
    assert process.wait(120) == 0  # another worker takes its place
    until(lambda: not members(process.pid))
    until(lambda: shared_memory() <= before)


def test_map_in_a_forked_process_keeps_the_memory_from_being_used_again() -> None:
    segments = Segments(most=10)
    reference = segments.put(memoryview(b"1" * 600_000))
    assert reference is not None
    buffer = maps.opened(reference)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell)
        os.read(told, 1)
        os._exit(int(buffer[:1] != b"1"))
    del buffer
    other = segments.put(memoryview(b"2" * 600_000))
    os.close(tell)
    os.close(told)
    assert os.waitpid(child, 0)[1] == 0
    assert other is not None
    assert LAYOUT.unpack(other)[1] != LAYOUT.unpack(reference)[1]
    segments.close()
