"""Read in /proc the state of a process, what it uses, and what tells it from all others."""

from __future__ import annotations

import contextlib
import os

from msgspec import Struct

_TICKS = os.sysconf("SC_CLK_TCK")  # in a second
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Usage(Struct, frozen=True):
    """The state of a process, and what it uses."""

    letter: str = ""  # of its state [proc_pid_stat(5)]; empty where it cannot be had
    cpu: float = 0.0  # seconds, of it and of the children that it has waited for
    memory: int = 0  # bytes that are resident

    @property
    def is_stopped(self) -> bool:
        """True if it has been stopped [signal(7), SIGSTOP]: see `is_stopped`."""
        return self.letter == "T"


def is_stopped(pid: int) -> bool:
    """Return whether a process has been stopped [signal(7), SIGSTOP]: it is not dead, and does not go on.

    One that a debugger holds (``t``, not ``T``) is not, nor is a worker that computes for hours and answers nobody.
    """
    return process_state(pid) == "T"


def process_state(pid: int) -> str:
    """Return the letter of a process's state [proc_pid_stat(5)], empty where it cannot be had."""
    return (_stat(pid) or ("",))[0]


def usage(pid: int) -> Usage:
    """Return the state of a process and what it uses [proc_pid_stat(5)]."""
    stat = _stat(pid)
    if stat is None:
        return Usage()
    return Usage(stat[0], sum(map(int, stat[11:15])) / _TICKS, int(stat[21]) * _PAGE)


def identity(pid: int) -> str:
    """Return what tells a process from those of other machines and other times; empty where it cannot be had."""
    stat = _stat(pid)
    with contextlib.suppress(OSError):
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        if stat is not None:
            return f"{boot} {os.readlink('/proc/self/ns/pid')} {pid} {stat[19]}"
    return ""


def is_gone(pid: int, known: str) -> bool:
    """Return whether the process *pid*, *known* by its `identity`, has surely ended.

    That can only be told of processes that would be seen here: those of other machines, of other pid namespaces, and of
    the time before the machine was started last may go on as far as is known.
    """
    if known.split()[:2] != identity(os.getpid()).split()[:2] or not known:
        return False
    found = identity(pid)
    return found != known or process_state(pid) == "Z" if found else not os.path.exists(f"/proc/{pid}")


def is_of_another_boot(known: str) -> bool:
    """Return whether the process *known* by its `identity` is of another machine, or was before the last reboot."""
    return known.split()[:1] != identity(os.getpid()).split()[:1]


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the third on: the second may contain anything."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].decode().split()
    return None
