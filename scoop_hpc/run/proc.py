"""Find processes that have been stopped [signal(7), SIGSTOP] for too long: they are not dead, and do not go on.

The time is counted in looks. Where a scheduler suspends a whole job, or a user a whole run by Ctrl-Z, nobody looks
meanwhile, and nobody is taken for hung when all go on. A process that a debugger holds (``t``, not ``T``) is not
stopped, nor is a worker that computes for hours and answers nobody.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable

LOOK = 2.0  # seconds from one look to the next
LOOKS = 10  # in a row, until a stopped process counts as one that will not go on
UNANSWERED = 30  # looks in a row, until a process that runs and should answer counts as hung


class Stopped:
    """Counts the looks that found a process stopped; *state_of* is `process_state` but in tests."""

    def __init__(self, state_of: Callable[[int], str]) -> None:
        self._state_of = state_of
        self._seen: dict[int, int] = {}

    def look(self, pids: Iterable[int]) -> list[int]:
        """Look at the processes *pids*; return those that have been stopped for too long."""
        self._seen = {pid: self._seen.get(pid, 0) + 1 for pid in pids if self._state_of(pid) == "T"}
        return [pid for pid, looks in self._seen.items() if looks >= LOOKS]


def process_state(pid: int) -> str:
    """Return the letter of a process's state [proc_pid_stat(5)], empty where it cannot be had."""
    return (_stat(pid) or ("",))[0]


def identity(pid: int) -> str:
    """Return what tells a process from those of other machines and other times; empty where it cannot be had."""
    stat = _stat(pid)
    with contextlib.suppress(OSError):
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        if stat is not None:
            return f"{boot} {os.readlink('/proc/self/ns/pid')} {pid} {stat[19]}"
    return ""


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the third on: the second may contain anything."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].decode().split()
    return None
