"""`python -m benchmarks.nodes 4 16 64`: what a run on many nodes costs, in a real Slurm of namespaces on this machine.

As root, on Debian: the cluster is that of ``tests/cluster``. All nodes share this machine's cores, so starting Python
on them takes time in proportion to their number, whoever does it: that is why srun's own time stands beside. For many
nodes the kernel's table of neighbours is made larger for the time being.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLUSTER = ROOT / "tests" / "cluster"
JOB = ROOT / "benchmarks" / "programs" / "nodes_job.py"
NEIGHBOURS = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")  # arp(7)
MARK = "SCOOP_HPC_BENCHMARK"  # in the environment of a measurement's processes
MOST = 250  # nodes
WORKERS = 2  # on each node
PERFECT = 10.0  # seconds: what `programs.nodes_program` has each worker sleep
QUIET = 15.0  # seconds at rest, until the connections between brokers are closed
WINDOW = 10.0  # seconds at rest in which the brokers' time is measured


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured with one number of nodes."""

    nodes: int
    srun: float  # seconds, to start Python on all nodes
    start: float  # seconds, up to the first result
    mapped: float  # seconds, for what takes `PERFECT` at least
    end: float  # seconds, from the last result to the end of the command
    files: int  # open in the broker that has most, at work
    files_at_rest: int  # in that one
    resting: float  # seconds of a core, of all brokers in a second at rest

    def line(self) -> str:
        """Return the line of the table."""
        return (
            f"{self.nodes:5}  {self.srun:6.1f}  {self.start:8.1f}  {PERFECT / self.mapped:10.3f}  {self.end:7.1f}"
            f"  {self.files:10}  {self.files_at_rest:7}  {100 * self.resting / self.nodes:14.3f}"
        )


HEADER = "nodes  srun, s  start, s  efficiency  end, s  files,work  at rest  brokers, % of a core per node"


def minicluster(*words: str) -> list[str]:
    return [sys.executable, "-m", "minicluster", *words]


@contextmanager
def _neighbours(nodes: int) -> Iterator[None]:
    """Let the kernel know so many *nodes* from each other's side: two entries for each pair."""
    before = NEIGHBOURS.read_text()
    NEIGHBOURS.write_text(str(max(int(before), 2 * nodes**2)))
    try:
        yield
    finally:
        NEIGHBOURS.write_text(before)


@contextmanager
def hold(directory: Path, nodes: int) -> Iterator[None]:
    """Hold a Slurm of so many *nodes*."""
    argv = minicluster("--dir", str(directory), "hold", f"--nodes={nodes}", f"--cpus={WORKERS}", "--memory=1024")
    held = subprocess.Popen(argv, cwd=CLUSTER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert held.stdin is not None
    assert held.stdout is not None
    try:
        if not held.stdout.readline():
            raise SystemExit(f"no cluster of {nodes} nodes")
        yield
    finally:
        held.stdin.close()
        held.wait()


def brokers(mark: str) -> list[Path]:
    """Return the processes of brokers with this *mark* in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            is_broker = process.name.isdecimal() and (process / "comm").read_text() == "scoop-broker\n"
            if is_broker and f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(process)
        except OSError:  # it has ended
            continue
    return found


def files(process: Path) -> int:
    """Return how many files a process has opened."""
    return len(list((process / "fd").iterdir()))


def computed(processes: Sequence[Path]) -> float:
    """Return the seconds that *processes* have had a core [proc(5): /proc/pid/schedstat, in ns]."""
    threads = (thread for process in processes for thread in (process / "task").iterdir())
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def measure(directory: Path, nodes: int) -> Costs:
    """Return what a run on so many *nodes* of the cluster in *directory* costs."""
    mark = f"{os.getpid()}-{nodes}"
    told = directory / "shared" / f"told-{mark}"
    salloc = ["salloc", "--quiet", f"--nodes={nodes}", f"--ntasks-per-node={WORKERS}", "--time=30"]
    job = [*salloc, sys.executable, str(JOB), str(nodes), str(WORKERS * nodes), str(told)]
    words = ["env", f"{MARK}={mark}", f"PYTHONPATH={ROOT}", *job]
    argv = minicluster("--dir", str(directory), "run", "head", "--", *words)
    said: dict[str, float] = {}
    at_work = at_rest = 0
    resting = 0.0
    with subprocess.Popen(argv, cwd=CLUSTER, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            word, value = line.split()
            said[word] = float(value)
            print(f"{nodes} nodes: {word} {value}", file=sys.stderr, flush=True)
            if word != "mapped":
                continue
            found = brokers(mark)
            if len(found) != nodes:
                raise SystemExit(f"{len(found)} brokers are found on {nodes} nodes")
            busiest = max(found, key=files)
            at_work = files(busiest)
            time.sleep(QUIET)
            at_rest = files(busiest)
            before = computed(found)
            time.sleep(WINDOW)
            resting = (computed(found) - before) / WINDOW
            told.touch()
    if running.returncode:
        raise SystemExit(f"the run on {nodes} nodes ended with status {running.returncode}")
    start, end = said["first"] - said["began"], said["ended"] - said["last"]
    return Costs(nodes, said["srun"], start, said["mapped"], end, at_work, at_rest, resting)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table for the numbers of nodes in *argv*."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nodes", description=__doc__)
    parser.add_argument("nodes", type=int, nargs="*", default=[4, 16, 64], help="of each run (4 16 64)")
    sizes = parser.parse_args(argv).nodes
    for nodes in sizes:
        if not 1 <= nodes <= MOST:
            parser.exit(2, f"benchmarks.nodes: {nodes} nodes: it takes 1 to {MOST}\n")
    if os.geteuid() != 0:
        parser.exit(2, "benchmarks.nodes: its nodes are network namespaces, which only root can make: run it as root\n")
    directory = Path(f"/run/scoop-bench-{os.getpid()}")
    with _neighbours(max(sizes)), hold(directory, max(sizes)):
        rows = [measure(directory, nodes) for nodes in sizes]
    print(HEADER, *(row.line() for row in rows), sep="\n")


if __name__ == "__main__":
    main()
