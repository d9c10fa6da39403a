"""Runs that are watched: a bar in a terminal, as an emulator shows it; lines in a log; a trace."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Runs, until, without_warnings
from terminal import Terminal

PROGRAM = """
import os, sys, time
from scoop_hpc import futures

def work(number):
    while number >= 100 and not os.path.exists("go"):
        time.sleep(0.01)
    return number

def fail(number):
    raise KeyError(number)

if __name__ == "__main__":
    size = os.get_terminal_size(1) if sys.stdout.isatty() else ""
    print("a terminal:", sys.stdout.isatty(), sys.stderr.isatty(), size)
    for number in futures.map(work, range(400), chunksize=1, progress="working"):
        if number % 50 == 0:
            print("result", number)
    print(input("your name? ") if "ask" in sys.argv else "")
    print("the end", file=sys.stderr)
"""


@pytest.fixture
def start(runs: Runs) -> Iterator[Callable[..., Terminal]]:
    """Start a run of PROGRAM in a terminal."""
    started: list[Terminal] = []

    def start(*words: str, **options: Any) -> Terminal:
        started.append(Terminal(runs, *words, **options))
        return started[-1]

    runs.write(PROGRAM)
    yield start
    for terminal in started:
        terminal.close()


RESULTS = ["result 0", "result 50", "result 100", "result 150", "result 200", "result 250", "result 300", "result 350"]


def has_bar(lines: list[str]) -> bool:
    return any("━" in line for line in lines)


def test_output_scrolls_above_a_bar_that_is_gone_in_the_end(runs: Runs, start: Callable[..., Terminal]) -> None:
    terminal = start("-n", "3", "program.py")
    held = "3 running, 297 queued; 3 of 3 workers busy"
    lines = terminal.shows(lambda lines: any("100/400 25%" in line for line in lines) and lines[-1] == held)
    assert lines[-2].startswith("working ━")
    (runs.directory / "go").touch()
    size = "os.terminal_size(columns=80, lines=24)"
    assert terminal.end() == [f"a terminal: True True {size}", *RESULTS, "", "the end"]
    assert terminal.process.returncode == 0
    assert terminal.screen.cursor.x == 0


def test_question_of_the_program_is_seen_and_answered(runs: Runs, start: Callable[..., Terminal]) -> None:
    terminal = start("-n", "2", "program.py", "ask")
    terminal.shows(has_bar)
    (runs.directory / "go").touch()
    terminal.shows(lambda lines: lines and lines[-1] == "your name?")
    terminal.type(b"Ada\n")
    assert terminal.end()[-3:] == ["your name? Ada", "Ada", "the end"]


def test_terminal_of_the_program_follows_the_real_one(runs: Runs, start: Callable[..., Terminal]) -> None:
    runs.write(
        "import os, time\n"
        "if __name__ == '__main__':\n"
        "    while os.get_terminal_size().columns != 60: time.sleep(0.01)\n"
        "    print('seen')\n",
        "size.py",
    )
    terminal = start("-n", "2", "size.py")
    terminal.resize(24, 60)
    assert terminal.end() == ["seen"]


JOB = ("--wait", "--scheduler", "local", "--nodes", "1", "--workers-per-node", "2", "program.py")


def test_what_a_job_prints_scrolls_above_a_bar_too(runs: Runs, start: Callable[..., Terminal]) -> None:
    terminal = start(*JOB, command="submit")
    lines = terminal.shows(lambda lines: any("100/400 25%" in line for line in lines))
    assert lines[-2].startswith("working ━")
    assert lines[-1] == "2 running, 298 queued; 2 of 2 workers busy"
    (runs.directory / "go").touch()
    submitted, *printed = terminal.end()
    assert submitted.startswith("Submitted job local-1 to local")
    assert [line for line in printed if line.startswith("result")] == RESULTS
    assert "the end" in printed
    assert not has_bar(printed)
    assert terminal.screen.cursor.x == 0


def test_ctrl_c_leaves_a_job_that_goes_on_and_no_bar(runs: Runs, start: Callable[..., Terminal]) -> None:
    terminal = start(*JOB, command="submit")
    terminal.shows(has_bar)
    terminal.type(b"\x03")
    lines = terminal.end()
    assert terminal.process.returncode == 130
    assert not has_bar(lines)
    assert lines[-1] == "scoop-hpc: job local-1 goes on; scoop-hpc cancel local-1 ends it"
    (runs.directory / "go").touch()
    assert runs.run("local-1", command=("wait",)).returncode == 0


def test_job_has_no_bar_where_none_is_wanted_or_can_be(runs: Runs, start: Callable[..., Terminal]) -> None:
    (runs.directory / "go").touch()
    for words, term in ((("--progress", "none"), "xterm"), ((), "dumb")):
        terminal = start(*words, *JOB, command="submit", term=term)
        assert "the end" in terminal.end()
        assert "━".encode() not in terminal.raw


def test_bar_follows_the_size_of_its_terminal(runs: Runs, start: Callable[..., Terminal]) -> None:
    terminal = start("-n", "2", "program.py")
    terminal.shows(lambda lines: any("100/400" in line for line in lines))
    terminal.resize(24, 60)
    terminal.shows(lambda lines: any(50 < len(line) < 60 and "100/400" in line for line in lines))
    (runs.directory / "go").touch()
    assert terminal.end()[-1] == "the end"


def test_ctrl_c_leaves_a_clean_line(runs: Runs, start: Callable[..., Terminal]) -> None:
    terminal = start("-n", "2", "program.py")
    terminal.shows(has_bar)
    terminal.type(b"\x03")
    lines = terminal.end()
    assert terminal.process.returncode == 130
    assert not has_bar(lines)
    assert not any("busy" in line for line in lines)
    assert terminal.screen.cursor.x == 0


def test_killed_driver_leaves_no_processes_and_no_mode_of_the_terminal(start: Callable[..., Terminal]) -> None:
    terminal = start("-n", "2", "program.py")
    terminal.shows(has_bar)
    terminal.process.kill()
    terminal.process.wait()
    until(lambda: terminal.look() is not None and b"\x1b[?25l" not in terminal.raw)  # the cursor is not hidden


def test_warning_of_ours_is_above_the_bar(runs: Runs, start: Callable[..., Terminal]) -> None:
    runs.write(
        "import os, signal, time\n"
        "from scoop_hpc import futures\n"
        "def work(number):\n"
        "    if number == 100 and not os.path.exists('died'):\n"
        "        open('died', 'w').close()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    while number > 100 and not os.path.exists('go'): time.sleep(0.01)\n"
        "if __name__ == '__main__':\n"
        "    list(futures.map(work, range(200), chunksize=1))\n",
        "dying.py",
    )
    terminal = start("-n", "2", "dying.py")
    replaced = "another takes its place"
    lines = terminal.shows(lambda lines: any(replaced in line for line in lines) and "busy" in lines[-1])
    assert has_bar(lines)
    assert sum("busy" in line for line in lines) == 1
    (runs.directory / "go").touch()
    assert not has_bar(terminal.end())


def test_dumb_terminal_gets_no_escape_codes(runs: Runs, start: Callable[..., Terminal]) -> None:
    (runs.directory / "go").touch()
    terminal = start("-n", "2", "program.py", term="dumb")
    assert terminal.end()[-1] == "the end"
    assert b"\x1b" not in terminal.raw


def test_output_that_is_redirected_has_no_bar_in_it(runs: Runs, start: Callable[..., Terminal]) -> None:
    with open(runs.directory / "out", "wb") as file:
        terminal = start("-n", "2", "program.py", stdout=file.fileno())
    terminal.shows(has_bar)
    (runs.directory / "go").touch()
    assert terminal.end() == ["the end"]
    assert (runs.directory / "out").read_text().splitlines() == ["a terminal: False True ", *RESULTS, ""]


def test_no_bar_where_none_is_wanted(runs: Runs, start: Callable[..., Terminal]) -> None:
    (runs.directory / "go").touch()
    terminal = start("-n", "2", "--progress", "none", "program.py")
    terminal.end()
    assert b"\x1b" not in terminal.raw
    assert terminal.process.returncode == 0


def test_bar_is_refused_where_there_is_no_terminal(runs: Runs) -> None:
    done = runs.run("--progress", "bar", runs.write(PROGRAM))
    assert done.returncode == 2
    assert "--progress bar: the standard error is no terminal" in done.stderr


def test_log_has_a_line_after_a_while_and_one_at_the_end(runs: Runs) -> None:
    process = runs.start("-n", "2", "--progress", "log", runs.write(PROGRAM))
    assert process.stderr is not None
    wanted = "scoop-hpc: progress: working: 100 of 400 done (25 %)"
    assert any(line.startswith(wanted) for line in process.stderr)  # on a loaded machine not the first
    (runs.directory / "go").touch()
    _, stderr = process.communicate(timeout=120)
    last = [line for line in stderr.splitlines() if "progress" in line]
    assert len(last) <= 1
    assert all("working: 400 of 400 done (100 %)" in line for line in last)


def test_ten_thousand_tasks_that_fail_flood_nothing(runs: Runs, start: Callable[..., Terminal]) -> None:
    runs.write(
        "from scoop_hpc import futures\n"
        "def fail(number):\n"
        "    raise KeyError(number)\n"
        "if __name__ == '__main__':\n"
        "    calls = [futures.submit(fail, number) for number in range(10_000)]\n"
        "    print(sum(isinstance(call.exception(), KeyError) for call in calls))\n",
        "failing.py",
    )
    terminal = start("-n", "2", "failing.py")
    assert terminal.end() == ["10000"]
    assert len(terminal.raw) < 200_000


def test_bar_of_tqdm_knows_the_length(runs: Runs) -> None:
    program = (
        "from scoop_hpc import futures\n"
        "from tqdm import tqdm\n"
        "if __name__ == '__main__':\n"
        "    for items in ([1, -2], range(1000)):\n"
        "        bar = tqdm(futures.map(abs, items))\n"
        "        print(bar.total, sum(bar))\n"
        "    print(tqdm(futures.map(abs, iter([1]))).total)\n"
    )
    done = runs.run("-n", "2", runs.write(program))
    assert done.stdout == "2 3\n1000 499500\nNone\n"
    assert "100%" in done.stderr


# a trace

TREE = """
import os, signal, time
from scoop_hpc import futures

