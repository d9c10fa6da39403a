"""Agents, brokers, whole nodes and links that are lost, on Slurm and on Grid Engine: the job goes on without them."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
from minicluster.namespaces import Process
from minicluster.state import HEAD
from under_test import SUBMIT_TO, ClusterUnderTest, signal_if_there

# how many times each kind of kill is tried at random moments: `make soak` asks for more
SEEDS = range(int(os.environ.get("SOAK_SEEDS", "1")))

# rounds of nested tasks and arrays, until the test has done its worst, and one more; each worker notes what leaves it
# begins; they sleep more than they compute, since other tests run meanwhile
ROUNDS = """
import array, os, socket, time
from scoop_hpc import futures

def leaf(n):
    with open(f"ran.{socket.gethostname()}.{os.getpid()}", "a") as file:
        file.write(f"{n}\\n")
    time.sleep(0.05)
    return n, array.array("d", [n]) * 20_000

def branch(n):
    parts = [futures.submit(leaf, 10 * n + k) for k in range(10)]
    return sum(value for value, large in (part.result() for part in parts) if large[-1] == value)

if __name__ == "__main__":
    first, last, right = 0, False, True
    while right and not last:
        last = os.path.exists("enough")
        right = sum(futures.map(branch, range(first, first + 16))) == sum(range(10 * first, 10 * first + 160))
        first += 16
    print("sum", right)
