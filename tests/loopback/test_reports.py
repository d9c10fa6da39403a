"""What runs on this machine leave for reports, metrics and logs."""

from __future__ import annotations

import json
import os
import socket
import urllib.request
from typing import Any

import pytest
from conftest import MEET, Runs, until, without_warnings

PROGRAM = """
import os, signal, sys, time
from scoop_hpc import futures

def simulate(number):
    if number == 13:
        raise ValueError(f"cannot simulate {number}")
    return number

def outer(number):
    time.sleep(0.01)
    return futures.submit(inner, number).result()

def inner(number):
    time.sleep(0.2)

def fatal(number):
    time.sleep(0.002)  # for so long that none is run beside the program
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)

@futures.task(retries=2)
def shaky(path):
    with open(path, "x"):
        pass
    raise OSError("not yet")

if __name__ == "__main__":
    for what in sys.argv[1:]:
        try:
            print(eval(what))
        except Exception as error:
            print(type(error).__name__)
"""


def report(runs: Runs, *words: str) -> dict[str, Any]:
    """Run the program, which does what *words* say; return its report."""
    done = runs.run("-n", "2", "--report", "report.json", runs.write(PROGRAM), *words)
    assert done.returncode == 0, done.stderr
    assert "farewell" not in done.stderr, done.stderr  # then what an agent says last is not in the report
    found: dict[str, Any] = json.loads((runs.directory / "report.json").read_text())
    return found


