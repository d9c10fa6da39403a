"""Nodes whose agent, broker or every process is killed, or stopped: the run goes on without them.

A node is an agent with its children here, for all are on this machine.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Runs, members, shared_memory, signal_if_there, until

NODES = "a:2,b:2,c:2,d:2"  # the origin is on a
# how many times each kind of kill is tried: `make soak` asks for more
SEEDS = range(int(os.environ.get("SOAK_SEEDS", "1")))

# rounds of nested tasks and arrays, until the test has done its worst, and one more; each worker notes what tasks it
# begins, in a file that tells its agent, too; they sleep more than they compute, since other tests run meanwhile
ROUNDS = """
import array, os, time
from scoop_hpc import futures

def note(task):
    with open(f"ran.{os.getppid()}.{os.getpid()}", "a") as file: file.write(task + "\\n")

def leaf(n):
    note(f"leaf-{n}")
    time.sleep(0.02)
    return n, array.array("d", [n]) * 20_000

def branch(n):
    note(f"branch-{n}")
    parts = [futures.submit(leaf, 10 * n + k) for k in range(10)]
    return sum(value for value, large in (part.result() for part in parts) if large[-1] == value)

if __name__ == "__main__":
    rounds, last = 0, False
    while not last:
        last = os.path.exists("enough")
        first = 16 * rounds
        right = sum(futures.map(branch, range(first, first + 16))) == sum(range(10 * first, 10 * first + 160))
        rounds += 1
        if not right: break
    print(right, rounds)
"""


@dataclass(frozen=True)
class Node:
    """The processes of a node."""

    agent: int
    broker: int | None
    workers: tuple[int, ...]

    def all(self) -> tuple[int, ...]:
        """Return the ids of all processes, the agent's first."""
        return (self.agent, *([] if self.broker is None else [self.broker]), *self.workers)


def parent_of(pid: int) -> int:
    """Return a process's parent, 0 if it is gone [proc_pid_stat(5)]."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def age(pid: int) -> tuple[int, int]:
    """Return what orders processes as they were started, (0, 0) if it is gone [proc_pid_stat(5)]."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]), pid
    except OSError:
        return 0, 0


class Nodes:
    """A run of ``ROUNDS`` on four nodes, and its processes by node."""

    def __init__(self, runs: Runs, *options: str, program: str = ROUNDS) -> None:
        self.directory = runs.directory
        self._temporary = runs.temporary
        self._shared_memory = shared_memory()
        self.run = runs.start(*options, runs.write(program))
        self.lines: list[str] = []  # of stderr, so far
        self._names: dict[int, str] = {}  # of nodes, by agent
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.run.stderr is not None
        self.lines.extend(iter(self.run.stderr.readline, ""))

    def nodes(self) -> dict[str, Node]:
        """Return the nodes whose agents are there; none before all four have been."""
        titles = members(self.run.pid)
        there = [pid for pid, title in titles.items() if title == "agent"]
        if not self._names and len(there) == 4:
            self._names = dict(zip(sorted(there, key=age), "abcd", strict=True))
        agents = {self._names[pid]: pid for pid in there if pid in self._names}
        parents = {pid: parent_of(pid) for pid in titles}
        found = {}
        for name, agent in agents.items():
            children = [pid for pid, parent in parents.items() if parent == agent]
            brokers = [pid for pid in children if titles[pid] == "scoop-broker"]
            workers = tuple(pid for pid in children if titles[pid] == "scoop-worker")
            found[name] = Node(agent, brokers[0] if brokers else None, workers)
        return found

    def begun(self) -> dict[int, int]:
        """Return the workers that have begun tasks, each with its agent."""
        names = [path.name.split(".") for path in self.directory.glob("ran.*")]
        return {int(worker): int(agent) for _, agent, worker in names}

    def until_all_work(self) -> dict[str, Node]:
        """Wait until tasks have begun on every node; return the nodes."""

        def all_work() -> bool:
            assert self.run.poll() is None, self.stderr()
            return len(self.nodes()) == 4 and {node.agent for node in self.nodes().values()} <= {*self.begun().values()}

        until(all_work)
        return self.nodes()

    def until_back(self, name: str, before: Node) -> Node:
        """Wait until the node has another broker than *before*; return it."""
        until(lambda: name in self.nodes() and self.nodes()[name].broker not in (None, before.broker))
        return self.nodes()[name]

    def until_gone(self, *pids: int | None) -> None:
        """Wait until none of the processes is there."""
        until(lambda: not set(pids) & set(members(self.run.pid)))

    def until_said(self, words: str) -> None:
        """Wait until the run has printed a line with *words* on its stderr."""
        until(lambda: any(words in line for line in self.lines) or self.run.poll() is not None)
        assert any(words in line for line in self.lines), self.stderr()

    def stderr(self) -> str:
        """Return what the run has printed on its stderr so far."""
        return "".join(self.lines)

    def finish(self) -> str:
        """Let the program end; return what it printed. Nothing is left."""
        (self.directory / "enough").touch()
        return self.end()

    def end(self) -> str:
        """Wait for the end; return what the program printed. Nothing is left."""
        assert self.run.stdout is not None
        stdout = self.run.stdout.read()
        self.run.wait(120)
        self._reader.join()
        until(lambda: not members(self.run.pid))
        assert list(self._temporary.iterdir()) == []
        left = shared_memory() - self._shared_memory
        assert not [name for name in left if "scoop" in name], left
        return stdout

    def most(self) -> int:
        """Return how often the task was begun that was begun most often."""
        counts = Counter(line for path in self.directory.glob("ran.*") for line in path.read_text().split())
        return max(counts.values())


