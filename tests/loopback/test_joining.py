"""Nodes of another allocation join a run, and nodes leave it: two allocations are played by this machine."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time

import pytest
from conftest import Runs, members, shared_memory, until, without_delays

from scoop_hpc.files import private
from scoop_hpc.jobs import look
from scoop_hpc.jobs import runs as run_directories
from scoop_hpc.jobs.snapshot import Snapshot
from scoop_hpc.run import proc

# rounds of tasks until the test has seen enough, each task noting where it ran; and nested tasks
PROGRAM = """
import os, time
from scoop_hpc import futures, worker
from scoop_hpc.executor import Executor

def leaf(n):
    time.sleep(0.01)
    return n

def task(n):
    with open(f"on.{worker.info().node}", "a") as file: file.write(f"{n}\\n")
    return sum(futures.map(leaf, range(n, n + 3)))

if __name__ == "__main__":
    rounds, right, sizes = 0, True, []
    with Executor() as executor:
        while right and not os.path.exists("enough"):
            numbers = range(100 * rounds, 100 * rounds + 100)
            right = list(futures.map(task, numbers, chunksize=1)) == [3 * n + 3 for n in numbers]
            if executor.num_workers not in sizes[-1:]:
                sizes.append(executor.num_workers)
                with open("sizes", "a") as file: file.write(f"{sizes[-1]}\\n")
            rounds += 1
    print(right, rounds)
"""
LONG = """
import os, time
from scoop_hpc import futures, worker

def task(n):
    with open(f"on.{worker.info().node}", "a") as file: file.write(f"{n}\\n")
    while worker.info().node == "c" and not os.path.exists("enough"): time.sleep(0.02)
    return n

if __name__ == "__main__":
    while not os.path.exists("on.c"):
        futures.map(len, [""] * 10)
        time.sleep(0.05)
        print(list(futures.map(task, range(12), chunksize=1)) == list(range(12)), flush=True)
