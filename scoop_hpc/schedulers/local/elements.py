"""The jobs of a local array: each has a supervisor of its own, forked from the array's, so many of them at a time.

Should the array's supervisor be killed, the others get SIGTERM, and end their jobs.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections import deque
from dataclasses import replace
from typing import NoReturn

from scoop_hpc.errors import ScoopError
from scoop_hpc.fields.array import JobArray
from scoop_hpc.files import private
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.local.course import end_from_outside
from scoop_hpc.schedulers.local.processes import (
    TICK,
    Signals,
    die_with,
    end_what_is_left,
    holding_signals,
    inherit_orphans,
    reap,
    say,
    signal_process,
)
from scoop_hpc.schedulers.local.request import Request
from scoop_hpc.schedulers.local.states import Home, State
from scoop_hpc.schedulers.local.watch import see_through


def run_elements(home: Home, job: State, array: JobArray, request: Request, signals: Signals, own_lock: int) -> State:
    """Run the jobs of *array* in their order; return how the whole, *job*, ended. *own_lock* is its supervisor's."""
    left = deque(array.indices)
    running: set[int] = set()
    received: list[int] = []
    ended: State | None = None
    while True:
        running.difference_update(reap())
        if ended is None:
            ended = end_from_outside(job, home.is_cancelled(), received)
            if ended is not None and ended.state is not JobState.CANCELLED:  # of that, they know by themselves
                for pid in running:
                    signal_process(pid, signal.SIGTERM)
        if ended is not None:
            left.clear()
        elif left and len(running) < request.at_once:
            element = home.element(left.popleft())
            if not element.is_cancelled():
                try:
                    running.add(_begin(element, job, request, own_lock))
                except ScoopError as error:  # a full disk, most likely: those that run may go on
                    ended = replace(job, state=JobState.FAILED, reason=str(error))
        if not running and not left:
            break
        received = signals.wait(0 if left and len(running) < request.at_once else TICK)
    end_what_is_left(signals)
    return ended or _sum_up(home, job, array)


def _sum_up(home: Home, job: State, array: JobArray) -> State:
    states = [home.element(index).current_within(job).state for index in array.indices]
    bad = len(states) - states.count(JobState.COMPLETED)
    if bad:
        return replace(job, state=JobState.FAILED, reason=f"{bad} of its {len(states)} jobs did not succeed")
    return replace(job, state=JobState.COMPLETED)


def _begin(element: Home, whole: State, request: Request, whole_lock: int) -> int:
    """Leave a supervisor behind; return its pid. The lock is taken for it: nobody shall find its job without one."""
    private.make_private(element.path)
    with element.supervised():
        job = State(element.job_id, whole.name, JobState.PENDING, reason="it is about to begin")
        element.write(job)
        array_supervisor = os.getpid()
        with holding_signals():
            try:
                pid = os.fork()
            except OSError as error:
                raise ScoopError(f"cannot start a supervisor for {job.job_id}: {error.strerror}") from error
            if not pid:
                os.close(whole_lock)  # else it would be held for as long as this process lives
                _supervise(element, job, request, array_supervisor)
    return pid


def _supervise(element: Home, job: State, request: Request, array_supervisor: int) -> NoReturn:
    try:
        die_with(array_supervisor)
        inherit_orphans()
        signals = Signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        try:
            ended = see_through(element, job, request, signals, _take_as_stderr)
        except ScoopError as error:
            say(f"error: {job.job_id}: {error}")
            ended = replace(job, state=JobState.FAILED, reason=str(error))
        element.write(replace(ended, ended=time.time()))
    except BaseException:  # nothing may get back into the loop over the array's jobs, which is the parent's
        traceback.print_exc()
    finally:
        os._exit(0)


def _take_as_stderr(descriptor: int) -> None:
    os.dup2(descriptor, 2)
