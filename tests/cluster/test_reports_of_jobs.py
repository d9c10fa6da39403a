"""What jobs on real clusters were worth: reports, comparisons, failed tasks, what workers printed, and metrics."""

from __future__ import annotations

import json
from typing import Any

import pytest
from under_test import SUBMIT_TO, ClusterUnderTest

PROGRAM = """
import time
from scoop_hpc import futures

def simulate(number):
    time.sleep(0.1)
    print("simulating", number)
    if number % 10 == 3:
        raise ValueError(f"cannot simulate {number}")
    return number

if __name__ == "__main__":
    tasks = [futures.submit(simulate, number) for number in range(80)]
    print(sum(1 for task in tasks if task.exception() is not None), "failed")
"""
EXTRA = ("--worker-logs", "logs-{job_id}", "--metrics", "run-{job_id}.prom", "--output", "job-{job_id}.out")


def told(under_test: ClusterUnderTest, *words: str) -> str:
    """Return what ``scoop-hpc WORDS`` prints."""
    done = under_test.scoop_hpc(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def submitted(under_test: ClusterUnderTest, *words: str) -> str:
    """Run the program as a job to its end; return the job's id."""
    program = str(under_test.write(PROGRAM))
    job = told(under_test, *words, *EXTRA, "--parsable", program).strip()
    told(under_test, "wait", job)
    return job


def check_report(under_test: ClusterUnderTest, job: str, nodes: int, workers: int) -> None:
    found: dict[str, Any] = json.loads(told(under_test, "report", "--json", job))
    assert (found["job"], found["state"], found["status"]) == (job, "COMPLETED", 0)
    totals = found["totals"]
    assert (totals["done"], totals["failed"], totals["workers"], totals["nodes"]) == (80, 8, workers, nodes)
    (function,) = found["functions"]
    assert (function["name"], function["count"], function["failed"]) == ("simulate", 80, 8)
    assert 8 <= function["total_s"] <= workers * found["elapsed_s"]
    assert len({worker["node"] for worker in found["workers"] if worker["own_s"]}) == nodes
    page = told(under_test, "report", job)
    assert f"{workers} workers on {nodes} node" in page
    assert f"8 tasks failed, in simulate(): scoop-hpc logs {job} --failed" in page


def check_failures(under_test: ClusterUnderTest, job: str) -> None:
    failed = told(under_test, "logs", job, "--failed")
    assert sorted(line.partition(":")[0] for line in failed.splitlines() if line.startswith("simulate(")) == sorted(
        f"simulate({number})" for number in range(3, 80, 10)
    )
    assert all(f"ValueError: cannot simulate {number}" in failed for number in range(3, 80, 10))
    assert told(under_test, "logs", job).endswith("8 failed\n")


def check_files(under_test: ClusterUnderTest, job: str, workers: int) -> None:
    logs = [path.read_text() for path in (under_test.directory / f"logs-{job}").iterdir()]
    assert 1 <= len(logs) <= workers
    assert sorted(line for text in logs for line in text.splitlines()) == sorted(f"simulating {n}" for n in range(80))
    metrics = (under_test.directory / f"run-{job}.prom").read_text()
    assert 'scoop_hpc_tasks_failed_total{function="simulate"} 8.0' in metrics


def test_reports_of_two_jobs_on_slurm_are_compared(cluster: ClusterUnderTest) -> None:
    whole = submitted(cluster, *SUBMIT_TO["slurm"])
    check_report(cluster, whole, nodes=4, workers=8)
    check_failures(cluster, whole)
    check_files(cluster, whole, workers=8)
    small = submitted(cluster, "submit", "--nodes", "1", "--workers-per-node", "2", "--walltime", "10")
    check_report(cluster, small, nodes=1, workers=2)
    compared = told(cluster, "report", small, whole)
    assert "with 8 workers instead of 2: efficiency " in compared
    assert "numbers of tasks differ" not in compared
    told(cluster, "report", "--html", "page.html", small, whole)
    assert (cluster.directory / "page.html").read_text().count("<svg") > 2


def test_report_of_a_job_on_grid_engine(grid: ClusterUnderTest) -> None:
    job = submitted(grid, *SUBMIT_TO["sge"])
    check_report(grid, job, nodes=4, workers=8)
    check_failures(grid, job)
    check_files(grid, job, workers=8)


@pytest.mark.parametrize("words", [("report",), ("logs", "--failed")])
def test_report_of_an_array_is_asked_for_by_job(cluster: ClusterUnderTest, words: tuple[str, ...]) -> None:
    output = ("--output", "{array_index}.out", "--nodes", "1", "--walltime", "10")
    program = str(cluster.write(PROGRAM))
    job = told(cluster, "submit", "--parsable", "--array", "1-2", *output, program).strip()
    told(cluster, "wait", job)
    assert "simulate" in told(cluster, *words, f"{job}_2")
    refused = cluster.scoop_hpc(*words, job)
    assert refused.returncode == 2
    assert f"is an array: name one of its jobs, such as '{job}_1'" in refused.stderr