def functions(found: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Return how often each function was called, and how often it failed."""
    return {each["name"]: (each["count"], each["failed"]) for each in found["functions"]}


def test_each_item_of_a_map_and_each_call_is_counted(runs: Runs) -> None:
    found = report(runs, "sum(futures.map(simulate, [1] * 5000))", "futures.submit(outer, 1).result()")
    assert functions(found) == {"simulate": (5000, 0), "outer": (1, 0), "inner": (1, 0)}
    assert (found["state"], found["status"], found["totals"]["workers"]) == ("COMPLETED", 0, 2)
    assert all(worker["busy_s"] <= found["elapsed_s"] for worker in found["workers"])


def test_task_that_waits_has_only_its_own_time(runs: Runs) -> None:
    found = report(runs, "sum(1 for f in [futures.submit(outer, n) for n in range(10)] if f.result() is None)")
    own = {each["name"]: each["total_s"] for each in found["functions"]}
    assert own["inner"] >= 10 * 0.2
    assert own["outer"] < own["inner"] + 10 * 0.01  # with its waits it would have both


@pytest.mark.parametrize("count", [20, 100])  # single tasks, and chunks
def test_failed_item_is_told_with_its_place_arguments_and_traceback(runs: Runs, count: int) -> None:
    found = report(runs, f"list(futures.map(simulate, range({count})))")
    (failed,) = found["failures"]
    assert (failed["function"], failed["position"], failed["arguments"]) == ("simulate", 14, "13")
    assert (failed["error"], failed["attempt"]) == ("ValueError: cannot simulate 13", 1)
    assert 'raise ValueError(f"cannot simulate {number}")' in failed["traceback"]
    shown = runs.run("report.json", "--failed", command=("logs",))
    where = f"worker {failed['worker']} on {failed['node']}, attempt 1"
    assert shown.stdout.startswith(f"simulate(13): item 14, {where}\n  Traceback")


def test_retries_are_counted_and_the_last_attempt_is_named(runs: Runs) -> None:
    found = report(runs, "futures.submit(shaky, 'there').result()")
    assert (found["functions"][0]["repeated"], found["totals"]["repeated"]) == (2, 2)
    assert [failed["attempt"] for failed in found["failures"]] == [3]


@pytest.mark.parametrize("count", [20, 40])  # single tasks, and chunks
def test_task_that_costs_workers_is_a_failure_and_its_attempts_are_repetitions(runs: Runs, count: int) -> None:
    found = report(runs, "sum(futures.map(simulate, range(5)))", f"list(futures.map(fatal, range({count})))")
    assert functions(found)["simulate"] == (5, 0)  # whoever counted them may be dead
    (failed,) = found["failures"]
    assert (failed["function"], failed["position"], failed["attempt"]) == ("fatal", 14, 3)
    assert failed["arguments"] == "..."  # nobody but the dead has unpacked them
    assert failed["error"].startswith("scoop_hpc.errors.WorkerLostError: item 14 of map: ")
    repeated = {each["name"]: each["repeated"] for each in found["functions"]}
    assert repeated["fatal"] == len(found["lost_workers"]) >= 3  # the chunk that it was in, and its attempts
    assert found["totals"]["repeated"] == sum(repeated.values())


def test_thousands_of_failures_flood_nothing(runs: Runs) -> None:
    words = "sum(1 for f in [futures.submit(simulate, 13) for n in range(10_000)] if f.exception())"
    found = report(runs, words)
    assert functions(found) == {"simulate": (10_000, 10_000)}
    assert 0 < len(found["failures"]) <= 1000
    assert len(found["failures"]) + found["failures_left_out"] == 10_000
    shown = runs.run("report.json", "--failed", command=("logs",))
    assert f"{found['failures_left_out']} more failed tasks are only counted" in shown.stderr
    assert len(runs.run("report.json", command=("report",)).stdout) < 3000


LATE = """
import sys, time

if sys.orig_argv[2:4] == ["scoop_hpc", "run"]:
    from scoop_hpc.run.driver import Driver

    at_once, ended = Driver._serve_agents, []

    def late(driver):
        if driver._state.ending is not None:
            ended.append(time.monotonic())
        if not ended or time.monotonic() > ended[0] + 1:
            at_once(driver)

    Driver._serve_agents = late
"""


def test_driver_that_would_learn_of_an_agents_end_before_it_reads_has_its_last_accounts(runs: Runs) -> None:
    runs.write(LATE, "sitecustomize.py")
    runs.environ["PYTHONPATH"] = os.pathsep.join([str(runs.directory), runs.environ.get("PYTHONPATH", "")])
    found = report(runs, "sum(1 for n in range(100) if futures.submit(simulate, 13).exception())")
    assert functions(found) == {"simulate": (100, 100)}
    assert [node["is_complete"] for node in found["nodes"]] == [True]


def test_report_is_shown_compared_and_drawn(runs: Runs) -> None:
    report(runs, "sum(futures.map(simulate, range(10)))")
    shown = runs.run("report.json", command=("report",))
    assert "2 workers on 1 node for" in shown.stdout
    assert "simulate     10       0" in shown.stdout
    both = runs.run("report.json", "report.json", command=("report",))
    assert "Speed-up 1.00 with 2 workers instead of 2: efficiency 100 %" in both.stdout
    drawn = runs.run("report.json", "--html", "page.html", command=("report",))
    assert (drawn.stdout, drawn.stderr) == ("", "scoop-hpc: wrote page.html\n")
    assert "<svg" in (runs.directory / "page.html").read_text()


def test_a_report_may_have_any_name(runs: Runs) -> None:
    program = runs.write("print('ran')")
    assert runs.run("-n", "1", "--report", "worth", program).returncode == 0
    for name in ("worth", "./worth", str(runs.directory / "worth")):
        shown = runs.run(name, command=("report",))
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "1 worker on 1 node for" in shown.stdout
        failed = runs.run("--failed", name, command=("logs",))
        assert (failed.returncode, failed.stderr) == (0, f"scoop-hpc: no task of {name} has failed\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("report", "program"), "the job 'program' was not submitted from here"),
        (("report", "./program.json/"), "there is no file './program.json/': give a job, or a file that"),
        (("report", "./"), "cannot read the report './': Is a directory: name a file"),
        (("report", "nowhere/report"), "there is no file 'nowhere/report': give a job, or a file that"),
        (("report", "nowhere.json"), "there is no file 'nowhere.json': give a job, or a file that"),
        (("report", "program.json"), "'program.json' is no report of a run"),
        (("report", "program.json", "--html", "x.html", "--json"), "--html and --json exclude each other"),
        (("report", "program.json", "--html", "/nowhere/x"), "'program.json' is no report of a run"),
        (("logs", "program.json", "--failed", "--follow"), "--failed and --follow exclude each other"),
        (("run", "--report", "/nowhere/x", "program.json"), "cannot write the report '/nowhere/x'"),
        (("run", "--metrics", "/nowhere/x", "program.json"), "--metrics '/nowhere/x': cannot write into '/nowhere'"),
        (("run", "--metrics", "0", "program.json"), "--metrics 0: a port is a number from 1 to 65535"),
        (("run", "--worker-logs", "program.json/x", "program.json"), "cannot make the directory 'program.json/x' here"),
    ],
)
def test_bad_input_gets_one_line(runs: Runs, words: tuple[str, ...], complaint: str) -> None:
    runs.write("print()", "program.json")
    done = runs.run(*words[1:], command=words[:1])
    assert done.returncode == 2
    assert done.stderr.startswith(f"scoop-hpc: error: {complaint}")
    assert done.stderr.count("\n") == 1


WAITING = (
    MEET
    + """
from scoop_hpc import futures
import os, time

def work(number):
    print("item", number)
    meet(number, 2)

if __name__ == "__main__":
    list(futures.map(work, range(2)))
    while not os.path.exists("enough"):
        time.sleep(0.01)
"""
)


def test_metrics_are_at_the_port_as_long_as_the_run_goes_on(runs: Runs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = runs.run("-n", "2", "--metrics", str(port), runs.write(WAITING))
        assert f"--metrics 127.0.0.1:{port}: Address already in use; give another port, or a file" in done.stderr
        assert done.returncode == 2
    process = runs.start("-n", "2", "--metrics", str(port), runs.write(WAITING))
    found = ""

    def has_tasks() -> bool:
        nonlocal found
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                found = answer.read().decode()
        except OSError:
            assert process.poll() is None
            return False
        return 'scoop_hpc_task_seconds_count{function="work"} 2.0' in found

    until(has_tasks)
    (runs.directory / "enough").touch()
    _, stderr = process.communicate(timeout=120)
    assert (process.returncode, without_warnings(stderr)) == (0, "")  # and no line for each request
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics")


def test_workers_print_into_files_and_metrics_are_left_in_one(runs: Runs) -> None:
    (runs.directory / "enough").touch()
    done = runs.run("-n", "2", "--worker-logs", "logs", "--metrics", "run.prom", runs.write(WAITING))
    assert (done.stdout, without_warnings(done.stderr), done.returncode) == ("", "", 0)
    logs = {path.name: path.read_text() for path in (runs.directory / "logs").iterdir()}
    assert sorted(logs) == ["worker-0.1.log", "worker-0.2.log"]
    assert sorted(logs.values()) == ["item 0\n", "item 1\n"]
    assert "scoop_hpc_run_exit_status 0.0" in (runs.directory / "run.prom").read_text()


def test_metrics_without_their_library_say_what_to_install(runs: Runs) -> None:
    (runs.directory / "prometheus_client.py").write_text("raise ImportError('not here')")
    runs.environ["PYTHONPATH"] = os.pathsep.join([str(runs.directory), runs.environ.get("PYTHONPATH", "")])
    done = runs.run("--metrics", "run.prom", runs.write(PROGRAM))
    assert done.stderr == "scoop-hpc: error: --metrics needs prometheus-client: pip install scoop_hpc[metrics]\n"
    assert done.returncode == 2