@pytest.fixture
def four_nodes(runs: Runs) -> Runs:
    """Runs that believe to be in a job of four nodes on this machine."""
    runs.environ.update(SCOOP_HPC_LOCAL_JOB_ID="local-9", SCOOP_HPC_LOCAL_NODES=NODES)
    return runs


def kill_node(node: Node) -> None:
    """Kill all processes of a node, as a crash of its machine would; none of them has time to clean up."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in node.all():
            signal_if_there(pid, number)


KILLS: dict[str, Callable[[Node], object]] = {
    "agent": lambda node: signal_if_there(node.agent, signal.SIGKILL),
    "broker": lambda node: signal_if_there(node.broker or 0, signal.SIGKILL),
    "node": kill_node,
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("what", KILLS)
def test_what_is_killed_at_any_moment_costs_no_result(four_nodes: Runs, what: str, seed: int) -> None:
    run = Nodes(four_nodes, "--min-nodes=1")
    run.until_all_work()
    dice = random.Random(f"{what} {seed}")
    print(f"{what}, seed {seed}")
    for _ in range(3):
        until(lambda: [name for name, node in run.nodes().items() if name != "a" and node.broker])
        victims = {name: node for name, node in run.nodes().items() if name != "a" and node.broker}
        name = dice.choice(sorted(victims))
        print(f"killed: {what} of {name}, {victims[name]}")
        KILLS[what](victims[name])
        run.until_gone(victims[name].broker)
        time.sleep(dice.uniform(0.0, 0.3))  # to no end but that the moments differ
    until(lambda: sum(" is lost: " in line for line in run.lines) == 3)  # one that had no task is not missed by others
    assert (run.finish().split()[:1], run.run.returncode) == (["True"], 0), run.stderr()
    assert run.most() <= 1 + 3
    lost = [line for line in run.lines if " is lost: " in line]
    assert len(lost) == 3, run.stderr()
    assert "lost: " in run.lines[-1]
    assert "Traceback" not in run.stderr()


# libzmq aborts where a connection breaks in whose place there is a newer one, if a ping is due then
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_node_whose_broker_has_died_comes_back_and_works(four_nodes: Runs, number: int) -> None:
    run = Nodes(four_nodes)
    before = run.until_all_work()["c"]
    assert before.broker is not None
    os.kill(before.broker, number)
    run.until_back("c", before)
    until(lambda: any(run.begun().get(worker) == before.agent for worker in run.nodes()["c"].workers))
    assert run.nodes()["c"].agent == before.agent
    assert run.finish().startswith("True"), run.stderr()
    assert run.run.returncode == 0
    assert "node c is lost" in run.stderr()


def test_what_tasks_of_a_lost_node_had_started_does_not_outlive_it(four_nodes: Runs) -> None:
    begin = """    with open(f"ran.{os.getppid()}.{os.getpid()}", "a") as file: file.write(task + "\\n")\n"""
    start = """    if not os.path.exists(f"sleeps.{os.getpid()}"):
        with open(f"sleeps.{os.getpid()}", "w") as file: file.write(str(subprocess.Popen(["sleep", "1000"]).pid))\n"""
    assert begin in ROUNDS
    program = ROUNDS.replace(begin, start + begin).replace("import array", "import subprocess, array")
    run = Nodes(four_nodes, program=program)
    nodes = run.until_all_work()
    at = {agent: int((run.directory / f"sleeps.{worker}").read_text()) for worker, agent in run.begun().items()}
    KILLS["agent"](nodes["c"])
    run.until_gone(at[nodes["c"].agent])
    run.until_said("node c is lost")
    assert at[nodes["b"].agent] in members(run.run.pid)
    assert run.finish().startswith("True"), run.stderr()
    assert run.run.returncode == 0


def test_node_that_falls_silent_is_lost_and_comes_back_as_another(four_nodes: Runs) -> None:
    run = Nodes(four_nodes, "--grace=3")
    before = run.until_all_work()["d"]
    for pid in before.all():
        os.kill(pid, signal.SIGSTOP)
    run.until_said("node d is lost")
    for pid in before.all()[::-1]:
        os.kill(pid, signal.SIGCONT)
    run.until_gone(before.broker, *before.workers)
    run.until_back("d", before)
    until(lambda: any(run.begun().get(worker) == before.agent for worker in run.nodes()["d"].workers))
    assert run.finish().startswith("True"), run.stderr()
    assert (run.run.returncode, run.most() <= 2) == (0, True), run.stderr()


def test_node_whose_broker_dies_again_and_again_is_left_alone(four_nodes: Runs) -> None:
    run = Nodes(four_nodes)
    node = run.until_all_work()["b"]
    for _ in range(3):
        KILLS["broker"](node)
        node = run.until_back("b", node)
    KILLS["broker"](node)
    until(lambda: "b" not in run.nodes())
    assert run.finish().startswith("True"), run.stderr()
    assert run.run.returncode == 0
    assert any("node b " in line and "again" in line for line in run.lines), run.stderr()


def test_node_on_which_all_workers_die_in_their_tasks_is_left_alone_and_costs_no_result(four_nodes: Runs) -> None:
    die = """    if os.path.exists(f"bad.{os.getppid()}"): os.kill(os.getpid(), 9)\n"""
    program = ROUNDS.replace("    time.sleep(0.02)\n", die + "    time.sleep(0.02)\n")
    assert die in program
    run = Nodes(four_nodes, program=program)
    (run.directory / f"bad.{run.until_all_work()['c'].agent}").touch()
    run.until_said("c leaves the run (its last ")
    until(lambda: "c" not in run.nodes())
    assert run.finish().startswith("True"), run.stderr()
    assert run.run.returncode == 0, run.stderr()
    assert "workers died in a task, and none did elsewhere" in run.stderr()


def test_losses_that_leave_too_few_nodes_end_the_run_by_name(four_nodes: Runs) -> None:
    run = Nodes(four_nodes)
    nodes = run.until_all_work()
    for name in "bcd":
        KILLS["agent"](nodes[name])
    run.end()
    assert run.run.returncode == 1
    assert "--min-nodes" in run.lines[-1], run.stderr()


@pytest.mark.parametrize("what", KILLS)
def test_any_loss_is_the_end_where_that_is_wanted(four_nodes: Runs, what: str) -> None:
    run = Nodes(four_nodes, "--on-node-loss=fail")
    KILLS[what](run.until_all_work()["c"])
    run.end()
    assert run.run.returncode == 1
    assert "error: " in run.lines[-1]
    assert "node c" in run.lines[-1] or " on c " in run.lines[-1], run.stderr()


@pytest.mark.parametrize("what", KILLS)
def test_loss_of_the_programs_node_is_the_end(four_nodes: Runs, what: str) -> None:
    run = Nodes(four_nodes)
    KILLS[what](run.until_all_work()["a"])
    run.end()
    assert run.run.returncode not in (0, 2)
    errors = [line for line in run.lines if "error: " in line]
    assert len(set(errors)) == 1, run.stderr()


# node d's agent stops before it does anything else
LATE = """
import os, signal, sys

