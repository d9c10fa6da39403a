"""Shared constants between nodes."""

from __future__ import annotations

import pytest
from conftest import Runs

PROGRAM = """
import os, sys, threading, time
from scoop_hpc import futures, shared
from scoop_hpc.errors import ConstantError

def read(n):
    return os.getppid(), shared.get_const("table")[n], shared.get_const("shout")("x")

def wait_for(name):
    return shared.get_const(name, timeout=60)

def set_late(name):
    time.sleep(0.05)
    shared.set_const(**{name: "late"})
    return True

def slowly(n):
    time.sleep(0.02)
    return read(n)

if __name__ == "__main__":
    shared.set_const(table=list(range(100)), shout=lambda text: text * 3)
    seen = [future.result() for future in [futures.submit(slowly, n) for n in range(100)]]
    print([value for _, value, _ in seen] == list(range(100)), {text for _, _, text in seen})
    print(len({node for node, _, _ in seen}))
    waiting = [futures.submit(wait_for, "other") for _ in range(8)]
    print(futures.submit(set_late, "other").result(), {future.result() for future in waiting})
    try:
        shared.get_const(5)
    except TypeError as error:
        print(error)
    for call in (lambda: shared.set_const(table=1), lambda: shared.get_const("nothing")):
        try:
            call()
        except ConstantError as error:
            print(error)
"""


@pytest.mark.parametrize("nodes", ["", "a:2,b:1,c:2,d:1"])
def test_constants_are_seen_by_all_workers_of_all_nodes(runs: Runs, nodes: str) -> None:
    if nodes:
        runs.environ.update(SCOOP_HPC_LOCAL_JOB_ID="local-9", SCOOP_HPC_LOCAL_NODES=nodes)
    done = runs.run(*([] if nodes else ["-n", "3"]), runs.write(PROGRAM))
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "True {'xxx'}\n"
        f"{4 if nodes else 1}\n"
        "True {'late'}\n"
        "the name of a constant is 5: it must be a string\n"
        "the constant 'table' is set already, and cannot be set again\n"
        "there is no constant 'nothing': set it with shared.set_const(nothing=...)\n"
    )
