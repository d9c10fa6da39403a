"""Runs on hosts without a scheduler: all are this machine, and an ssh that plays itself leads to them."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MEET, Runs, until, without_warnings
from proxy import Proxy

FAKES = Path(__file__).parents[1] / "fakes" / "ssh"
SHOW = """
import os, sys
from scoop_hpc import futures
from scoop_hpc.compat import SIZE

def show(number):
    print("task", number, file=sys.stderr)
    return os.environ["ODD"], os.getcwd(), os.environ["HOME"]

if __name__ == "__main__":
    print(SIZE, set(futures.map(show, range(4))))
    sys.exit(3)
"""
UNTIL_JOINED = """
import time
from scoop_hpc import futures, worker

def where(number):
    time.sleep(0.02)
    return worker.info().node

if __name__ == "__main__":
    found, until = set(), time.monotonic() + 50
    while len(found) < 3 and time.monotonic() < until:
        found = set(futures.map(where, range(60), chunksize=1))
    print(sorted(found))
"""
STAY = """
import os, time
from scoop_hpc import futures

def stay(number):
    open(f"in-{number}", "w").close()
    time.sleep(600)

if __name__ == "__main__":
    list(futures.map(stay, range(2)))
"""


class Grid:
    """The hosts n1 and n2, with *runs* that reach them by ssh."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self.homes = {name: runs.directory / "hosts" / name for name in ("n1", "n2")}
        for home in self.homes.values():
            home.mkdir(parents=True)
        path = f"{FAKES}{os.pathsep}{os.environ['PATH']}"
        runs.environ.update(FAKE_SSH=str(runs.directory / "hosts"), PATH=path, ODD="a 'b'\n$c")
        runs.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))

    def calls(self) -> str:
        return (self.runs.directory / "hosts" / "calls").read_text()

    def everything(self) -> list[int]:
        """What has this grid in its environment: agents, and what they started."""
        mark = f"FAKE_SSH={self.runs.directory}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return [pid for pid in found if pid != os.getpid()]


@pytest.fixture
def grid(runs: Runs) -> Iterator[Grid]:
    grid = Grid(runs)
    yield grid
    runs.close()
    until(lambda: not grid.everything())


def test_all_nodes_that_grant_too_little_are_named_with_what_is_needed(grid: Grid) -> None:
    grid.runs.before = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))  # enough for all until then
    done = grid.runs.run("--launcher", "ssh", "--hosts", "n1:40,n2:40", grid.runs.write(SHOW))
    needed = r"{} more open files are needed, the system grants \d+ \(ulimit -n\): raise that, or ask for fewer workers"
    expected = rf"scoop-hpc: error: node n1: {needed.format(100)}; node n2: {needed.format(98)}\n"
    assert re.fullmatch(expected, without_warnings(done.stderr)), done.stderr
    assert (done.returncode, done.stdout) == (2, "")


def test_machine_without_a_launcher_joins_a_run_over_the_network(grid: Grid) -> None:
    runs = grid.runs
    driver = runs.start("--launcher", "ssh", "--hosts", "n1:1,n2:1", runs.write(UNTIL_JOINED))
    until(lambda: list((runs.directory / ".state").glob("runs/*/join.json")) or driver.poll() is not None)
    runs.environ.update(SCOOP_HPC_LOCAL_JOB_ID="local-2", SCOOP_HPC_LOCAL_NODES="m1:2")
    joiner = runs.start(command=("join",))
    stdout, stderr = driver.communicate(timeout=120)
    assert (driver.returncode, stdout) == (0, "['m1', 'n1', 'n2']\n"), stderr
    assert "node m1 takes part from now on, as broker 2: 3 of 3 nodes\n" in stderr
    _, said = joiner.communicate(timeout=120)
    assert joiner.returncode == 0, said


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash", "/bin/csh"])
def test_program_runs_on_named_hosts_in_the_drivers_environment(grid: Grid, shell: str) -> None:
    if not os.path.exists(shell):
        pytest.skip(f"no {shell} here")
    for home in grid.homes.values():
        (home / "shell").symlink_to(shell)
    done = grid.runs.run("--launcher", "ssh", "--hosts", "n1:1,n2:2", "--label", grid.runs.write(SHOW))
    expected = {("a 'b'\n$c", str(grid.runs.directory), os.environ["HOME"])}
    assert done.stdout == f"[n1 0.0] 3 {expected}\n", done.stderr
    printed = without_warnings(done.stderr).splitlines()
    assert sorted(line.partition("] ")[2] for line in printed) == [f"task {n}" for n in range(4)]
    assert done.returncode == 3
    assert not list(grid.runs.temporary.iterdir())


