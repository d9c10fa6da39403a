"""Runs of so many nodes, all on this machine, that agents relay for others, some of which are killed or stopped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Runs, members, until
from test_node_losses import age

NODES = 36  # of which the first has its own connection, six relay, and 29 go by them
RELAYS = 6
OWN_FILES = 18  # of the driver, beside connections and pipes
FAKES = Path(__file__).parents[1] / "fakes" / "ssh"
PROGRAM = """
import os, time
from scoop_hpc import futures

def work(number):
    print("task", number)
    time.sleep(0.1)
    return os.getppid()

if __name__ == "__main__":
    while not os.path.exists("enough"):
        agents = set(futures.map(work, range(100)))
        with open("agents", "a") as file: file.write(f"{sorted(agents)}\\n")
"""


def files_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def until_all_work(runs: Runs, nodes: int) -> None:
    """Wait until so many nodes have executed tasks that began from now on."""
    rounds = runs.directory / "agents"
    before = len(rounds.read_text().splitlines()) if rounds.exists() else 0

    def work() -> set[str]:
        lines = rounds.read_text().splitlines()[before + 1 :] if rounds.exists() else []
        return {agent for line in lines for agent in line.strip("[]").split(", ")}

    until(lambda: len(work()) == nodes, 120)


def relays_among(agents: list[int]) -> list[int]:
    """Return the agents that have connections of others: all but the first have one worker and nothing else."""
    files = {agent: files_of(agent) for agent in agents[1:]}
    least = min(files.values())
    return [agent for agent, number in files.items() if number > least + 4]


def test_driver_has_few_connections_and_a_killed_relay_costs_its_own_node_only(runs: Runs) -> None:
    nodes = ",".join(f"n{number}:1" for number in range(NODES))
    runs.environ.update(SCOOP_HPC_LOCAL_JOB_ID=f"local-relays{os.getpid()}", SCOOP_HPC_LOCAL_NODES=nodes)
    driver = runs.start(runs.write(PROGRAM))
    until_all_work(runs, NODES)
    until(lambda: files_of(driver.pid) <= OWN_FILES + 1 + RELAYS)
    agents = sorted((pid for pid, title in members(driver.pid).items() if title == "agent"), key=age)
    until(lambda: len(relays_among(agents)) == RELAYS)
    relays = relays_among(agents)
    os.kill(relays[0], signal.SIGKILL)
    until(lambda: relays[0] not in members(driver.pid))
    until_all_work(runs, NODES - 1)
    agents.remove(relays[0])
    until(lambda: len(relays_among(agents)) == RELAYS)  # another one in its place
    until(lambda: files_of(driver.pid) <= OWN_FILES + 1 + RELAYS)
    (runs.directory / "enough").touch()
    _, stderr = driver.communicate(timeout=120)
    assert driver.returncode == 0, stderr
    assert stderr.count(" is lost: ") == 1


@pytest.fixture
def hosts(runs: Runs) -> Iterator[Runs]:
    """Runs that reach many hosts by ssh."""
    for number in range(NODES):
        (runs.directory / "hosts" / f"n{number}").mkdir(parents=True)
    path = f"{FAKES}{os.pathsep}{os.environ['PATH']}"
    runs.environ.update(FAKE_SSH=str(runs.directory / "hosts"), PATH=path)
    runs.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    yield runs
    runs.close()
    until(lambda: not left_of(runs))


def left_of(runs: Runs) -> list[str]:
    """Return the processes that have these hosts in their environment."""
    mark, found = f"FAKE_SSH={runs.directory}".encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes() and int(entry.name) != os.getpid():
                found.append(entry.name)
        except OSError:
            continue
    return found


def test_relay_between_machines_that_hangs_costs_nothing(hosts: Runs) -> None:
    names = ",".join(f"n{number}:1" for number in range(NODES))
    log = hosts.directory / "log"
    driver = hosts.start("--launcher", "ssh", "--hosts", names, "--log-file", str(log), hosts.write(PROGRAM))
    until_all_work(hosts, NODES)
    until(lambda: files_of(driver.pid) <= OWN_FILES + NODES + 1 + RELAYS)  # a pipe for each ssh
    agents = [int((hosts.directory / "hosts" / f"n{number}" / "pid").read_text()) for number in range(NODES)]
    until(lambda: len(relays_among(agents)) == RELAYS)
    relay = relays_among(agents)[0]
    others = files_of(relay)
    os.kill(relay, signal.SIGSTOP)
    until(lambda: "lost the connection to the agent on" in log.read_text(), 120)
    until(lambda: len(relays_among([agent for agent in agents if agent != relay])) == RELAYS)  # another in its place
    os.kill(relay, signal.SIGCONT)
    until(lambda: files_of(relay) < others)  # it is no relay any more
    until_all_work(hosts, NODES)
    (hosts.directory / "enough").touch()
    _, stderr = driver.communicate(timeout=120)
    assert driver.returncode == 0, stderr
    assert "is lost" not in stderr + log.read_text()