"""


class Allocations:
    """A run in one allocation, on a and b, and what another one does about it."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self.directory = runs.directory
        self._shared_memory = shared_memory()
        self._local("local-1", "a:2,b:2")
        self.driver: subprocess.Popen[str]

    def _local(self, job: str, nodes: str) -> None:
        self.runs.environ.update(SCOOP_HPC_LOCAL_JOB_ID=job, SCOOP_HPC_LOCAL_NODES=nodes)

    def start(self, program: str = PROGRAM, *options: str) -> None:
        """Start a run, and wait until its nodes work, and its first round is over, if it tells."""
        self.driver = self.runs.start(*options, self.runs.write(program))
        until(lambda: (self.ran_on("a") and self.ran_on("b")) or self.driver.poll() is not None)
        until(lambda: program is not PROGRAM or self.sizes() or self.driver.poll() is not None)

    def join(self, nodes: str = "c:2", *options: str) -> subprocess.Popen[str]:
        self._local("local-2", nodes)
        return self.runs.start(*options, "local-1", command=("join",))

    def drain(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.runs.run("local-1", *words, command=("drain",))

    def ran_on(self, node: str) -> bool:
        return (self.directory / f"on.{node}").exists()

    def sizes(self) -> list[str]:
        path = self.directory / "sizes"
        return path.read_text().split() if path.exists() else []

    def ends(self) -> tuple[str, str]:
        """Let the program end; return what the run has printed, after a look at what is left."""
        (self.directory / "enough").touch()
        stdout, stderr = self.driver.communicate(timeout=120)
        assert self.driver.returncode == 0, stderr
        assert members(self.driver.pid) == {}
        assert list(self.runs.temporary.iterdir()) == []
        until(lambda: shared_memory() <= self._shared_memory)
        return stdout, stderr


@pytest.fixture
def two(runs: Runs) -> Allocations:
    return Allocations(runs)


def finished(process: subprocess.Popen[str]) -> str:
    """Wait for a joiner's end; return what it has said."""
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (0, ""), stderr
    assert members(process.pid) == {}
    return without_delays(stderr)


def test_nodes_of_another_allocation_take_part_until_the_run_ends(two: Allocations) -> None:
    two.start()
    joiner = two.join("c:2,a:1")  # a is the name of a machine that takes part already
    until(lambda: two.ran_on("c") and two.ran_on("a+1") and "7" in two.sizes())
    stdout, stderr = two.ends()
    assert stdout.startswith("True ")
    assert "node c takes part from now on, as broker " in stderr
    assert "is lost" not in stderr
    assert "lost:" not in stderr
    assert two.sizes() == ["4", "7"] or two.sizes() == ["4", "6", "7"] or two.sizes() == ["4", "5", "7"]
    assert finished(joiner).splitlines() == [f"scoop-hpc: c,a to join the run on {os.uname().nodename}"]


def test_keys_are_for_this_user_only_and_gone_with_the_run(two: Allocations) -> None:
    two.start()
    (door,) = (two.directory / ".state").glob("runs/*/join.json")
    assert stat.S_IMODE(door.stat().st_mode) == 0o600
    assert json.loads(door.read_text())["addresses"]
    two.ends()
    assert not door.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_nodes_leave_when_their_allocation_ends_and_nothing_is_lost(two: Allocations, number: int) -> None:
    two.start()
    joiner = two.join()
    until(lambda: two.ran_on("c"))
    joiner.send_signal(number)
    assert "leaving the run: SIG" in finished(joiner)
    stdout, stderr = two.ends()
    assert stdout.startswith("True ")
    assert "node c has left: SIG" in stderr
    assert "; 2 of 2 nodes are left" in stderr
    assert "lost" not in stderr


def test_what_a_node_executes_when_it_must_go_is_executed_again_elsewhere(two: Allocations) -> None:
    two.start(LONG)
    joiner = two.join()
    until(lambda: two.ran_on("c"))
    joiner.send_signal(signal.SIGTERM)
    finished(joiner)
    stdout, stderr = two.ends()
    assert set(stdout.split()) == {"True"}
    assert "node c is lost: it had to leave (SIGTERM) while it had tasks to do; 2 of 3 nodes are left" in stderr


def test_killed_joiner_takes_its_nodes_with_it(two: Allocations) -> None:
    two.start()
    joiner = two.join()
    until(lambda: two.ran_on("c"))
    joiner.kill()
    joiner.communicate()
    until(lambda: members(joiner.pid) == {})
    stdout, stderr = two.ends()
    assert stdout.startswith("True ")
    assert "node c has left: SIGTERM" in stderr


def test_drained_node_leaves_and_can_be_one_of_the_run_itself(two: Allocations) -> None:
    two.start()
    drained = two.drain("b")
    assert (drained.returncode, drained.stderr) == (0, "")
    assert drained.stdout == "b leaves the run of job local-1, when what its 2 workers execute has ended\n"
    until(lambda: "2" in two.sizes())
    after = (two.directory / "on.b").read_text()
    stdout, stderr = two.ends()
    assert stdout.startswith("True ")
    assert "node b has left: drained; 1 of 1 nodes is left" in stderr
    assert "lost" not in stderr
    assert (two.directory / "on.b").read_text() == after


def test_node_of_the_program_and_unknown_nodes_do_not_leave(two: Allocations) -> None:
    two.start()
    refused = two.drain("a")
    reason = "its program runs on a, which cannot leave before its end"
    assert refused.stderr == f"scoop-hpc: error: a cannot leave the run of job local-1: {reason}\n"
    assert refused.returncode == 2
    assert two.drain("n7").stderr.endswith("no node 'n7' takes part in it: a,b\n")
    two.ends()
    over = two.drain("b")
    assert (over.returncode, over.stderr.count("\n")) == (2, 1)
    assert over.stderr.startswith("scoop-hpc: error: the run of job local-1 does not go on: it has ended")
    joiner = two.join("c:1", "--patience=100000")
    _, stderr = joiner.communicate(timeout=120)
    assert (joiner.returncode, stderr) == (2, "scoop-hpc: error: cannot join the run of job local-1: it has ended\n")


def test_run_that_was_killed_is_not_waited_for(two: Allocations) -> None:
    two.start()
    two.driver.kill()
    two.driver.communicate()
    for command in (("join", "--patience=100000"), ("drain", "b")):
        done = two.runs.run(*command[1:], command=command[:1])
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"it has ended: the driver (pid {two.driver.pid}) has died" in done.stderr
    (door,) = (two.directory / ".state").glob("runs/*/join.json")
    for name in [name for name in two.runs.environ if name.startswith("SCOOP_HPC_LOCAL_")]:
        del two.runs.environ[name]
    assert two.runs.run("-n", "1", two.runs.write("print()", "other.py")).returncode == 0
    assert not door.exists()


def test_newest_run_that_has_ended_is_refused_at_once(runs: Runs) -> None:
    assert runs.run("-n", "2", runs.write("raise SystemExit(3)")).returncode == 3
    done = runs.run("--patience=100000", command=("join",))
    assert (done.returncode, done.stderr) == (2, "scoop-hpc: error: cannot join the run: it has ended\n")


def test_who_waits_for_a_run_to_begin_is_told_so(runs: Runs) -> None:
    driver = Snapshot(
        version=1, run="x", job=None, program="p.py", host=os.uname().nodename, pid=os.getpid(),
        driver=proc.identity(os.getpid()), time=1.0, started=1.0, elapsed_s=0.0, walltime_left_s=None, state="starting",
    )  # fmt: skip
    look.write(run_directories.create(private.root(runs.environ), time.time(), lambda seen: False), driver)
    joiner = runs.start("--patience=100000", command=("join",))
    assert joiner.stderr is not None
    told = joiner.stderr.readline()
    assert told.startswith("scoop-hpc: warning: waiting for the run to begin, 9999")
    assert told.endswith(" s more (--patience)\n")
    assert joiner.poll() is None
    joiner.send_signal(signal.SIGTERM)
    joiner.communicate(timeout=120)


def test_run_whose_program_is_its_only_worker_is_not_joined(two: Allocations) -> None:
    (two.directory / "on.a").touch()
    (two.directory / "on.b").touch()
    two.start(PROGRAM, "-n1")
    joiner = two.join()
    _, stderr = joiner.communicate(timeout=120)
    assert joiner.returncode == 2
    assert stderr.endswith("its program is its only worker: start it with two workers, or more\n")
    two.ends()


def test_submitted_job_joins_the_run_of_another(runs: Runs) -> None:
    program = runs.write(PROGRAM)
    submit = ("submit", "--scheduler", "local", "--nodes=1", "--workers-per-node=2")
    assert runs.run(program, command=submit).returncode == 0
    assert runs.run("--bind=cores", "--join=local-1", command=submit).stderr == (
        "scoop-hpc: warning: without effect beside --join, for the run has its own: --bind\n"
    )
    until(lambda: (runs.directory / "on.local1").exists() and (runs.directory / "on.local1+1").exists())
    (runs.directory / "enough").touch()
    waited = runs.run("local-1", "local-2", command=("wait",))
    assert waited.returncode == 0, waited.stderr
    assert "node local1+1 takes part from now on" in (runs.directory / "scoop-local-1.out").read_text()
    over = runs.run("--join=local-1", command=submit)
    assert (over.returncode, over.stderr) == (2, "scoop-hpc: error: --join local-1: the job local-1 has ended\n")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "Missing argument 'PROGRAM'."),
        (("--join=local-7",), "the job 'local-7' was not submitted from here, and no run in it is known here"),
        (("--join=local-7", "p.py"), "--join local-7 runs no program: leave out 'p.py'"),
    ],
)
def test_nothing_is_submitted_that_could_not_join(runs: Runs, words: tuple[str, ...], error: str) -> None:
    refused = runs.run(*words, command=("submit", "--scheduler", "local"))
    assert (refused.returncode, refused.stderr) == (2, f"scoop-hpc: error: {error}\n")
