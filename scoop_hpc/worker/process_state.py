"""The state of the origin's process: the program has one, and the tasks that run there have another.

::

    program --to_tasks--> tasks --to_program--> program

Other workers run tasks only. In the origin a task must not move the program into its scratch directory, draw from its
random numbers, or leave it its warnings filters; and a task that waits while the program goes on must find its own
directory again, as tasks must find what the initializer of an Executor has set. So each side gets back what it had, and
tasks get of each part of the state what the program has changed since. Their random numbers are a stream of their own.

This is done where the process changes sides: once around all tasks that run while the program waits, and around each
that runs at once where its result is asked for. To see that nothing has changed takes 1.5 us a side, which bounds the
parts. Not among them are what can only be read by setting it for all threads (the umask), what takes longer to read
(timers, limits, locale), the state of libraries (torch, matplotlib), and objects of the program that tasks have, too.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # whose getsignal takes a tenth of the time: it makes no enumerations
import contextlib
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Context
from dataclasses import dataclass, fields
from os import getcwd
from typing import Any

from scoop_hpc.worker.random_state import NumpyStream, PythonStream

_handler: Callable[[int], Any] = _signal.getsignal
_INT, _TERM, _HUP = int(signal.SIGINT), int(signal.SIGTERM), int(signal.SIGHUP)
_USR1, _USR2, _ALRM = int(signal.SIGUSR1), int(signal.SIGUSR2), int(signal.SIGALRM)
_CANARY = -1  # no logger's level


@dataclass(frozen=True, eq=False)
class _State:
    """The state at a moment; of each part, what is compared."""

    environ: dict[bytes, bytes]
    directory: str | None
    filters: tuple[list[Any], Any]  # and the function that shows warnings
    modules: list[str]  # sys.path
    argv: list[str]
    streams: tuple[Any, Any]
    excepthook: Any
    recursion: int
    handlers: tuple[Any, ...]
    logging: tuple[Any, ...]  # the root's level and handlers, what is disabled
    levels: dict[str, int]  # of the other loggers

    def holds(self) -> bool:
        """Return whether it is still the state; this is to be quick."""
        root = logging.root
        try:
            return bool(
                os.environ._data == self.environ  # type: ignore[attr-defined]  # to copy environb takes 40 us
                and getcwd() == self.directory
                and sys.path == self.modules
                and sys.argv == self.argv
                and (warnings.filters, warnings.showwarning) == self.filters
                and (sys.stdout, sys.stderr) == self.streams
                and sys.excepthook is self.excepthook
                and sys.getrecursionlimit() == self.recursion
                and (_handler(_INT), _handler(_TERM), _handler(_HUP), _handler(_USR1), _handler(_USR2), _handler(_ALRM))
                == self.handlers
                and _CANARY in root._cache  # type: ignore[attr-defined]  # which the setLevel of any logger empties
                and (root.level, root.manager.disable, root.handlers) == self.logging
            )
        except OSError:  # somebody has removed the directory
            return False


def _look() -> _State:
    """Return the state."""
    try:
        directory: str | None = getcwd()
    except OSError:  # somebody has removed it
        directory = None
    root = logging.root
    root._cache[_CANARY] = False  # type: ignore[attr-defined]
    loggers = [(name, each) for name, each in root.manager.loggerDict.items() if isinstance(each, logging.Logger)]
    return _State(
        os.environ._data.copy(),  # type: ignore[attr-defined]
        directory,
        (list(warnings.filters), warnings.showwarning),
        sys.path[:],
        sys.argv[:],
        (sys.stdout, sys.stderr),
        sys.excepthook,
        sys.getrecursionlimit(),
        tuple(map(_handler, (_INT, _TERM, _HUP, _USR1, _USR2, _ALRM))),
        (root.level, root.manager.disable, root.handlers[:]),
        {name: logger.level for name, logger in loggers if logger.level},
    )


def _put_back(part: str, value: Any, now: Any) -> None:
    """Make a *part* of the state, which is *now*, what it was."""
    if part == "environ":
        for name in now.keys() - value.keys():
            del os.environb[name]
        for name in [name for name, text in value.items() if now.get(name) != text]:
            os.environb[name] = value[name]
        if value.get(b"TZ") != now.get(b"TZ"):
            time.tzset()
    elif part == "directory":
        if value is not None:
            os.chdir(value)
    elif part == "filters":
        filters, warnings.showwarning = value
        warnings.simplefilter("default", append=True)  # which tells the module that they have changed
        warnings.filters[:] = filters  # type: ignore[index]
    elif part == "modules":
        sys.path[:] = value
    elif part == "argv":
        sys.argv[:] = value
    elif part == "streams":
        sys.stdout, sys.stderr = value
    elif part == "excepthook":
        sys.excepthook = value
    elif part == "recursion":
        sys.setrecursionlimit(value)
    elif part == "handlers":
        for number, handler in zip((_INT, _TERM, _HUP, _USR1, _USR2, _ALRM), value):
            if handler is not None:  # else it is not Python's
                signal.signal(number, handler)
    elif part == "logging":
        level, disabled, handlers = value
        logging.root.setLevel(level)
        logging.disable(disabled)
        logging.root.handlers[:] = handlers
    else:
        assert part == "levels"
        for name in now.keys() | value.keys():
            logging.getLogger(name).setLevel(value.get(name, logging.NOTSET))


_PARTS = tuple(field.name for field in fields(_State))


class ProcessState:
    """Whose state is in force in this process; that of the program at first."""

    def __init__(self) -> None:
        self.of_program = True
        self._program = self._tasks = _look()
        self._random = PythonStream()
        self._numpy: NumpyStream | None = None
        self._other_random: Any = None  # the stream that is not drawn from now
        self._other_numpy: Any = None
        self._decimal: Any = None  # the tasks' context

    def to_tasks(self) -> None:
        """Let the tasks have their state, unless they have it."""
        if not self.of_program:
            return
        self.of_program = False
        if not self._program.holds():
            self._on_changes()
        elif self._tasks is not self._program:
            self._tasks = _restored(self._tasks, self._program, patient=True)
        self._exchange_streams()

    def _on_changes(self) -> None:
        """Let the tasks have what the program has changed, and of the rest what they had."""
        before, self._program = self._program, _look()
        theirs = [
            getattr(self._program if getattr(before, part) != getattr(self._program, part) else self._tasks, part)
            for part in _PARTS
        ]
        self._tasks = _restored(_State(*theirs), self._program, patient=True)

    def to_program(self) -> None:
        """Let the program have its state, unless it has it; raise OSError if its directory is gone."""
        if self.of_program:
            return
        self.of_program = True
        self._exchange_streams()
        if not self._tasks.holds():
            self._tasks = _look()
        if self._tasks is not self._program:
            self._program = _restored(self._program, self._tasks)
            if all(getattr(self._tasks, part) == getattr(self._program, part) for part in _PARTS):
                self._tasks = self._program

    def _exchange_streams(self) -> None:
        self._other_random = self._random.exchange(self._other_random)
        if self._numpy is not None:
            self._other_numpy = self._numpy.exchange(self._other_numpy)
        elif "numpy.random.mtrand" in sys.modules:
            self._numpy = NumpyStream(sys.modules["numpy.random.mtrand"])
            self._other_numpy = self._numpy.exchange(None)

    def as_task(self) -> AbstractContextManager[None]:
        """Return a context in which the tasks have their state."""
        return _AsTask(self) if self.of_program else contextlib.nullcontext()

    def prepare(self, context: Context) -> None:
        """Give the *context* of a task what tasks share, where it refers to an object of the program that changes."""
        if "decimal" in sys.modules:
            context.run(self.set_decimal_context)

    def set_decimal_context(self) -> None:
        """Let the decimal context here be the tasks'."""
        decimal = sys.modules.get("decimal")
        if decimal is not None:
            if self._decimal is None:
                self._decimal = decimal.getcontext().copy()
            decimal.setcontext(self._decimal)


class _AsTask:
    """A context in which the tasks have their state.

    No generator: `contextlib.contextmanager` sets attributes of what is raised, which may be a frozen exception.
    """

    def __init__(self, state: ProcessState) -> None:
        self._state = state
        self._decimal: Any = None

    def __enter__(self) -> None:
        self._state.to_tasks()
        decimal = sys.modules.get("decimal")
        self._decimal = None if decimal is None else decimal.getcontext()
        self._state.set_decimal_context()

    def __exit__(self, *raised: object) -> None:
        if self._decimal is not None:
            sys.modules["decimal"].setcontext(self._decimal)
        self._state.to_program()


def _restored(wanted: _State, now: _State, patient: bool = False) -> _State:
    """Make *wanted* the state, which is *now*; return it as it is then. If *patient*, what cannot be stays."""
    changed = False
    for part in _PARTS:
        value, present = getattr(wanted, part), getattr(now, part)
        if value != present:
            changed = True
            # the tasks' directory was removed, or the stack is deeper than their limit: they have what the program has
            with contextlib.suppress(OSError, RecursionError) if patient else contextlib.nullcontext():
                _put_back(part, value, present)
    return _look() if changed else wanted
