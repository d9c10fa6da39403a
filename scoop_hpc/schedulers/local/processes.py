"""The processes of a supervisor: it learns of their ends, it ends them, and neither outlives the other."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Iterator

import psutil

TICK = 0.25  # seconds between two looks at the clock and for `cancel`
GRACE = 8.0  # seconds from SIGTERM to SIGKILL; the program of a run has five of them

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Signals:
    """The signals that this process gets, to be waited for; none of them ends it."""

    def __init__(self) -> None:
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        for number in _HEARD:
            signal.signal(number, lambda number, frame: None)

    def wait(self, timeout: float) -> list[int]:
        """Return the signals that came, but for SIGCHLD, as soon as one came or *timeout* seconds are over."""
        if not select.select([self._read], [], [], timeout)[0]:
            return []
        return [number for number in os.read(self._read, 4096) if number != signal.SIGCHLD]


@contextlib.contextmanager
def holding_signals() -> Iterator[None]:
    """Block the signals until the end: a child that is forked meanwhile must take none that is meant for its parent."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def inherit_orphans() -> None:
    """Become the parent of what the processes of this one leave behind."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Let this process get SIGTERM when its *parent* dies: it can clean up then, as it could not on SIGKILL."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the last line took effect
        os._exit(1)


def signal_group(leader: int, *numbers: int) -> None:
    """Send signals to a process group, if there is such."""
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, number)


def signal_process(pid: int, *numbers: int) -> None:
    """Send signals to a child that is not reaped yet."""
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def reap() -> dict[int, int]:
    """Reap every child that ended, those that others left to this process, too; return their exit codes by pid."""
    codes = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            codes[pid] = os.waitstatus_to_exitcode(status)
    return codes


def end_what_is_left(signals: Signals) -> None:
    """End the processes that a job left behind, as every scheduler does: SIGTERM, and SIGKILL after a while."""
    asked: set[int] = set()
    deadline = time.monotonic() + GRACE
    while True:
        reap()
        left = psutil.Process().children(recursive=True)
        now = time.monotonic()
        if not left or now > deadline + GRACE:  # not even SIGKILL ends a process that waits for a dead disk
            return
        for process in left:
            with contextlib.suppress(psutil.Error):
                if now > deadline:
                    process.kill()
                elif process.pid not in asked:
                    asked.add(process.pid)
                    process.terminate()
                    process.resume()
        signals.wait(TICK)


def say(text: str) -> None:
    """Say a line of our own in what the job prints, or to who waits for its submission."""
    print(f"scoop-hpc: {text}", file=sys.stderr, flush=True)


def _prctl(option: int, argument: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)
