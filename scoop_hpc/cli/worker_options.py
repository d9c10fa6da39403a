"""The options of `run` that processes on all nodes keep, beside their work: niceness, the log, a profile, a trace.

The driver hands it to the agents as a variable of their environment, which ends there: programs do not see it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import asdict

from scoop_hpc.complaints import say
from scoop_hpc.events import Observers
from scoop_hpc.run.watching import log
from scoop_hpc.run.watching.log import LogFile, LogStream, Write
from scoop_hpc.run.watching.once import Lost, Once
from scoop_hpc.run.watching.trace import TraceWriter, Track
from scoop_hpc.shares.share import ALL_GPUS, NO_BINDING, Wanted

VARIABLE = "SCOOP_HPC_WORKER_OPTIONS"


class WorkerOptions(Struct, frozen=True):
    """The options that the agents, and the processes that they start, keep."""

    nice: int = 0  # added to the niceness that it has
    log_level: str = "info"
    log_file: str = ""  # instead of stderr
    log_events: bool = False  # the log tells of the whole run, not only what programs say by scoop.logger
    profile: str = ""  # directory for what cProfile finds
    trace: float = 0.0  # when the run began, by time.time; 0: no trace is wanted
    bind: str = NO_BINDING  # the workers, to their shares of the CPUs
    gpus_per_worker: str = ""  # a number, or "all" that there are; empty: its share
    counted: tuple[str, ...] = ()  # variables that hold how many threads a worker may have, which the user has not set


def encode(options: WorkerOptions) -> str:
    """Return *options* as the text of an environment variable.

    >>> decode(encode(WorkerOptions(nice=5))).nice
    5
    """
    return json.dumps(asdict(options))  # unlike msgspec's, it takes a path that is not UTF-8


def decode(text: str) -> WorkerOptions:
    """Return the options in *text*; an empty one stands for the usual ones."""
    if not text:
        return WorkerOptions()
    values = json.loads(text)
    return WorkerOptions(**{**values, "counted": tuple(values["counted"])})  # JSON has no tuples


def wanted(options: WorkerOptions) -> Wanted:
    """Return how *options* want a node dealt out to its workers.

    >>> wanted(WorkerOptions(gpus_per_worker="2")).gpus_per_worker
    2
    >>> wanted(WorkerOptions(gpus_per_worker="all")).deals_gpus
    False
    """
    if options.gpus_per_worker == ALL_GPUS:
        return Wanted(options.bind, deals_gpus=False)
    return Wanted(options.bind, gpus_per_worker=int(options.gpus_per_worker) if options.gpus_per_worker else None)


def run_observers(options: WorkerOptions, node: str, process: str, once: Once, write: Write | None = None) -> Observers:
    """Return the observers of a *process* of the run, such as "broker 3": its log, if the user wants one.

    *write* takes lines where the log file cannot be opened, or there is none; without it, the standard error does.
    By *once* it is said that the file is lost.
    """
    if not options.log_events:
        return Observers()
    stream = write or LogStream().write
    warn = functools.partial(once.warn if process == "driver" else once.note, Lost.LOG)
    if options.log_file:
        try:
            stream = LogFile(options.log_file, warn).write
        except OSError as error:
            warn(f"cannot write the log {options.log_file!r}: {error.strerror}")
    observer = log.make_observer(options.log_level, node, process, stream)
    if process == "driver" and not options.log_file:
        observer = log.without_what_is_said(observer, options.log_level)
    return Observers([observer])


@contextlib.contextmanager
def trace_to(options: WorkerOptions, observers: Observers, descriptor: int, track: Track) -> Iterator[None]:
    """Let *observers* trace what their process does meanwhile, on a *track*, if that is wanted."""
    if not options.trace or descriptor < 0:
        yield
        return
    writer = TraceWriter(descriptor, track, options.trace)
    observers.add(writer)
    observers.of_tasks = True
    try:
        yield
    finally:
        writer.close()


def keeping(options: WorkerOptions, worker: str, node: str, main: Callable[[], int], once: Once) -> Callable[[], int]:
    """Return *main* of the *worker* such that it keeps *options*; call the result in the worker's own process.

    By *once* it is said what files are lost.
    """

    def work() -> int:
        try:
            os.nice(options.nice)
        except OSError as error:
            say(f"error: worker {worker} on {node}: cannot have --nice {options.nice}: {error.strerror}")
            sys.exit(2)
        _open_log(options, worker, node, once)
        if not options.profile:
            return main()
        return _profiled(main, os.path.join(options.profile, f"worker-{worker}.prof"), once)

    return work


def _open_log(options: WorkerOptions, worker: str, node: str, once: Once) -> None:
    """Make the logger `scoop` print as SCOOP's does: with the time, and with who says it."""
    logger = logging.getLogger("scoop")
    handler: logging.Handler = logging.StreamHandler()
    if options.log_file:
        try:
            handler = _LogFile(options.log_file, once)
        except OSError as error:
            once.note(Lost.LOG, f"cannot write the log {options.log_file!r}: {error.strerror}")
    handler.setFormatter(logging.Formatter(f"[%(asctime)s] {node} {worker} %(levelname)s %(module)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(options.log_level.upper())
    logger.propagate = False  # the program's own logging.basicConfig would print it twice


class _LogFile(logging.FileHandler):
    """A log that has it said, once, that it cannot be written."""

    def __init__(self, path: str, once: Once) -> None:
        super().__init__(path)
        self._once = once

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self.setLevel(logging.CRITICAL + 1)
            self._once.note(Lost.LOG, f"cannot write the log {self.baseFilename!r}: {error.strerror}")
        else:
            super().handleError(record)


def _profiled(main: Callable[[], int], path: str, once: Once) -> int:
    """Run *main* under cProfile, and write what that finds to the file *path*."""
    import cProfile  # noqa: PLC0415  it takes a few milliseconds, and few want it

    profile = cProfile.Profile()
    try:
        status: int = profile.runcall(main)
        return status
    finally:
        try:
            profile.dump_stats(path)
        except OSError as error:
            once.note(Lost.PROFILE, f"cannot write the profile {path!r}: {error.strerror}")
