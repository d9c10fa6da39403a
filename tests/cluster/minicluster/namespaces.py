"""Make a host's namespaces, go into them, and see from outside what runs in them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minicluster.state import ClusterError


@dataclass(frozen=True)
class Process:
    """A process of a host: its pid in there, its pid on this machine, its title (comm) and arguments."""

    pid: int
    outer_pid: int
    title: str
    argv: tuple[str, ...]


def boot_id() -> str:
    """Return the name of this machine's present boot: pids of another one mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Return when *pid* started, in the kernel's ticks; None once it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])  # proc(5), /proc/pid/stat, field 22


def spawn(argv: Sequence[str], stdin: int, log: str, env: Mapping[str, str]) -> int:
    """Start *argv* as PID 1 of new namespaces, in a session of its own; return the pid of the process above it."""
    unshare = ["/usr/bin/unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--", *argv]
    files = [
        (os.POSIX_SPAWN_DUP2, stdin, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(unshare[0], unshare, env, file_actions=files, setsid=True)


def child(pid: int) -> int | None:
    """Return the one child of *pid*, None as long as there is none; raise ClusterError if *pid* is gone."""
    if start_time(pid) is None:
        raise ClusterError("namespaces cannot be made here: unshare(1) ended; see the host's init.log")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def enter_argv(pid: int, argv: Sequence[str], cwd: str, user: str | None = None) -> list[str]:
    """Return the command that runs *argv* beside PID 1 *pid*; it dies with whoever runs it."""
    who = [f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
    return [
        *("nsenter", f"--target={pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--"),
        *("setpriv", "--pdeathsig=KILL", *who, "--"),
        *("env", f"--chdir={cwd}", "--", *argv),
    ]


def processes(pid: int) -> list[Process]:
    """Return what runs in the PID namespace of *pid*, without PID 1 itself and without zombies."""
    namespace = os.stat(f"/proc/{pid}/ns/pid").st_ino
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == pid:
            continue
        try:
            if os.stat(f"/proc/{entry}/ns/pid").st_ino == namespace:
                found.append(_process(int(entry)))
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:  # PID 1 of a locked-down machine: whom root may not look at is no process of ours
            continue
    return [process for process in found if process.argv]


def _process(outer_pid: int) -> Process:
    fields = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{outer_pid}/status").read_text().splitlines() if "\t" in line
    )
    argv = Path(f"/proc/{outer_pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    return Process(int(fields["NSpid"].split()[-1]), outer_pid, fields["Name"], tuple(argv))
