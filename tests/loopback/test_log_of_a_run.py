"""The log of a whole run: what the driver, agents, brokers and workers did, in their lines."""

from __future__ import annotations

import os
import re

import pytest
from conftest import Runs, without_warnings

PROGRAM = """
import os, signal, sys, time
from scoop_hpc import futures
from scoop_hpc.compat import logger

def work(number):
    time.sleep(0.02)
    if len(sys.argv) > 1 and number == 7:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number

if __name__ == "__main__":
    logger.warning("said")
    print(sum(futures.map(work, range(20))))
"""
LINE = re.compile(
    r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] (\S+) (driver|agent|broker \d+|worker \d+\.\d+) [A-Z]+: .+"
)


def test_log_file_tells_the_course_of_the_run(runs: Runs) -> None:
    done = runs.run("-n", "2", "--log-file", "log", runs.write(PROGRAM))
    assert (done.stdout, without_warnings(done.stderr), done.returncode) == ("190\n", "", 0)
    lines = [line for line in (runs.directory / "log").read_text().splitlines() if not line.endswith("said")]
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    course = (
        "launch command for",
        "joined: agent",
        "started broker 0",
        "run begins",
        "started origin",
        "is over: COMPLETED",
    )
    where = [next(number for number, line in enumerate(lines) if words in line) for words in course]
    assert where == sorted(where)


def test_standard_error_has_the_log_of_a_run_whose_worker_dies_and_keys_are_not_in_it(runs: Runs) -> None:
    done = runs.run("-n", "3", "--log-level", "debug", runs.write(PROGRAM), "die")
    assert done.returncode != 0
    assert re.search(r"agent WARNING: worker 0\.\d \(pid \d+\) died: killed by SIGSEGV\n", done.stderr)
    assert re.search(r"driver WARNING: worker 0\.\d \(pid \d+\) on \S+ died: killed by SIGSEGV, in ", done.stderr)
    assert re.search(r"broker 0 INFO: \d+ tasks of worker 0\.\d are queued again, 0 have failed\n", done.stderr)
    assert "broker 0 DEBUG: worker 0.0 is ready\n" in done.stderr
    assert " worker 0.0 DEBUG: " in done.stderr  # what it has given to others
    assert "WorkerLostError: item 8 of map: " in done.stderr
    assert "SCOOP_HPC_KEYS" not in done.stderr


@pytest.mark.parametrize("words", [(), ("--log-level", "warning")], ids=["none", "warning"])
def test_who_does_not_ask_for_the_course_of_a_run_does_not_see_it(runs: Runs, words: tuple[str, ...]) -> None:
    done = runs.run("-n", "2", *words, runs.write(PROGRAM))
    (line,) = without_warnings(done.stderr).splitlines()
    assert line.endswith(" said")


def test_log_file_that_is_not_a_file_any_more_does_not_end_the_run(runs: Runs) -> None:
    done = runs.run("-n", "3", "--log-file", "/dev/full", runs.write(PROGRAM))
    assert (done.stdout, done.returncode) == ("190\n", 0)
    assert without_warnings(done.stderr) == (
        "scoop-hpc: warning: cannot write the log '/dev/full': No space left on device\n"
    )
    assert os.listdir(runs.temporary) == []
