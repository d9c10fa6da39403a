"""The supervisor of one local job: a process of its own, which waits until the job may begin, and sees it through."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import replace

from scoop_hpc.errors import ScoopError
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.local import states
from scoop_hpc.schedulers.local.course import end_from_outside
from scoop_hpc.schedulers.local.dependencies import consider
from scoop_hpc.schedulers.local.elements import run_elements
from scoop_hpc.schedulers.local.processes import TICK, Signals, inherit_orphans, say
from scoop_hpc.schedulers.local.request import Request
from scoop_hpc.schedulers.local.states import Home, State
from scoop_hpc.schedulers.local.watch import see_through


class Submitter:
    """The process that waits for the submission's success: our standard error is a pipe to it until it has a NUL."""

    def __init__(self, log: str) -> None:
        self._log = log
        self.waits = True

    def let_go(self, stderr: int | None = None) -> None:
        """Tell it to go; *stderr*, or the log, gets all messages from now on."""
        new = os.dup(stderr) if stderr is not None else self._open_log()
        if self.waits:
            with contextlib.suppress(BrokenPipeError):  # it was interrupted
                os.write(2, b"\0")
            self.waits = False
        os.dup2(new, 2)
        os.close(new)

    def _open_log(self) -> int:
        try:
            return os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise ScoopError(f"cannot write {self._log!r}: {error.strerror}") from error


def supervise(home: Home, submitter: Submitter) -> None:
    """See the job in *home* through."""
    job, request = home.read(), home.read_request()
    if job is None:
        raise ScoopError(f"there is no job in {home.path!r}")
    with home.supervised() as lock:
        signals = Signals()
        inherit_orphans()
        try:
            ended = _wait(home, job, request, signals, submitter) or _run(home, job, request, signals, lock, submitter)
        except ScoopError as error:
            if submitter.waits:
                raise
            say(f"error: {error}")
            ended = replace(job, state=JobState.FAILED, reason=str(error))
        home.write(replace(ended, ended=time.time()))
        if submitter.waits:
            submitter.let_go()


def _wait(home: Home, job: State, request: Request, signals: Signals, submitter: Submitter) -> State | None:
    """Wait until the job may begin; return how it ended if it never will."""
    everybody = os.path.dirname(os.path.dirname(home.path))
    while True:
        known = {each.job_id: states.state_of(everybody, each.job_id) for each in request.dependencies}
        outlook = consider(request, known, time.time())
        if outlook.never:
            return replace(job, state=JobState.CANCELLED, reason=outlook.reason)
        if not outlook.reason:
            return None
        if outlook.reason != job.reason:
            job = replace(job, reason=outlook.reason)
            home.write(job)
        if submitter.waits:
            submitter.let_go()
        ended = end_from_outside(job, home.is_cancelled(), signals.wait(TICK))
        if ended is not None:
            return ended


def _run(home: Home, job: State, request: Request, signals: Signals, lock: int, submitter: Submitter) -> State:
    if request.array is None:
        return see_through(home, job, request, signals, submitter.let_go)
    job = replace(job, state=JobState.RUNNING, reason="", started=time.time())
    home.write(job)
    if submitter.waits:
        submitter.let_go()
    return run_elements(home, job, request.array, request, signals, lock)


def main() -> None:
    """Supervise the job in the directory that the command line names; an error during its submission is one line."""
    (path,) = sys.argv[1:]
    try:
        supervise(Home(path), Submitter(Home(path).log))
    except ScoopError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(1)
