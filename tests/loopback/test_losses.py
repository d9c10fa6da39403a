"""What is lost, stopped, or not what it should be: the run says so, and its record is its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Runs, members, until

PROGRAM = """
import pathlib, sys, time
from scoop_hpc import futures
if __name__ == "__main__":
    pathlib.Path(sys.argv[2]).touch()
    time.sleep(float(sys.argv[1]))
"""


def record(path: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(path.read_text())
    return about


def one(run: subprocess.Popen[str], title: str) -> int:
    """Return the process of *run* that calls itself *title*."""
    return next(pid for pid, name in members(run.pid).items() if name == title)


@pytest.mark.parametrize("late", [False, True], ids=["in time", "late"])
def test_a_former_run_does_not_write_over_the_record_of_the_one_that_succeeds(runs: Runs, late: bool) -> None:
    path = runs.directory / "record.json"
    words = ("-n", "1", "--record", str(path), runs.write(PROGRAM))
    first = runs.start(*words, "600", "begun")
    until((runs.directory / "begun").exists)
    agent = one(first, "agent")
    if late:
        os.kill(agent, signal.SIGSTOP)
    first.kill()
    first.wait(20)
    second = runs.run(*words, "0", "begun")
    assert second.returncode == 0, second.stderr
    if late:
        os.kill(agent, signal.SIGCONT)
    until(lambda: not members(first.pid))
    assert (record(path)["state"], record(path)["reason"]) == ("COMPLETED", "")


def test_a_run_whose_driver_is_killed_is_recorded_as_failed(runs: Runs) -> None:
    path = runs.directory / "record.json"
    first = runs.start("-n", "1", "--record", str(path), runs.write(PROGRAM), "600", "begun")
    until((runs.directory / "begun").exists)
    first.kill()
    until(lambda: not members(first.pid))
    assert record(path)["state"] == "FAILED"
    assert record(path)["reason"].startswith(f"the driver (pid {first.pid}) on ")
