"""The cluster as a test sees it: a directory of the test's own, commands on hosts, and what is left of them."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from minicluster.cluster import Cluster
from minicluster.namespaces import Process, start_time
from minicluster.shell import environment
from minicluster.state import HEAD

ROOT = Path(__file__).parents[2]
_EIGHT_WORKERS = ("submit", "--nodes", "4", "--workers-per-node", "2", "--walltime", "10")
SUBMIT = (*_EIGHT_WORKERS, "--queue", "short")
SUBMIT_TO = {"slurm": SUBMIT, "sge": _EIGHT_WORKERS}

# options of a job that the loss of any node ends
FAIL = ("--on-node-loss", "fail")

# a task on every worker, which is there to stay
HOLD = """
import pathlib, socket, time
from scoop_hpc import futures

def hold(i):
    pathlib.Path(f"held.{i}.{socket.gethostname()}").touch()
    time.sleep(300)

if __name__ == "__main__":
    list(futures.map(hold, range(8), chunksize=1))
"""


# nested tasks, each of which notes that it has begun
NESTED = """
import os, socket, time
from scoop_hpc import futures

def leaf(n):
    with open(f"leaf-{n}.{socket.gethostname()}", "a") as file:
        file.write("x")
    while not os.path.exists("go"):
        time.sleep(0.01)
    return n

def branch(n):
    return sum(leaf.result() for leaf in [futures.submit(leaf, 4 * n + k) for k in range(4)])

if __name__ == "__main__":
    print("sum", sum(futures.map(branch, range(40))) == sum(range(160)))
"""


def without_delays(text: str) -> str:
    """Leave out what a job says when it takes long, as any does on a loaded machine: who is late, and its progress."""
    return re.sub("^scoop-hpc: ((?:warning: )?waiting for|progress:) .*\n", "", text, flags=re.MULTILINE)


def age(process: Process) -> tuple[float, int]:
    """Return what orders processes as they were started: what an agent has just forked looks like the agent itself."""
    return start_time(process.outer_pid) or math.inf, process.outer_pid


def signal_if_there(outer_pid: int, number: int) -> None:
    """Send a signal to a process, unless it has ended."""
    with suppress(ProcessLookupError):
        os.kill(outer_pid, number)


def shared_below_tmp() -> tuple[str, ...]:
    """Return the directories below /tmp that this interpreter and the package come from: the nodes have to see them."""
    return tuple(sorted(path for path in {str(ROOT), sys.prefix, sys.base_prefix} if path.startswith("/tmp/")))


@dataclass(frozen=True)
class Job:
    """A command that goes on, on a host."""

    popen: subprocess.Popen[str]

    def finish(self, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Wait for its end; return what it printed."""
        stdout, stderr = self.popen.communicate(timeout=timeout)
        return subprocess.CompletedProcess(self.popen.args, self.popen.returncode, stdout, stderr)


