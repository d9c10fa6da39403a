"""Limits on processes, threads, open files, memory and ports, checked before anything depends on them.

libzmq aborts its process where it gets no thread or no descriptor. The limits of a user (``ulimit -u``, ``-n``), of a
cgroup (``pids.max``) and of memory do not add up to a number that could be read somewhere, so they are tried.

libzmq's own limit, of 1,023 sockets in a process [zmq_ctx_set(3), ZMQ_MAX_SOCKETS], is met by no run of any size: a
broker has `LINKS` links at once, of three sockets at most, and an agent and the driver have one socket for all others.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import NoReturn

from scoop_hpc.errors import LaunchError

THREADS = 3  # of a process with sockets: its own, and libzmq's two
WORKER_THREADS = 4  # and the one that answers while a task computes
_FOR_PARENT = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}  # not for a child of it that only counts
_STACK = 1 << 16  # bytes: a thread that only waits needs no more

LINKS = 64  # of a broker to peers at once
_TRUNK = 3  # open files: the mailboxes of the socket of these links, and of the two sockets that watch it
_AGENTS_FILES = 10  # more than those for each worker and node, in an agent and in a broker


def files_of_agent(processes: int, nodes: int) -> int:
    """Return how many files an agent, or its broker, opens beside so many *processes*, its workers and the origin.

    Any node may have a connection to the broker, which has some to others.

    >>> files_of_agent(2, 1), files_of_agent(2, 2), files_of_agent(2, 1000)
    (20, 22, 1083)
    """
    return _AGENTS_FILES + 2 * (processes + 1) + nodes + _TRUNK + min(nodes - 1, LINKS)


def ports_of_node(nodes: int) -> int:
    """Return how many TCP ports a node takes of those that its kernel deals out, in a run of so many *nodes*.

    The broker listens at one, as does the driver, and each connection that is made here has one.

    >>> ports_of_node(1), ports_of_node(10_000)
    (3, 67)
    """
    return 3 + min(nodes - 1, LINKS)


def memory_of_node(processes: int, nodes: int) -> int:
    """Return the bytes that a node takes at least, with so many *processes*, its workers and the origin.

    These are what was seen of an idle run: 27 MiB of an agent, which others share, and what each has for itself. Of
    each other node the broker keeps its addresses. What programs import, and their data, is not counted.

    >>> memory_of_node(4, 1) >> 20, memory_of_node(64, 1000) >> 20
    (64, 544)
    """
    return (27 + 5 + 8 * processes << 20) + 500 * nodes


def processes_of_agent(processes: int) -> int:
    """Return how many processes and threads there are on a node of so many *processes*."""
    return THREADS + WORKER_THREADS * processes


def check_processes(count: int, remedy: str) -> None:
    """Raise LaunchError, which ends with the *remedy*, unless *count* more processes or threads may be had at once."""
    most, limit = min(_said_limits(), default=(count, ""))
    if most < count:  # however many of these are taken
        raise LaunchError(
            f"{count} more processes and threads are needed, the system has {most} in all ({limit}): {remedy}"
        )
    granted = _count_granted(count)
    if granted < count:
        raise LaunchError(
            f"{count} more processes and threads are needed, the system grants {granted} (ulimit -u, pids.max of the "
            f"cgroup, ulimit -v): {remedy}"
        )


def _said_limits() -> Iterator[tuple[int, str]]:
    """Yield the limits of all processes and threads of this machine that can be read [proc_sys_kernel(5)]."""
    for limit in ("pid_max", "threads-max"):
        with contextlib.suppress(OSError, ValueError), open(f"/proc/sys/kernel/{limit}") as file:
            yield int(file.read()), f"kernel.{limit}"


def _count_granted(count: int) -> int:
    """Let a forked child try: threads leave their heaps' address space reserved in a process, for a limit on that."""
    read, write = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_PARENT)
    try:
        pid = _fork()
        if pid == 0:
            _try_threads(count - 1, write)
    except OSError:  # not even that child
        return 0
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(write)
        with open(read, "rb") as report:
            text = report.read()
    os.waitpid(pid, 0)
    return int(text or 0)


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of libzmq's threads: they have no lock of Python's
        return os.fork()


def _try_threads(count: int, report: int) -> NoReturn:
    """Be the child: report how many processes there could be, this one among them."""
    try:
        threading.stack_size(_STACK)
        with contextlib.suppress(RuntimeError, MemoryError):
            for _ in range(count):
                threading.Thread(target=threading.Event().wait, daemon=True).start()
        os.write(report, b"%d" % threading.active_count())
    finally:
        os._exit(0)


def check_files(count: int, remedy: str) -> None:
    """Raise LaunchError, which ends with the *remedy*, unless this process may open *count* more files."""
    opened: list[int] = []
    try:
        opened += (os.open(os.devnull, os.O_RDONLY) for _ in range(count))
    except OSError as error:
        raise LaunchError(
            f"{count} more open files are needed, the system grants {len(opened)} (ulimit -n): {remedy}"
        ) from error
    finally:
        for descriptor in opened:
            os.close(descriptor)


def check_memory(needed: int, granted: int, remedy: str) -> None:
    """Raise LaunchError, which ends with the *remedy*, unless *needed* bytes are *granted*; 0: nobody says how many."""
    if 0 < granted < needed:
        raise LaunchError(
            f"{needed >> 20} MiB of memory are needed at least, the system grants {granted >> 20} MiB (memory.max of "
            f"the cgroup, or all that there is): {remedy}"
        )


def check_ports(count: int, port_range: str | None, remedy: str) -> None:
    """Raise LaunchError, which ends with the *remedy*, unless the kernel deals out *count* ports.

    *port_range* is the text of ``/proc/sys/net/ipv4/ip_local_port_range``, its first and last port [ip(7)].
    """
    words = (port_range or "").split()
    if len(words) != 2 or not all(map(str.isdecimal, words)):
        return  # not Linux: nobody says
    granted = int(words[1]) - int(words[0]) + 1
    if granted < count:
        raise LaunchError(
            f"{count} TCP ports are needed, the system deals out {granted} (net.ipv4.ip_local_port_range): {remedy}"
        )


def raise_limits() -> None:
    """Allow this process as many open files, and its user as many processes, as the system lets them."""
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC):
        soft, hard = resource.getrlimit(limit)
        if soft != hard:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(limit, (hard, hard))
