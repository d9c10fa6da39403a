"""One script of a local job, from its start to its end.

What comes first of the script's end, its walltime, a `cancel` and a signal to the supervisor gives the job its end.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from scoop_hpc.errors import InputError
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.local import allocation
from scoop_hpc.schedulers.local.course import Course
from scoop_hpc.schedulers.local.processes import (
    TICK,
    Signals,
    die_with,
    end_what_is_left,
    reap,
    say,
    signal_group,
    signal_process,
)
from scoop_hpc.schedulers.local.request import Request
from scoop_hpc.schedulers.local.states import Home, State


def see_through(home: Home, job: State, request: Request, signals: Signals, on_begin: Callable[[int], None]) -> State:
    """Start the script of *job*, and see to it until nothing is left of it; return how it ended.

    *on_begin* is called with the file descriptor of the job's standard error. Raise ScoopError for what keeps the
    script from its start.
    """
    with _outputs(home, request) as (output, error):
        job = replace(job, state=JobState.RUNNING, reason="", nodes=request.nodes, started=time.time())
        home.write(job)
        process, failure = _start(home, output, error)
        on_begin(error)
    if process is None:
        say(f"error: {failure}")
        return replace(job, state=JobState.FAILED, exit_status=127, reason="its script could not be started")
    ended = _watch(home, job, process, request, signals)
    end_what_is_left(signals)
    return ended


@contextlib.contextmanager
def _outputs(home: Home, request: Request) -> Iterator[tuple[int, int]]:
    """Open the files for the job's standard output and error, which are one unless the latter has its own."""
    output = _open(home, request, request.output, "--output")
    try:
        error = output if request.error is None else _open(home, request, request.error, "--error")
        try:
            yield output, error
        finally:
            if error != output:
                os.close(error)
    finally:
        os.close(output)


def _open(home: Home, request: Request, pattern: str, option: str) -> int:
    path = request.file(pattern, (home.array or home).job_id, home.index)
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
    except (OSError, ValueError) as error:  # ValueError: a NUL
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot write the job's output {path!r}: {reason}; see {option}") from error


def _start(home: Home, output: int, error: int) -> tuple[subprocess.Popen[bytes] | None, str]:
    """Start the script by its first line: the file system that it is on may forbid to execute it.

    Return its process, or None and why there is none.
    """
    with open(home.script, encoding="utf-8", errors="surrogateescape") as file:
        interpreter = file.readline()[2:].split(None, 1)
    argv = [*(word.strip() for word in interpreter), home.script]
    environ = {**os.environ, allocation.JOB_ID: home.job_id}
    if home.index is not None:
        environ[allocation.ARRAY_INDEX] = str(home.index)
    supervisor = os.getpid()
    try:
        process = subprocess.Popen(
            argv,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=error,
            start_new_session=True,
            preexec_fn=lambda: die_with(supervisor),
        )
    except OSError as problem:
        return None, f"cannot start {argv[0]!r}: {problem.strerror}"
    return process, ""


def _watch(home: Home, job: State, process: subprocess.Popen[bytes], request: Request, signals: Signals) -> State:
    """Wait for the script's end, or bring it about; return how the job ended."""
    course = Course(job, request.walltime, request.signal, time.monotonic())
    while process.returncode is None:
        received = signals.wait(TICK)
        had_ended = course.ended is not None
        sent = course.step(not had_ended and home.is_cancelled(), received, time.monotonic())
        if course.ended is not None and not had_ended:
            say(f"{job.job_id} {course.ended.state.value}: {course.ended.reason}")
        if sent is not None and sent.to_group:
            signal_group(process.pid, *sent.numbers)
        elif sent is not None:
            signal_process(process.pid, *sent.numbers)
        process.returncode = reap().get(process.pid)
    return course.end(process.returncode)
