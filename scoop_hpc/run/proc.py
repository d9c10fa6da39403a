"""Read in /proc the state of a process, and what tells it from all others."""

from __future__ import annotations

import contextlib
import os


def is_stopped(pid: int) -> bool:
    """Return whether a process has been stopped [signal(7), SIGSTOP]: it is not dead, and does not go on.

    One that a debugger holds (``t``, not ``T``) is not, nor is a worker that computes for hours and answers nobody.
    """
    return process_state(pid) == "T"


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
