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
