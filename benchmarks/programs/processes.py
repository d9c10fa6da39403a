"""What processes cost beside time, as /proc has it: their memory, their CPU time, how often they wake."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def below(pid: int) -> list[int]:
    """Return the processes that *pid* has started, and those that they have [proc_pid_task(5), children]."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            found += [child, *below(child)]
    return found


def parent(pid: int) -> int:
    """Return the process that has started *pid* [proc_pid_status(5)]."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("PPid:"))


def others(root: int) -> list[int]:
    """Return *root* and all below it, but for this process."""
    return [pid for pid in (root, *below(root)) if pid != os.getpid()]


def named(name: str, pids: Iterable[int]) -> list[int]:
    """Return those of *pids* that ps(1) shows by this *name*."""
    return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text() == f"{name}\n"]


def broker_among(pids: Iterable[int]) -> int:
    """Return the broker of scoop_hpc among *pids*."""
    for pid in named("scoop-broker", pids):
        return pid
    raise SystemExit("no broker where one should be")


def memory(pids: Iterable[int], fields: tuple[str, ...]) -> int:
    """Return the bytes that *fields* of the processes' smaps_rollup add up to [proc_pid_smaps(5)]."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(fields))


def own_and(broker: int | None) -> list[int]:
    """Return the processes that hold what is queued."""
    return [os.getpid()] if broker is None else [os.getpid(), broker]


def computed(pids: Iterable[int]) -> float:
    """Return the seconds that the processes have had a core [proc(5): schedstat of each thread, in ns]."""
    return sum(int(text.split()[0]) for pid in pids for text in _of_threads(pid, "schedstat")) / 1e9


def wakes(pid: int) -> int:
    """Return how often the threads of a process have gone to sleep by themselves [proc_pid_status(5)]."""
    lines = (line for text in _of_threads(pid, "status") for line in text.splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:"))


def _of_threads(pid: int, name: str) -> list[str]:
    return [(thread / name).read_text() for thread in Path(f"/proc/{pid}/task").iterdir()]