def test_no_key_is_in_a_command_line(grid: Grid) -> None:
    grid.runs.run("--launcher", "ssh", "--hosts", "n1:1", grid.runs.write(SHOW))
    (call,) = grid.calls().splitlines()
    assert "SCOOP_HPC" not in call
    assert "a 'b'" not in call


def test_host_without_a_number_has_a_worker_for_each_cpu(grid: Grid) -> None:
    grid.runs.write("n1  # all of it\nn2 slots=1\n", "hosts.txt")
    done = grid.runs.run("--launcher", "ssh", "--hostfile", "hosts.txt", grid.runs.write(SHOW))
    assert done.stdout.startswith(f"{len(os.sched_getaffinity(0)) + 1} "), done.stderr


def test_this_host_needs_no_ssh(grid: Grid) -> None:
    done = grid.runs.run("--launcher", "ssh", "--hosts", f"{socket.gethostname()}:1,n2:1", grid.runs.write(SHOW))
    assert done.stdout.startswith("2 "), done.stderr
    assert len(grid.calls().splitlines()) == 1


def test_scoops_flags_lead_to_other_hosts(grid: Grid) -> None:
    words = ["--launcher", "ssh", "--host", "n1", "n2", "n1"]
    done = grid.runs.run(*words, grid.runs.write(SHOW), command=())
    assert done.stdout.startswith("3 "), done.stderr
    grid.runs.write("n1 2\nn2 2\n", "hosts.txt")
    done = grid.runs.run("--launcher", "ssh", "--hostfile", "hosts.txt", "program.py", command=())
    assert done.stdout.startswith("4 "), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--hosts", "n1:1,gone:1"),
            "no agent on gone: ssh: Could not resolve hostname gone: Name or service not known",
        ),
        (("--hosts", "n1:1,n2:1"), "no agent on n2: Host key verification failed."),
        (("--hosts", "gone"), "no agent on gone: ssh: Could not resolve hostname gone: Name or service not known"),
    ],
)
def test_host_that_ssh_cannot_enter_is_named_in_one_line(grid: Grid, words: tuple[str, ...], said: str) -> None:
    (grid.homes["n2"] / "refusal").write_text("@@@@@@@@\r\n@ WARNING @\r\nHost key verification failed.\r\n")
    done = grid.runs.run("--launcher", "ssh", *words, grid.runs.write(SHOW))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"scoop-hpc: error: {said}\n")


def test_missing_python_is_named_with_its_host(grid: Grid) -> None:
    shell = grid.runs.directory / "shell"
    shell.write_text(f'#!/bin/sh\nexec /bin/sh -c "$(echo "$2" | sed s:{sys.executable}:/none/python:)"\n')
    shell.chmod(0o755)
    (grid.homes["n1"] / "shell").symlink_to(shell)
    done = grid.runs.run("--launcher", "ssh", "--hosts", "n1:1", grid.runs.write(SHOW))
    assert re.fullmatch("scoop-hpc: error: no agent on n1: .*/none/python: not found\n", done.stderr)


def test_missing_ssh_is_said_in_one_line(grid: Grid) -> None:
    (grid.runs.directory / "bin").mkdir()
    grid.runs.environ["PATH"] = str(grid.runs.directory / "bin")
    done = grid.runs.run("--launcher", "ssh", "--hosts", "n1:1", grid.runs.write(SHOW))
    expected = "scoop-hpc: error: cannot start 'ssh' for n1: No such file or directory\n"
    assert (done.returncode, done.stderr) == (2, expected)


def agent_on(grid: Grid, host: str) -> tuple[int, int]:
    """Return the process of the agent on *host*, and of the ssh that brought it."""
    pid = int((grid.homes[host] / "pid").read_text())
    return pid, int(Path(f"/proc/{pid}/status").read_text().partition("PPid:")[2].split()[0])


def test_log_of_agents_elsewhere_comes_to_the_drivers_standard_error(grid: Grid) -> None:
    words = ("--launcher", "ssh", "--hosts", "n1:1,n2:1", "--log-level", "info")
    done = grid.runs.run(*words, grid.runs.write(SHOW))
    assert done.returncode == 3, done.stderr
    for line in ("n1 agent INFO: started origin", "n2 agent INFO: started broker 1", "driver INFO: node n2 joined"):
        assert f" {line}" in done.stderr
    assert "driver INFO: launch command for n1 (pid " in done.stderr
    assert "client_secret" not in done.stderr