"""


@pytest.fixture(params=["cluster", "grid"])
def site(request: pytest.FixtureRequest) -> ClusterUnderTest:
    """Slurm, then Grid Engine."""
    under_test = request.getfixturevalue(request.param)
    assert isinstance(under_test, ClusterUnderTest)
    return under_test


class LossyJob:
    """A job of ``ROUNDS`` on all nodes of a cluster, from the time on that tasks run on each."""

    def __init__(self, site: ClusterUnderTest, *options: str) -> None:
        self.site = site
        words = SUBMIT_TO[site.machine.state.settings.scheduler]
        done = site.scoop_hpc(*words, *options, "--parsable", "--output=job.out", str(site.write(ROUNDS)))
        assert done.returncode == 0, done.stderr
        self.id = done.stdout.strip()
        site.wait_until(lambda: self.hosts() == set(site.nodes), 180, "every node has tasks")
        (self.first,) = [name for name in site.nodes if self.find(name, "scoop-origin")]
        self.others = [name for name in site.nodes if name != self.first]

    def hosts(self) -> set[str]:
        """Return the hosts on which leaves have begun."""
        return {path.name.split(".")[1] for path in self.site.directory.glob("ran.*")}

    def begun(self, node: str) -> int:
        """Return how much is noted of leaves on a node: it grows with each."""
        return sum(path.stat().st_size for path in self.site.directory.glob(f"ran.{node}.*"))

    def until_working(self, node: str) -> None:
        """Wait until a leaf begins on a node."""
        before = self.begun(node)
        self.site.wait_until(lambda: self.begun(node) > before, 60, f"tasks begin on {node}")

    def until_said(self, pattern: str, timeout: float = 60) -> None:
        """Wait until the job has printed what matches."""
        self.site.wait_until(
            lambda: re.search(pattern, self.site.output()), timeout, f"{pattern}: {self.site.output()}"
        )

    def find(self, node: str, title: str) -> list[Process]:
        """Return the processes of a title; the agent has none of its own."""
        return [each for each in self.site.processes(node) if title == (title_of(each))]

    def kill(self, node: str, *titles: str) -> None:
        """Kill the processes of these titles; without any, all that run on the node.

        Grid Engine's shepherd is among these, its own process for a task: while it lives it tells that the task was
        killed, and Grid Engine ends the job.
        """
        every = self.site.machine.processes(node, with_daemons=("sge_shepherd",))
        victims = [each for each in every if not titles or title_of(each) in titles]
        assert victims, self.site.output()
        for number in (signal.SIGSTOP, signal.SIGKILL):  # so that none has time for a last word
            for each in victims:
                signal_if_there(each.outer_pid, number)

    def finish(self, most: int) -> list[str]:
        """Let the program end, well, with no leaf begun more often than *most* times; return the lines it printed."""
        (self.site.directory / "enough").touch()
        status = self.site.scoop_hpc("wait", self.id, timeout=120).returncode
        output = self.site.output()
        assert status == 0, output
        assert self.site.status(self.id)["state"] == "COMPLETED"
        lines = output.splitlines()
        assert "sum True" in lines
        assert "Traceback" not in output
        counts = Counter(line for path in self.site.directory.glob("ran.*") for line in path.read_text().split())
        assert max(counts.values()) <= most, output
        self.site.wait_until_clean()
        return lines


def title_of(process: Process) -> str:
    """Return what a process is, "agent" for that, and not for the shell above it, which outlives it on purpose."""
    is_agent = process.title.startswith("py") and "scoop_hpc.cli.agent" in " ".join(process.argv)
    return "agent" if is_agent else process.title


def lost(lines: list[str]) -> list[str]:
    """Return the nodes that were lost, of the lines that say so when it happens."""
    return [match[1] for line in lines if (match := re.search(r"node (\S+) is lost: ", line))]


@contextmanager
def restored(restore: Callable[[], object]) -> Iterator[None]:
    """Restore the cluster, whatever happens."""
    try:
        yield
    finally:
        restore()


KILLS: dict[str, tuple[str, ...]] = {
    "agent": ("agent",),
    "broker": ("scoop-broker",),
    "every process": (),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kills", [("agent", "every process"), ("broker", "broker")], ids=", ".join)
def test_what_is_killed_at_any_moment_costs_no_result(
    site: ClusterUnderTest, kills: tuple[str, str], seed: int
) -> None:
    job = LossyJob(site)
    dice = random.Random(f"{kills} {seed}")
    print(f"{kills}, seed {seed}")
    nodes = dice.sample(job.others, 2)
    for node, what in zip(nodes, dice.sample(kills, 2)):
        time.sleep(dice.uniform(0.0, 0.3))  # to no end but that the moments differ
        print(f"killed: {what} of {node}")
        job.kill(node, *KILLS[what])
    for node in nodes:
        job.until_said(rf"node {node} is lost: ")
    if "broker" in kills:
        for node in nodes:
            job.until_working(node)
    assert sorted(lost(job.finish(3))) == sorted(nodes)


def test_node_that_is_cut_off_is_lost_and_comes_back(site: ClusterUnderTest) -> None:
    job = LossyJob(site, "--grace", "3")
    node = job.others[-1]
    with restored(lambda: site.machine.heal(node)):
        site.machine.cut(node)
        job.until_said(rf"node {node} is lost: ")
    job.until_working(node)
    assert lost(job.finish(2)) == [node]


# links are the nodes', and no affair of the scheduler's


@pytest.mark.parametrize("seed", SEEDS)
def test_links_that_break_at_any_moment_lose_nothing(cluster: ClusterUnderTest, seed: int) -> None:
    job = LossyJob(cluster)
    dice = random.Random(f"link {seed}")
    print(f"link, seed {seed}")
    for _ in range(10):
        one, other = dice.sample(job.others, 2)
        print(f"reset: {one}, {other}")
        cluster.machine.reset_between(one, other)
        time.sleep(dice.uniform(0.0, 0.3))  # to no end but that the moments differ
    for node in job.others:
        job.until_working(node)
    assert lost(job.finish(1)) == []


def test_links_that_are_broken_for_ten_seconds_lose_nothing(cluster: ClusterUnderTest) -> None:
    job = LossyJob(cluster)
    one, other = job.others[:2]
    pairs = ((one, other), (job.first, job.others[2]))  # on the first node is the driver
    with ExitStack() as stack:
        for pair in pairs:
            stack.enter_context(restored(partial(cluster.machine.heal_between, *pair)))
            cluster.machine.cut_between(*pair)
        time.sleep(10)  # that they are broken for as long
    for node in job.others:
        job.until_working(node)
    assert lost(job.finish(1)) == []


def test_link_that_stays_broken_costs_one_of_its_nodes(cluster: ClusterUnderTest) -> None:
    job = LossyJob(cluster, "--grace", "3")
    one, other = job.others[:2]
    with restored(lambda: cluster.machine.heal_between(one, other)):
        cluster.machine.cut_between(one, other)
        job.until_said(rf"node ({one}|{other}) is lost: ")
    assert lost(job.finish(2)) in ([one], [other])


def test_node_that_is_powered_off_does_not_end_the_job(site: ClusterUnderTest) -> None:
    job = LossyJob(site)
    node = job.others[0]
    with restored(lambda: site.machine.start_node(node)):
        site.machine.kill_node(node)
        job.until_said(rf"node {node} is lost: ", 50)  # within 21 s, and what a busy machine takes; without, it is 60 s
        site.wait_until(lambda: is_known_as_down(site, node), 90, f"the scheduler knows that {node} is down")
        for other in job.others[1:]:
            job.until_working(other)
        (site.directory / "enough").touch()
        assert site.scoop_hpc("wait", job.id, timeout=120).returncode == 0
        assert "sum True" in site.output().splitlines()
    site.wait_until(lambda: site.status(job.id)["state"] == "COMPLETED", 60, "the scheduler knows of the job's end")


def test_node_that_boots_again_before_it_is_missed_does_not_end_the_job(site: ClusterUnderTest) -> None:
    job = LossyJob(site)
    node = job.others[0]
    with restored(lambda: site.machine.start_node(node)):
        site.machine.kill_node(node)
        job.until_said(rf"node {node} is lost: ", 50)
    assert not is_known_as_down(site, node)
    site.check(HEAD, LIST_HOSTS[site.machine.state.settings.scheduler])  # it has heard from the node
    for other in job.others[1:]:
        job.until_working(other)
    assert lost(job.finish(2)) == [node]


LIST_HOSTS = {"slurm": ["scontrol", "ping"], "sge": ["qhost"]}


# a job of one's own, which begins its run when it is told to
SCRIPT = """#!/bin/sh
#SBATCH --nodes=4 --ntasks-per-node=2 --no-kill --output=job.out
touch held
until test -e go; do sleep 0.05; done
exec {python} -m scoop_hpc run {options} program.py
"""
HOSTS = """
import os, socket, time
from scoop_hpc import futures