def leaf(number):
    time.sleep(0.005)
    if number == 7 and not os.path.exists("died"):
        open("died", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return number

def branch(number):
    return sum(call.result() for call in [futures.submit(leaf, number) for _ in range(5)])

if __name__ == "__main__":
    print(sum(call.result() for call in [futures.submit(branch, number) for number in range(20)]))
    print(sum(futures.map(leaf, range(100, 200))))
"""


def trace_of(runs: Runs, path: str = "trace.json") -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads((runs.directory / path).read_text())
    return events


def test_trace_has_every_task_on_the_track_of_its_worker(runs: Runs) -> None:
    done = runs.run("-n", "3", "--trace", "trace.json", runs.write(TREE))
    assert (done.stdout, done.returncode) == ("950\n14950\n", 0)
    events = trace_of(runs)
    tracks = {
        (event["pid"], event["tid"]): event["args"]["name"] for event in events if event.get("name") == "thread_name"
    }
    assert "worker 0.0: the program" in tracks.values()
    assert {"worker 0.1", "worker 0.2", "worker 0.3"} < set(tracks.values())
    slices = [event for event in events if event["ph"] == "X"]
    assert {event["name"] for event in slices} == {"leaf", "branch"}
    ended = [event for event in slices if "goes on" not in event["args"]]
    leaves = sum(event["args"]["calls"] for event in ended if event["name"] == "leaf")
    # what the worker that died had not written yet is lost with it; what it had not sent yet is executed again
    assert 180 <= leaves <= 220
    assert all(event["dur"] >= 0 and event["ts"] > 0 for event in slices)
    assert any("died" in event["name"] for event in events if event["ph"] == "i")
    assert any("queued again" in event["name"] for event in events if event["ph"] == "i")
    begun = {event["id"] for event in events if event["ph"] == "s"}
    assert begun & {event["id"] for event in events if event["ph"] == "f"}


def test_slices_of_a_track_are_one_after_the_other_or_one_in_the_other(runs: Runs) -> None:
    runs.run("-n", "3", "--trace", "trace.json", runs.write(TREE))
    by_track: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for event in trace_of(runs):
        if event["ph"] == "X":
            track = by_track.setdefault((event["pid"], event["tid"]), [])
            track.append((event["ts"], -event["dur"]))
    for track in by_track.values():
        open_until: list[float] = []
        for begun, duration in sorted(track):
            while open_until and open_until[-1] <= begun + 1:
                open_until.pop()
            assert not open_until or begun - duration <= open_until[-1] + 1
            open_until.append(begun - duration)


def test_trace_that_cannot_be_written_is_refused_at_once(runs: Runs) -> None:
    done = runs.run("--trace", "nowhere/trace.json", runs.write(TREE))
    assert (done.returncode, done.stderr) == (
        2,
        "scoop-hpc: error: cannot write the trace 'nowhere/trace.json': No such file or directory\n",
    )


def test_trace_of_a_run_that_fails_is_whole(runs: Runs) -> None:
    program = "import sys\nif __name__ == '__main__':\n    sys.exit('no')\n"
    done = runs.run("-n", "2", "--trace", "trace-{job_id}.json", runs.write(program))
    assert (done.returncode, without_warnings(done.stderr)) == (1, "no\n")
    assert trace_of(runs, "trace-.json")[-1]["name"] == "the end"


def test_trace_of_several_nodes_has_their_tracks_and_steals(runs: Runs) -> None:
    runs.environ.update(SCOOP_HPC_LOCAL_JOB_ID="local-9", SCOOP_HPC_LOCAL_NODES="a:2,b:2")
    program = (
        "import time\n"
        "from scoop_hpc import futures\n"
        "def work(number):\n"
        "    time.sleep(0.01)\n"
        "if __name__ == '__main__':\n"
        "    futures.wait([futures.submit(work, number) for number in range(200)])\n"
    )
    done = runs.run("--trace", "trace.json", runs.write(program))
    assert done.returncode == 0, done.stderr
    events = trace_of(runs)
    names = {event["args"]["name"] for event in events if event["ph"] == "M"}
    assert {"driver", "node 0: a", "node 1: b", "broker 0", "broker 1", "worker 1.1"} <= names
    stolen = [event["name"] for event in events if event.get("cat") == "steal"]
    assert any(name.startswith("broker 1 stole") for name in stolen)
    assert sum(event["ph"] == "X" for event in events) == 200


def test_job_says_its_progress_in_its_log(runs: Runs) -> None:
    runs.environ.update(SCOOP_HPC_LOCAL_JOB_ID="local-9", SCOOP_HPC_LOCAL_NODES="a:1,b:1")
    process = runs.start(runs.write(PROGRAM))
    assert process.stderr is not None
    progress = (line for line in process.stderr if line.startswith("scoop-hpc: progress: "))
    assert any("2 of 2 workers busy" in line for line in progress)
    (runs.directory / "go").touch()
    process.communicate(timeout=120)
    assert process.returncode == 0