def test_host_that_is_lost_ends_the_run_if_it_is_told_to_and_is_named(grid: Grid) -> None:
    words = ("--launcher", "ssh", "--hosts", "n1:1,n2:1", "--on-node-loss", "fail")
    driver = grid.runs.start(*words, grid.runs.write(STAY))
    until(lambda: (grid.runs.directory / "in-0").exists() and (grid.runs.directory / "in-1").exists())
    os.kill(agent_on(grid, "n2")[0], signal.SIGKILL)
    _, stderr = driver.communicate(timeout=120)
    assert driver.returncode == 1
    said = r"the agent \(pid \d+\) on n2 died, or the connection to it broke|lost the agent on n2: Killed"
    assert re.fullmatch(f"scoop-hpc: error: ({said})", stderr.splitlines()[-1])
    until(lambda: not grid.everything())


def test_agent_that_is_connected_outlives_its_ssh_which_is_named_when_it_dies(grid: Grid) -> None:
    words = ("--launcher", "ssh", "--hosts", "n1:1,n2:1", "--on-node-loss", "fail")
    driver = grid.runs.start(*words, grid.runs.write(STAY))
    until(lambda: (grid.runs.directory / "in-0").exists() and (grid.runs.directory / "in-1").exists())
    agent, ssh = agent_on(grid, "n2")
    os.kill(ssh, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{ssh}").exists())  # the driver has taken its end
    assert driver.poll() is None
    os.kill(agent, signal.SIGKILL)
    _, stderr = driver.communicate(timeout=120)
    assert driver.returncode == 1
    last = stderr.splitlines()[-1]
    assert re.fullmatch(
        rf"scoop-hpc: error: (the agent .* had ended: )?ssh \(pid {ssh}\) on \S+ for n2 died: killed by SIGKILL", last
    )
    until(lambda: not grid.everything())


def test_agents_end_when_the_driver_is_killed(grid: Grid) -> None:
    driver = grid.runs.start("--launcher", "ssh", "--hosts", "n1:1,n2:1", grid.runs.write(STAY))
    until(lambda: (grid.runs.directory / "in-0").exists() and (grid.runs.directory / "in-1").exists())
    driver.kill()
    until(lambda: not grid.everything())
    assert not list(grid.runs.temporary.iterdir())


# an ssh to n2 that lets a test name another way to the driver
BY_PROXY = f"""#!/bin/sh
case "$*" in *" n2 "*) ;; *) exec {FAKES}/ssh "$@" ;; esac
cat >"$FAKE_SSH/input"
until [ -s "$FAKE_SSH/way" ]; do sleep 0.02; done
sed "s,^export SCOOP_HPC_DRIVER=.*,export SCOOP_HPC_DRIVER=$(cat "$FAKE_SSH/way")," "$FAKE_SSH/input" |
    {FAKES}/ssh "$@"
"""
MEETING = f"""
{MEET}
import os, sys, time
from scoop_hpc import futures

def stay(number):
    meet(number, 2)
    with open("begun", "a") as file: file.write(f"{{number}} ")
    while not os.path.exists("go"): time.sleep(0.05)
    return number

if __name__ == "__main__":
    print(list(futures.map(stay, range(2))))
"""


def test_agent_whose_connection_stays_broken_for_a_while_costs_nothing(grid: Grid) -> None:
    hosts, directory = grid.runs.directory / "hosts", grid.runs.directory
    (directory / "bin").mkdir()
    (directory / "bin" / "ssh").write_text(BY_PROXY)
    (directory / "bin" / "ssh").chmod(0o755)
    grid.runs.environ["PATH"] = f"{directory / 'bin'}{os.pathsep}{grid.runs.environ['PATH']}"
    words = ("--launcher", "ssh", "--hosts", "n1:1,n2:1", "--log-level", "info")
    driver = grid.runs.start(*words, grid.runs.write(MEETING))
    until(lambda: "SCOOP_HPC_DRIVER" in (hosts / "input").read_text() if (hosts / "input").exists() else False)
    address = re.search(r"^export SCOOP_HPC_DRIVER='?([^,'\n]*)", (hosts / "input").read_text(), re.MULTILINE)
    assert address is not None
    proxy = Proxy(int(address[1].rpartition(":")[2]))
    (hosts / "way").write_text(f"tcp://127.0.0.1:{proxy.port}")
    until(lambda: (directory / "begun").exists() and len((directory / "begun").read_text().split()) == 2)
    proxy.refuse(True)
    time.sleep(5)  # that it is broken for as long: more than twice what a dead agent has
    assert driver.poll() is None
    proxy.refuse(False)
    (directory / "go").touch()
    stdout, stderr = driver.communicate(timeout=120)
    proxy.close()
    assert (driver.returncode, stdout) == (0, "[0, 1]\n"), stderr
    assert "lost the connection to the agent on n2" in stderr
    assert "is lost" not in stderr
    assert sorted((directory / "begun").read_text().split()) == ["0", "1"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_to_the_driver_ends_all(grid: Grid, number: int, status: int) -> None:
    driver = grid.runs.start("--launcher", "ssh", "--hosts", "n1:1,n2:1", grid.runs.write(STAY))
    until(lambda: (grid.runs.directory / "in-0").exists() and (grid.runs.directory / "in-1").exists())
    driver.send_signal(number)
    assert driver.wait(120) == status
    until(lambda: not grid.everything())
    assert not list(grid.runs.temporary.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--hosts", "n1"), "only ssh starts workers on hosts by name: add --launcher ssh, or leave out the hosts n1"),
        (("--launcher", "local", "--hosts", "n[1-2]"), "only ssh starts workers on hosts by name: add --launcher ssh"),
        (("--launcher", "ssh"), "which hosts? --launcher ssh wants --hosts n1:4,n2:4 or --hostfile FILE"),
        (("--launcher", "ssh", "--hosts", "n1", "--hostfile", "f"), "--hosts and --hostfile exclude each other"),
        (("--launcher", "ssh", "--hostfile", "nofile"), "cannot read the hostfile 'nofile': No such file or directory"),
        (("--launcher", "ssh", "--hosts", "n1:x"), "cannot read the list of hosts 'n1:x'"),
    ],
)
def test_hosts_and_ssh_go_together(grid: Grid, words: tuple[str, ...], said: str) -> None:
    done = grid.runs.run(*words, grid.runs.write(SHOW))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"scoop-hpc: error: {said}")


