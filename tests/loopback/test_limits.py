"""Runs where the system grants too few processes or open files: one line, a status, nothing left."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from conftest import Runs, members, until

from scoop_hpc.errors import LaunchError
from scoop_hpc.transport import limits

PROGRAM = """
from scoop_hpc import futures

if __name__ == "__main__":
    print(sum(futures.map(abs, range(10))))
"""
# what the system does at its limit, played because root has no such limit
AT_LIMIT = {
    "driver": "import os, sys, threading\n"
    "if sys.argv[0] == '-m':\n"
    "    start = threading.Thread.start\n"
    "    def refuse(self):\n"
    '        if threading.active_count() > 5: raise RuntimeError("can\'t start new thread")\n'
    "        start(self)\n"
    "    threading.Thread.start = refuse\n",
    "agent": "import os\n"
    "fork = os.fork\n"
    "def refuse():\n"
    "    if open('/proc/self/comm').read() == 'scoop-agent\\n':\n"
    "        raise BlockingIOError(11, 'Resource temporarily unavailable')\n"
    "    return fork()\n"
    "os.fork = refuse\n",
}


@pytest.mark.parametrize(
    ("who", "said"),
    [
        ("driver", "17 more processes and threads are needed, the system grants 6 (ulimit -u, "),
        ("agent", "cannot start scoop-broker 0: Resource temporarily unavailable"),
    ],
)
def test_too_few_processes_are_one_line(runs: Runs, who: str, said: str) -> None:
    (runs.directory / "site").mkdir()
    runs.write(AT_LIMIT[who], "site/sitecustomize.py")
    runs.environ["PYTHONPATH"] = str(runs.directory / "site")
    see_refusal(runs, said)


@pytest.mark.parametrize("files", [12, 16, 20, 24])
def test_too_few_open_files_are_one_line(runs: Runs, files: int) -> None:
    runs.before = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    see_refusal(runs, "more open files are needed, the system grants ")


def test_directory_for_sockets_that_cannot_be_made_is_one_line(runs: Runs) -> None:
    runs.environ["TMPDIR"] = "/proc"
    see_refusal(runs, "cannot make a directory in '/proc': No such file or directory; set TMPDIR")


def see_refusal(runs: Runs, said: str) -> None:
    process = runs.start("-n", "2", runs.write(PROGRAM))
    stdout, stderr = process.communicate(timeout=120)
    (line,) = stderr.splitlines()
    assert line.startswith("scoop-hpc: error: ")
    assert said in line
    assert (process.returncode, stdout) == (2, "")
    until(lambda: not members(process.pid))
    assert not list(runs.temporary.iterdir())


def test_what_is_tried_is_given_back() -> None:
    before = sorted(path.name for path in Path("/proc/self/fd").iterdir()), threading_count()
    limits.check_files(20, "none")
    limits.check_processes(20, "none")
    with pytest.raises(LaunchError, match=r"the system grants \d+ \(ulimit -n\): ask for less"):
        limits.check_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0], "ask for less")
    assert (sorted(path.name for path in Path("/proc/self/fd").iterdir()), threading_count()) == before


def test_more_processes_than_the_machine_can_have_are_refused_by_number() -> None:
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    with pytest.raises(LaunchError, match=r"the system has \d+ in all \(kernel\.(pid_max|threads-max)\): ask for less"):
        limits.check_processes(most + 1, "ask for less")


def threading_count() -> int:
    return len(list(Path("/proc/self/task").iterdir()))