class ClusterUnderTest:
    """The cluster, with what tests ask of it. *directory* is seen by all hosts, and of this test alone."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.machine = cluster
        self.directory = directory
        self.nodes = cluster.nodes
        # an editable install is not to be had by every way of running the tests: the checkout is named
        self.environ = {"SCOOP_HPC_STATE": str(directory / "state"), "PYTHONPATH": str(ROOT)}

    def run(
        self,
        host: str,
        argv: list[str],
        *,
        user: str | None = None,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run *argv* on *host* to its end; its stdin is empty."""
        environ = {**self.environ, **(env or {})}
        where = str(cwd or self.directory)
        return self.machine.run(host, argv, user=user, cwd=where, env=environ, timeout=timeout)

    def check(self, host: str, argv: list[str], timeout: float = 120) -> str:
        """Run *argv* on *host*; return its stdout, and fail with its stderr where its status is not 0."""
        done = self.run(host, argv, timeout=timeout)
        assert done.returncode == 0, f"{argv!r} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def scoop_hpc(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run ``scoop-hpc WORDS`` on the login node; what it says of delays is left out of both streams."""
        done = self.run(HEAD, [sys.executable, "-m", "scoop_hpc", *words], timeout=timeout)
        done.stdout, done.stderr = without_delays(done.stdout), without_delays(done.stderr)
        return done

    def write(self, text: str, name: str = "program.py") -> Path:
        """Write a program where all nodes see it."""
        path = self.directory / name
        path.write_text(text)
        return path

    def submit_held(self, *options: str) -> str:
        """Submit a job that does not end; return its id once all its tasks have begun, on every node."""
        words = SUBMIT_TO[self.machine.state.settings.scheduler]
        done = self.scoop_hpc(*words, *options, "--parsable", "--output=job.out", str(self.write(HOLD)))
        assert done.returncode == 0, done.stderr
        self.wait_until_held()
        return done.stdout.strip()

    def wait_until_held(self) -> None:
        """Wait until all tasks of `HOLD` have begun, and so every worker is there."""

        def held() -> bool:
            suffixes = [path.suffix[1:] for path in self.directory.glob("held.*")]
            return len(suffixes) == 8 and set(suffixes) == set(self.nodes)

        self.wait_until(held, 90, "every node has its tasks")

    def kill_a_worker(self, node: str) -> None:
        """Kill a worker on *node* once tasks of `NESTED` have begun there, and wait until another is in its place."""
        self.wait_until(lambda: any(self.directory.glob(f"leaf-*.{node}")), 60, "tasks have begun")
        workers = {each.outer_pid for each in self.processes(node) if each.title == "scoop-worker"}
        victim = min(workers)
        os.kill(victim, signal.SIGKILL)

        def replaced() -> bool:
            now = {each.outer_pid for each in self.processes(node) if each.title == "scoop-worker"}
            return victim not in now and len(now) == len(workers)

        self.wait_until(replaced, 60, "another worker is there")

    def output(self, name: str = "job.out") -> str:
        """Return what a job has printed into the file *name*, but for what it says of delays."""
        return without_delays((self.directory / name).read_text())

    def status(self, job: str) -> dict[str, object]:
        """Return the one job that ``status --json`` tells of."""
        done = self.scoop_hpc("status", "--json", job)
        assert done.returncode == 0, done.stderr
        (answer,) = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    @contextmanager
    def started(self, host: str, argv: list[str]) -> Iterator[Job]:
        """Start *argv* on *host*; it is killed at the end if it is still there."""
        popen = subprocess.Popen(
            self.machine.enter_argv(host, argv, str(self.directory)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(self.environ),
        )
        try:
            yield Job(popen)
        finally:
            popen.kill()
            popen.communicate()

    def processes(self, host: str) -> list[Process]:
        """Return what runs on *host* besides the simulation and the scheduler's daemons."""
        return self.machine.processes(host)

    def all_processes(self) -> list[tuple[str, Process]]:
        """Return what runs on any host, with the host's name."""
        return [(host, process) for host in self.machine.state.hosts for process in self.processes(host)]

    def leftovers(self) -> list[str]:
        """Return the files that lie in the hosts' own /tmp and /dev/shm."""
        return [
            f"{host}:{directory}/{name}"
            for host in self.machine.state.hosts
            for directory in ("/tmp", "/dev/shm")
            for name in self.machine.files(host, directory)
        ]

    def remove_leftovers(self) -> None:
        """Remove those files: tests share the hosts, and want nothing there that is not their own."""
        for each in self.leftovers():
            host, _, path = each.partition(":")
            self.machine.run(host, ["rm", "-rf", path])

    def wait_until(self, condition: Callable[[], object], timeout: float, message: str) -> float:
        """Wait for *condition*; return the seconds that it took, and fail with *message* when it does not come."""
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > timeout:
                pytest.fail(f"not within {timeout:g} s: {message}")
            time.sleep(0.05)
        return time.monotonic() - start

    def wait_until_clean(self, timeout: float = 90) -> float:
        """Wait until no process and no file of a run is left on any host; fail naming them."""
        start = time.monotonic()
        while time.monotonic() - start < timeout:
            if not self.all_processes() and not self.leftovers():
                return time.monotonic() - start
            time.sleep(0.05)
        pytest.fail(f"left after {timeout:g} s: {self.all_processes()!r} {self.leftovers()!r}")