def test_job_has_its_own_hosts(grid: Grid) -> None:
    grid.runs.environ.update(
        SLURM_JOB_ID="7", SLURM_JOB_NODELIST="n[1-2]", SLURM_TASKS_PER_NODE="1(x2)", SLURM_JOB_CPUS_PER_NODE="1(x2)"
    )
    done = grid.runs.run("--launcher", "ssh", grid.runs.write(SHOW))
    assert done.stdout.startswith("2 "), done.stderr
    done = grid.runs.run("--launcher", "ssh", "--hosts", "n3", "program.py")

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the host 'n3' is no node of this slurm job: name some of n[1-2]" in done.stderr


@pytest.mark.parametrize("words", [("run", "--launcher", "ssh"), ("--launcher", "ssh")])  # ours, and SCOOP's
def test_hosts_in_a_job_restrict_it_to_these(grid: Grid, words: tuple[str, ...]) -> None:
    grid.runs.environ.update(
        SLURM_JOB_ID="7", SLURM_JOB_NODELIST="n[1-3]", SLURM_TASKS_PER_NODE="1(x3)", SLURM_JOB_CPUS_PER_NODE="1(x3)"
    )
    (grid.runs.directory / "some").write_text("n2 2\n")
    done = grid.runs.run("--hostfile", "some", grid.runs.write(SHOW), command=words)
    assert done.stdout.startswith("2 "), done.stderr
    assert set(re.findall(r"\bn[1-3]\b", grid.calls())) == {"n2"}


def test_a_log_that_no_node_can_write_is_one_line_that_names_them(grid: Grid) -> None:
    done = grid.runs.run("--launcher", "ssh", "--hosts", "n1:1,n2:1", "--log-file", "/dev/full", grid.runs.write(SHOW))
    assert done.returncode == 3, done.stderr
    lost = "cannot write the log '/dev/full': No space left on device"
    own, others = (line for line in done.stderr.splitlines() if "log" in line)
    assert (own, others) == (f"scoop-hpc: warning: {lost}", f"scoop-hpc: warning: nodes n[1-2]: {lost}")