if sys.orig_argv[2:4] == ["scoop_hpc", "run"]:
    from scoop_hpc.cli import agent

    at_once = agent.main

    def main(words, once):
        if words[-2:] == ("--node", "d"):
            with open("late.new", "w") as file: file.write(str(os.getpid()))
            os.rename("late.new", "late")
            os.kill(os.getpid(), signal.SIGSTOP)
        at_once(words, once)

    agent.main = main
"""


def test_run_begins_with_fewer_nodes_and_takes_in_the_late(four_nodes: Runs) -> None:
    four_nodes.write(LATE, "sitecustomize.py")
    four_nodes.environ["PYTHONPATH"] = os.pathsep.join(
        [str(four_nodes.directory), four_nodes.environ.get("PYTHONPATH", "")]
    )
    run = Nodes(four_nodes, "--min-nodes=3", "--patience=30")
    until((run.directory / "late").exists)
    late = int((run.directory / "late").read_text())
    until(lambda: Path(f"/proc/{late}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    until(lambda: len({*run.begun().values()}) == 3)
    assert late not in run.begun().values()
    os.kill(late, signal.SIGCONT)
    until(lambda: late in run.begun().values())
    assert run.finish().startswith("True"), run.stderr()
    assert (run.run.returncode, run.most()) == (0, 1), run.stderr()
