"""`scoop-hpc bench` here and by a job: its rows have figures, and what cannot be measured says why."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from conftest import Runs

HERE = ["map", "submit", "latency", "echo"]
BETWEEN = ["latency-nodes", "echo-nodes"]


def bench(runs: Runs, *words: str, status: int = 0) -> dict[str, Any]:
    done = runs.run("--quick", "--repeat", "1", "--json", *words, command=("bench",))
    assert done.returncode == status, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def figures(told: dict[str, Any]) -> dict[str, float]:
    assert not [row["failure"] for row in told["rows"] if row["failure"]], told
    return {row["row"]: row["values"][0] for row in told["rows"]}


def test_this_machine_is_measured_by_the_rows_of_the_benchmarks(runs: Runs) -> None:
    told = bench(runs, "--workers-per-node", "2")
    assert (told["nodes"], told["workers"]) == (1, 2)
    assert list(figures(told)) == HERE
    assert all(value > 0 for value in figures(told).values())
    assert 0 < told["start"] < 60
    assert os.listdir(runs.temporary) == []


def test_what_goes_between_nodes_is_measured_by_a_job_that_leaves_nothing(runs: Runs) -> None:
    told = bench(runs, "--nodes", "2", "--workers-per-node", "2", "--scheduler", "local")
    assert (told["nodes"], told["workers"]) == (2, 4)
    assert list(figures(told)) == HERE + BETWEEN
    assert 0 < told["start"] < 60
    assert os.listdir(runs.directory / ".state" / "bench") == []


def test_table_says_that_a_trial_is_no_measurement(runs: Runs) -> None:
    done = runs.run("--quick", "--repeat", "2", "--workers-per-node", "2", command=("bench",))
    first, *lines, last = done.stdout.splitlines()
    assert (done.returncode, first, last) == (0, "1 node, 2 workers", "quick sizes: no measurement")
    assert [line.split()[0] for line in lines] == ["start", *HERE]
    assert " tasks/s " in lines[1]
    assert " to " in lines[1]


def test_row_that_needs_what_is_not_here_says_so_and_others_are_measured(runs: Runs) -> None:
    (runs.directory / "lib").mkdir()
    runs.write("raise ImportError('no numpy here')", "lib/numpy.py")
    runs.environ["PYTHONPATH"] = str(runs.directory / "lib")
    told = bench(runs, "--workers-per-node", "2", status=1)
    failures = {row["row"]: row["failure"] for row in told["rows"]}
    assert failures == {"map": "", "submit": "", "latency": "", "echo": "ImportError: no numpy here"}


def test_rows_that_one_worker_cannot_measure_say_so(runs: Runs) -> None:
    told = bench(runs, "--workers-per-node", "1", status=1)
    failures = {row["row"]: row["failure"] for row in told["rows"]}
    alone = "one worker alone runs all tasks itself: give --workers-per-node 2"
    assert failures == {"map": "", "submit": "", "latency": alone, "echo": alone}


def test_a_job_that_fails_is_one_line_with_where_its_output_is(runs: Runs) -> None:
    done = runs.run("--nodes", "2", "--scheduler", "local", "--prologue", "exit 3", command=("bench",))
    assert (done.returncode, done.stdout) == (1, "")
    *_, last = done.stderr.splitlines()
    assert "ended FAILED" in last
    assert "see what it printed, in '" in last


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--timeout", "5"), "--timeout is for the job of --nodes: give both, or none"),
        (("--repeat", "0"), "Invalid value for '--repeat': '0': give a whole number from 1 to 100"),
        (("--nodes", "2", "--array", "1-2"), "--array is an option of submit, and not of bench: leave it out"),
        (("--nodes", "0"), "--nodes"),
        (("-m", "no_such"), "cannot find the module 'no_such'"),
    ],
)
def test_bad_options_are_one_line_and_status_2(runs: Runs, words: tuple[str, ...], complaint: str) -> None:
    done = runs.run(*words, command=("bench",))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert complaint in done.stderr
