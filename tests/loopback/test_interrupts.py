"""Ctrl-C at any moment of a run: status 130, one line at most, nothing left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from conftest import Runs, members, until

HOOK = Path(__file__).parent / "interrupting"
PROGRAM = """
from scoop_hpc import futures
import time

if __name__ == "__main__":
    list(futures.map(time.sleep, [600, 600]))
"""
# the program is not among them: Python shows where Ctrl-C has met it
MOMENTS = [
    "driver:import scoop_hpc.cli.main",
    "driver:import zmq",
    "driver:import scoop_hpc.cli.start",
    "driver:import scoop_hpc.cli.agent",
    "driver:os.fork",
    "driver:os.mkdir",
    "driver:shutil.rmtree",
    "agent:os.fork",
    "broker:any",
    "worker:any",
    "worker:open program.py",
    "origin:any",
    "origin:open program.py",
    "origin:compile",
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_at_any_moment_is_one_line_and_leaves_nothing(runs: Runs, moment: str) -> None:
    runs.environ.update(INTERRUPT_AT=moment, PYTHONPATH=str(HOOK))
    process = runs.start("-n", "2", runs.write(PROGRAM))
    if moment.endswith("rmtree"):  # the end, which must have a beginning
        until(lambda: "scoop-origin" in members(process.pid).values())
        process.terminate()
    stdout, stderr = process.communicate(timeout=120)
    assert stdout == ""
    assert len(stderr.splitlines()) <= 1
    assert process.returncode in ((143,) if moment.endswith("rmtree") else (130, -signal.SIGINT))
    until(lambda: not members(process.pid))
    assert os.listdir(runs.temporary) == []


IN_AN_ITEM = """
from scoop_hpc import futures
from scoop_hpc.errors import RunEndedError
from scoop_hpc.worker.current import current
import os, signal, sys

def interrupt(n):
    if n == int(sys.argv[2]):
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    return n

if __name__ == "__main__":
    chunksize = int(sys.argv[3]) if sys.argv[3:] else None
    while (current().seconds_of(interrupt) or 1.0) > 1e-5:
        futures.submit(interrupt, -1).result()
    taken = []
    try:
        results = futures.map(interrupt, range(40), chunksize=chunksize)
        print("goes on")
        taken.extend(results)
    except (KeyboardInterrupt, RunEndedError) as error:
        print(type(error).__name__, taken)
"""


@pytest.mark.parametrize(("name", "raised"), [("SIGINT", "KeyboardInterrupt"), ("SIGTERM", "RunEndedError")])
def test_signal_during_quick_items_of_a_map_is_raised_where_the_program_is(runs: Runs, name: str, raised: str) -> None:
    done = runs.run("-n", "2", runs.write(IN_AN_ITEM), name, "0")
    assert done.stdout == f"{raised} []\n", done.stderr


def test_ctrl_c_does_not_wait_until_the_results_before_it_are_taken(runs: Runs) -> None:
    done = runs.run("-n", "1", runs.write(IN_AN_ITEM), "SIGINT", "30", "40")
    assert done.stdout == "goes on\nKeyboardInterrupt []\n", done.stderr
