"""The supervisor of one local job: a process of its own, which sees the job's script through.

What comes first of the script's end, its walltime, a `cancel` and a signal to the supervisor gives the job its end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

import psutil

from scoop_hpc.errors import ScoopError
from scoop_hpc.jobspec import JobState
from scoop_hpc.localjobs.states import Home, State
from scoop_hpc.quantities import format_walltime

_TICK = 0.25  # seconds between two looks at the clock and for `cancel`
_GRACE = 5.0  # seconds from SIGTERM to SIGKILL
_GRACE_OF_WALLTIME = 10.0
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)


class Signals:
    """The signals that this process gets, to be waited for; none of them ends it."""

    def __init__(self) -> None:
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda number, frame: None)

    def wait(self, timeout: float) -> list[int]:
        """Return the signals that came, but for SIGCHLD, as soon as one came or *timeout* seconds are over."""
        if not select.select([self._read], [], [], timeout)[0]:
            return []
        return [number for number in os.read(self._read, 4096) if number != signal.SIGCHLD]


def supervise(home: Home, told: int, walltime: int) -> None:
    """See the job in *home* through; write a NUL to the file descriptor *told* once it has begun."""
    job = home.read()
    if job is None:
        raise ScoopError(f"there is no job in {home.path!r}")
    with home.supervised():
        signals = Signals()
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what the script's processes leave behind is this process' to end
        job = replace(job, state=JobState.RUNNING, started=time.time())
        home.write(job)
        process = _start(home.script)
        os.write(told, b"\0")
        os.close(told)
        if process is None:
            ended = replace(job, state=JobState.FAILED, exit_status=127, reason="its script could not be started")
        else:
            ended = _watch(home, job, process, walltime, signals)
            _end_what_is_left(signals)
        home.write(replace(ended, ended=time.time()))


def _start(script: str) -> Optional[subprocess.Popen[bytes]]:
    """Start *script* by its first line: the file system that it is on may forbid to execute it."""
    with open(script, encoding="utf-8", errors="surrogateescape") as file:
        interpreter = file.readline()[2:].split(None, 1)
    argv = [*(word.strip() for word in interpreter), script]
    supervisor = os.getpid()

    def die_with_supervisor() -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # it lets the driver leave nothing behind; SIGKILL would not
        if os.getppid() != supervisor:  # it died before the last line took effect
            os._exit(1)

    try:
        return subprocess.Popen(argv, start_new_session=True, preexec_fn=die_with_supervisor)
    except OSError as error:
        _say(f"error: cannot start {argv[0]!r}: {error.strerror}")
        return None


def _watch(home: Home, job: State, process: subprocess.Popen[bytes], walltime: int, signals: Signals) -> State:
    """Wait for the script's end, or bring it about; return what is to be said of it."""
    over = time.monotonic() + walltime if walltime else float("inf")
    ended: Optional[State] = None
    kill_at = float("inf")
    while _reap(process) is None:
        received = signals.wait(_TICK)
        now = time.monotonic()
        if ended is None:
            ended = _end_from_outside(home, job, walltime if now > over else 0, received)
            if ended is not None:
                kill_at = now + (_GRACE_OF_WALLTIME if ended.state is JobState.TIMEOUT else _GRACE)
                _say(f"{job.job_id} {ended.state.value}: {ended.reason}")
                _signal_group(process.pid, signal.SIGTERM, signal.SIGCONT)
        elif now > kill_at:
            _signal_group(process.pid, signal.SIGKILL)
    code = process.returncode
    if ended is not None:
        return replace(ended, exit_status=_as_in_a_shell(code))
    reason = f"ended by {signal.Signals(-code).name}" if code < 0 else ""
    state = JobState.FAILED if code else JobState.COMPLETED
    return replace(job, state=state, exit_status=_as_in_a_shell(code), reason=reason)


def _end_from_outside(home: Home, job: State, exceeded: int, received: Sequence[int]) -> Optional[State]:
    """Return how the job ends if it is to be ended now. *exceeded* is its walltime if that is over, else 0."""
    if os.path.exists(home.cancel):
        return replace(job, state=JobState.CANCELLED, reason="cancelled")
    if exceeded:
        return replace(job, state=JobState.TIMEOUT, reason=f"its walltime of {format_walltime(exceeded)} is over")
    if received:
        name = signal.Signals(received[0]).name
        return replace(job, state=JobState.FAILED, reason=f"the job's supervisor was ended by {name}")
    return None


def _as_in_a_shell(code: int) -> int:
    return code if code >= 0 else 128 - code


def _signal_group(leader: int, *numbers: int) -> None:
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, number)


def _reap(process: Optional[subprocess.Popen[bytes]]) -> Optional[int]:
    """Reap every child that ended, those that *process* left to this one, too; return the exit status of *process*."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            if process is not None and pid == process.pid:
                process.returncode = os.waitstatus_to_exitcode(status)
    return None if process is None else process.returncode


def _end_what_is_left(signals: Signals) -> None:
    """End the processes that the script left behind, as every scheduler does: SIGTERM, and SIGKILL after a while."""
    asked: set[int] = set()
    deadline = time.monotonic() + _GRACE
    while True:
        _reap(None)
        left = psutil.Process().children(recursive=True)
        now = time.monotonic()
        if not left or now > deadline + _GRACE:  # not even SIGKILL ends a process that waits for a dead disk
            return
        for process in left:
            with contextlib.suppress(psutil.Error):
                if now > deadline:
                    process.kill()
                elif process.pid not in asked:
                    asked.add(process.pid)
                    process.terminate()
                    process.resume()
        signals.wait(_TICK)


def _prctl(option: int, argument: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


def _say(text: str) -> None:
    print(f"scoop-hpc: {text}", file=sys.stderr, flush=True)


def main(argv: Sequence[str]) -> None:
    """Supervise; what goes wrong is told to the submitter, or, once the job has begun, said in the job's output."""
    path, told, walltime = argv
    try:
        supervise(Home(path), int(told), int(walltime))
    except ScoopError as error:
        try:
            os.write(int(told), str(error).encode())
        except OSError:
            _say(f"error: {error}")
        sys.exit(1)
