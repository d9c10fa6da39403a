"""The log of a run: the observer that tells events to Python's `logging`, one line each.

::

    driver ------------------------> standard error, or the log file
    agent ----Output--> driver ----> the same           where it cannot write the log file itself
    broker, worker --> agent ------> the same           by their standard error, as all that they print

A line is written whole, and never waited for: where nobody reads the standard error, lines are left out, and counted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
from collections.abc import Callable

from scoop_hpc.events import Event, Observer, RunFailing, Warned

_ROOT = "scoop_hpc"  # the logger; those of the kinds of processes are below it: scoop_hpc.worker

Write = Callable[[bytes], None]


def make_observer(level: str, node: str, process: str, write: Write) -> Observer:
    """Return the observer that lets *write* have the lines of this *process*, such as "worker 3.0", on *node*.

    The handler takes the place of that of the process which this one was forked from.
    """
    root = logging.getLogger(_ROOT)
    root.handlers = [_Lines(write)]
    root.handlers[0].setFormatter(logging.Formatter(f"[%(asctime)s] {node} {process} %(levelname)s: %(message)s"))
    root.setLevel(level.upper())
    root.propagate = False  # the program's own logging.basicConfig would print it twice
    logger = logging.getLogger(f"{_ROOT}.{process.partition(' ')[0]}")

    def log(event: Event) -> None:
        if logger.isEnabledFor(event.level):
            logger.log(event.level, "%s", " ".join(str(event).split("\n")))

    return log


def without_what_is_said(observer: Observer, level: str) -> Observer:
    """Leave out, of the driver's lines, what it says on the standard error anyway; for a log that is there as well.

    A *level* that shows the course of the run shows these, too, each at its time.
    """
    if logging.getLevelName(level.upper()) < logging.WARNING:
        return observer
    return lambda event: None if isinstance(event, (Warned, RunFailing)) else observer(event)


class _Lines(logging.Handler):
    """Hands lines to *write*, as bytes."""

    def __init__(self, write: Write) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(f"{self.format(record)}\n".encode(errors="backslashreplace"))


class LogFile:
    """A file that the processes of a run append lines to; *warn* says if it is lost. Raises OSError if it cannot be
    opened."""

    def __init__(self, path: str, warn: Callable[[str], None]) -> None:
        self._path = path
        self._warn = warn
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._works = True

    def write(self, line: bytes) -> None:
        """Append *line*; have it said if that cannot be."""
        if self._works:
            try:
                os.write(self._descriptor, line)
            except OSError as error:
                self._works = False
                self._warn(f"cannot write the log {self._path!r}: {error.strerror}")


class LogStream:
    """The standard error, or another *descriptor*, as a log."""

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor
        self._left_out = 0

    def write(self, line: bytes) -> None:
        """Write *line*, unless its reader has left no room for it."""
        with contextlib.suppress(OSError, ValueError):  # it is closed: then nobody can be told
            if not select.select([], [self._descriptor], [], 0)[1]:
                self._left_out += 1
                return
            if self._left_out:
                line = b"(%d lines of the log are left out here)\n" % self._left_out + line
                self._left_out = 0
            os.write(self._descriptor, line)
