"""What `run` asks of every worker's process, beside its work: niceness, a log, a profile.

The driver hands it to the agents as a variable of their environment, which ends there: programs do not see it.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

VARIABLE = "SCOOP_HPC_WORKER_OPTIONS"
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker behaves."""

    nice: int = 0  # added to the niceness that it has
    log_level: str = "info"
    log_file: str = ""  # instead of stderr
    profile: str = ""  # directory for what cProfile finds


def encode(options: WorkerOptions) -> str:
    """Return *options* as the text of an environment variable.

    >>> decode(encode(WorkerOptions(nice=5))).nice
    5
    """
    return json.dumps(asdict(options))  # unlike msgspec's, it takes a path that is not UTF-8


def decode(text: str) -> WorkerOptions:
    """Return the options in *text*; an empty one stands for the usual ones."""
    return WorkerOptions(**json.loads(text)) if text else WorkerOptions()


def keeping(options: WorkerOptions, worker: str, node: str, main: Callable[[], int]) -> Callable[[], int]:
    """Return *main* of the *worker* such that it keeps *options*. To be called in the worker's own process."""

    def work() -> int:
        try:
            os.nice(options.nice)
            _open_log(options, worker, node)
        except OSError as error:
            sys.exit(
                _say(f"worker {worker} on {node}: {error.strerror}, with nice={options.nice} log={options.log_file!r}")
            )
        return _profiled(main, os.path.join(options.profile, f"worker-{worker}.prof")) if options.profile else main()

    return work


def _open_log(options: WorkerOptions, worker: str, node: str) -> None:
    """Make the logger `scoop` print as SCOOP's does: with the time, and with who says it."""
    logger = logging.getLogger("scoop")
    handler = _LogFile(options.log_file) if options.log_file else logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"[%(asctime)s] {node} {worker} %(levelname)s %(module)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(options.log_level.upper())
    logger.propagate = False  # the program's own logging.basicConfig would print it twice


class _LogFile(logging.FileHandler):
    """A log that says once, in one line, that it cannot be written."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self.setLevel(logging.CRITICAL + 1)
            _say(f"cannot write the log {self.baseFilename!r}: {error.strerror}")
        else:
            super().handleError(record)


def _profiled(main: Callable[[], int], path: str) -> int:
    """Run *main* under cProfile, and write what that finds to the file *path*."""
    profile: Any = importlib.import_module("cProfile").Profile()  # a few milliseconds, where it is needed only
    try:
        status: int = profile.runcall(main)
        return status
    finally:
        try:
            profile.dump_stats(path)
        except OSError as error:
            _say(f"cannot write the profile {path!r}: {error.strerror}")


def _say(text: str) -> int:
    print(f"scoop-hpc: error: {text}", file=sys.stderr, flush=True)
    return 2
