"""The programs of `benchmarks.losses`, for ``scoop-hpc run``: each checks its results, and reports a line of JSON."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scoop_hpc import futures
from scoop_hpc.errors import WorkerLostError

Report = dict[str, Any]


def call(number: int, is_guilty: bool) -> int:
    """Last 2 ms, or end the worker by a segmentation fault."""
    if is_guilty:
        ctypes.string_at(0)
    time.sleep(0.002)
    return number * number


def guilty(count: str, *words: str) -> Report:
    """Say how long *count* calls take, of which those with these numbers are guilty."""
    numbers = {int(word) for word in words}
    futures.wait([futures.submit(time.sleep, 0.01) for _ in range(50)])  # all workers are there
    start = time.perf_counter()
    submitted = [futures.submit(call, number, number in numbers) for number in range(int(count))]
    failed = {}
    for number, future in enumerate(submitted):
        try:
            assert future.result() == number * number
        except WorkerLostError as error:
            failed[number] = len(error.losses)
    assert failed == dict.fromkeys(numbers, 3)
    return {"seconds": time.perf_counter() - start}


def die_at_first(name: str) -> float:
    """End the worker, and return at the second attempt how many seconds after that it began."""
    now = time.monotonic()  # the same for all processes of a machine [clock_gettime(2)]
    path = Path(name)
    if path.exists():
        return now - float(path.read_text())
    path.write_text(repr(time.monotonic()))
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")


def again(count: str) -> Report:
    """Say after how many seconds each of *count* tasks ran again whose worker had died."""
    futures.wait([futures.submit(time.sleep, 0.01) for _ in range(50)])
    seconds = []
    for number in range(int(count)):
        seconds.append(futures.submit(die_at_first, f"died-{number}").result())
        futures.wait([futures.submit(time.sleep, 0.01) for _ in range(50)])  # the worker in its place has begun a task
    return {"seconds": seconds}


def held(_: bytes) -> int:
    """Last until the program has looked; return the node's agent."""
    while not os.path.exists("looked"):
        time.sleep(0.1)
    return os.getppid()


def first_broker(count: str, size: str, seconds: str) -> Report:
    """Say what memory the first broker has, some *seconds* after *count* tasks with *size* bytes were submitted."""
    submitted = [futures.submit(held, os.urandom(int(size))) for _ in range(int(count))]
    futures.wait(submitted, timeout=float(seconds))  # they spread
    assert not any(future.done() for future in submitted)
    resident = resident_bytes(broker())
    Path("looked").touch()
    nodes = {future.result() for future in submitted}
    return {"bytes": resident, "nodes": len(nodes)}


def broker() -> int:
    """Return the process of the broker beside this one."""
    agent = os.getppid()
    for pid in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
        if Path(f"/proc/{pid}/comm").read_text() == "scoop-broker\n":
            return int(pid)
    raise SystemExit("no broker beside this process")


def resident_bytes(pid: int) -> int:
    """Return the resident set size of a process: what it shares with its agent counts in full [proc_pid_smaps(5)]."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(row.split()[1]) for row in rows if row.startswith("Rss:"))


PROGRAMS: dict[str, Callable[..., Report]] = {"guilty": guilty, "again": again, "first-broker": first_broker}

if __name__ == "__main__":
    print(json.dumps(PROGRAMS[sys.argv[1]](*sys.argv[2:])), flush=True)