def host(i):
    time.sleep(0.1)
    return socket.gethostname()

if __name__ == "__main__":
    found = []
    while not found or os.path.exists("stay"):
        found = sorted(set(futures.map(host, range(40), chunksize=1)))
    print("hosts", *found)
"""


class HeldStart:
    """A job of Slurm's whose run is about to begin, so that a node may be lost before."""

    def __init__(self, site: ClusterUnderTest, *options: str) -> None:
        self.site = site
        site.write(HOSTS)
        script = site.write(SCRIPT.format(python=sys.executable, options=" ".join(options)), "job.sh")
        self.id = site.check(HEAD, ["sbatch", "--parsable", str(script)]).strip()
        site.wait_until((site.directory / "held").exists, 60, "the job runs")
        first = site.check(HEAD, ["scontrol", "show", "hostnames", self.ask("%N")]).split()[0]
        self.node = next(name for name in site.nodes if name != first)
        self.others = [name for name in site.nodes if name != self.node]

    def ask(self, what: str) -> str:
        """Return what squeue says of the job."""
        return self.site.check(HEAD, ["squeue", "--noheader", f"--jobs={self.id}", f"--format={what}"]).strip()

    def begin(self) -> None:
        """Let the run begin."""
        (self.site.directory / "go").touch()

    def until_said(self, pattern: str, timeout: float = 60) -> None:
        """Wait until the job has printed what matches."""
        self.site.wait_until(
            lambda: re.search(pattern, self.site.output()), timeout, f"{pattern}: {self.site.output()}"
        )


def test_agents_are_started_again_where_slurm_could_not_reach_a_node(cluster: ClusterUnderTest) -> None:
    job = HeldStart(cluster)
    with restored(lambda: start_slurmd(cluster, job.node)):
        cluster.check(job.node, ["pkill", "-KILL", "-x", "slurmd"])
        job.begin()
        job.until_said(rf"srun could not start an agent on {job.node}: .* are started again in 1 s")
        start_slurmd(cluster, job.node)
        job.until_said("hosts " + " ".join(cluster.nodes))
    cluster.wait_until_clean()


def test_node_that_is_down_at_the_start_is_named_in_the_end(cluster: ClusterUnderTest) -> None:
    job = HeldStart(cluster, "--patience", "15")
    with restored(lambda: cluster.machine.start_node(job.node)):
        cluster.machine.kill_node(job.node)
        job.begin()
        job.until_said(rf"error: .*node {job.node}: srun could not start its agent: ")
    cluster.wait_until_clean()


def test_run_begins_without_a_node_that_is_down_if_it_may(cluster: ClusterUnderTest) -> None:
    job = HeldStart(cluster, "--min-nodes", "3", "--log-level", "info")
    (cluster.directory / "stay").touch()
    with restored(lambda: cluster.machine.start_node(job.node)):
        cluster.machine.kill_node(job.node)
        job.begin()
        job.until_said(rf"begins with 3 of 4 nodes, without {job.node}")
        job.until_said(rf"launch command for {job.node} ")  # another, for that node alone
        (cluster.directory / "stay").unlink()
        job.until_said("hosts " + " ".join(job.others))
    cluster.wait_until_clean()


def start_slurmd(cluster: ClusterUnderTest, node: str) -> None:
    """Start the daemon of Slurm on *node*, unless it runs."""
    cluster.run(node, ["sh", "-c", "pgrep -x slurmd || slurmd"])
    cluster.machine.wait_usable([node], time.monotonic() + 60)


def is_known_as_down(site: ClusterUnderTest, node: str) -> bool:
    """Return whether the scheduler takes *node* for down."""
    if site.machine.state.settings.scheduler == "slurm":
        return "down" in site.check(HEAD, ["sinfo", "--noheader", "--nodes", node, "--format=%T"])
    lines = site.check(HEAD, ["qstat", "-f"]).splitlines()
    return any(f"@{node}" in line and line.split()[-1] == "u" for line in lines)  # qstat(1), unknown


def test_job_that_has_lost_its_first_node_does_not_keep_the_others(cluster: ClusterUnderTest) -> None:
    job = LossyJob(cluster, "--grace", "5", "--patience", "30")
    with restored(lambda: cluster.machine.start_node(job.first)):
        cluster.machine.kill_node(job.first)
        assert cluster.scoop_hpc("wait", job.id, timeout=180).returncode == 1
        assert f"on {job.first} died, or its node was lost" in str(cluster.status(job.id)["reason"])


def test_any_loss_is_the_end_where_that_is_wanted(site: ClusterUnderTest) -> None:
    job = LossyJob(site, "--on-node-loss", "fail")
    job.kill(job.others[0], "scoop-broker")
    assert site.scoop_hpc("wait", job.id).returncode == 1
    assert job.others[0] in site.output().splitlines()[-1]
    site.wait_until_clean()
