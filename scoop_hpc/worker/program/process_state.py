"""The state of the origin's process: the program has one, and the tasks that run there have another.

::

    program --to_tasks--> tasks --to_program--> program

Other workers run tasks only. In the origin a task must not move the program into its scratch directory, draw from its
random numbers, or leave it its warnings filters; and a task that waits while the program goes on must find its own
directory again, as tasks must find what the initializer of an Executor has set. So each side gets back what it had, and
tasks get of each part of the state what the program has changed since. Their random numbers are a stream of their own.

This is done where the process changes sides: once around all tasks that run while the program waits, and around each
that runs at once where its result is asked for, with some quick ones after it. To see that nothing has changed takes
0.5 us a side, which bounds the parts: some are compared, of others the calls are counted that change them. Not among
them are what can only be read by setting it for all threads (the umask), what takes longer to read (timers, limits,
locale), the state of libraries (torch, matplotlib), and objects of the program that tasks have, too.

A library in C may change the directory without being counted. To ask for that is a call of the system, which takes 0.4
to 2 us, so it is asked for after a side that was on for as long as to call a library in C, and not after shorter ones.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Context
from os import getcwd
from time import monotonic
from typing import Any

from msgspec import Struct
from msgspec.structs import fields, replace

from scoop_hpc.worker.program.random_state import NumpyStream, PythonStream

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
_NUMPY = "numpy.random.mtrand"
_BRIEF = 1e-5  # seconds that a side is on, too few for what would have to be looked for by a call of the system


class _Changes:
    """Counts the calls that may change what is slow to read: the environment, signals' handlers, the directory."""

    def __init__(self) -> None:
        self.count = 0
        for module, names in (
            (os, ("chdir", "fchdir", "putenv", "unsetenv")),  # what is set in os.environ goes through the last two
            (signal, ("signal",)),
            (sys, ("setrecursionlimit",)),
        ):
            for name in names:
                counted = self._counted(getattr(module, name))
                counted.__module__ = module.__name__  # where it is found, by pickle for one
                setattr(module, name, counted)
        manager: Any = logging.Manager
        manager._clear_cache = self._counted(manager._clear_cache)  # which each change of a level calls
        os.supports_fd.add(os.chdir)  # as what it calls

    def _counted(self, change: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(change)
        def counted(*args: Any, **kwargs: Any) -> Any:
            try:
                return change(*args, **kwargs)
            finally:
                self.count += 1

        return counted


class _State(Struct, frozen=True, eq=False):
    """The state at a moment."""

    changes: int  # counted until then
    mapping: Any  # os.environ, which a program may replace
    environ: dict[bytes, bytes]
    directory: str | None
    recursion: int
    handlers: tuple[Any, ...]
    filters: list[Any]
    show_warning: Any
    modules: list[str]  # sys.path
    argv: list[str]
    stdout: Any
    stderr: Any
    excepthook: Any
    log_handlers: list[Any]  # of the root
    log_level: int  # of the root
    log_disabled: int
    log_levels: dict[str, int]  # of the other loggers


def _directory() -> str | None:
    """Return the current directory, None if it was removed."""
    try:
        return getcwd()
    except OSError:
        return None


def _look(changes: int) -> _State:
    """Return the state, for which so many *changes* were counted."""
    root = logging.root
    loggers = [(name, each) for name, each in root.manager.loggerDict.items() if isinstance(each, logging.Logger)]
    return _State(
        changes=changes,
        mapping=os.environ,
        environ=dict(os.environb),
        directory=_directory(),
        recursion=sys.getrecursionlimit(),
        handlers=tuple(map(signal.getsignal, _SIGNALS)),
        filters=list(warnings.filters),
        show_warning=warnings.showwarning,
        modules=sys.path[:],
        argv=sys.argv[:],
        stdout=sys.stdout,
        stderr=sys.stderr,
        excepthook=sys.excepthook,
        log_handlers=root.handlers[:],
        log_level=root.level,
        log_disabled=root.manager.disable,
        log_levels={name: logger.level for name, logger in loggers if logger.level},
    )


def _put_back(part: str, value: Any, now: Any) -> None:
    """Make a *part* of the state, which is *now*, what it was."""
    match part:
        case "mapping":
            os.environ = value  # noqa: B003  # the object itself was replaced
        case "environ":
            for name in now.keys() - value.keys():
                del os.environb[name]
            for name in [name for name, text in value.items() if now.get(name) != text]:
                os.environb[name] = value[name]
            if value.get(b"TZ") != now.get(b"TZ"):
                time.tzset()
        case "directory":
            if value is not None:
                os.chdir(value)
        case "recursion":
            sys.setrecursionlimit(value)
        case "handlers":
            for number, handler in zip(_SIGNALS, value):
                if handler is not None:  # else it is not Python's
                    signal.signal(number, handler)
        case "filters":
            warnings.simplefilter("default", append=True)  # which tells the module that they have changed
            warnings.filters[:] = value  # type: ignore[index]
        case "show_warning":
            warnings.showwarning = value
        case "modules":
            sys.path[:] = value
        case "argv":
            sys.argv[:] = value
        case "stdout" | "stderr" | "excepthook":
            setattr(sys, part, value)
        case "log_handlers":
            logging.root.handlers[:] = value
        case "log_level":
            logging.root.setLevel(value)
        case "log_disabled":
            logging.disable(value)
        case "log_levels":
            for name in now.keys() | value.keys():
                logging.getLogger(name).setLevel(value.get(name, logging.NOTSET))
        case _:
            raise AssertionError(part)


_PARTS = tuple(field.name for field in fields(_State) if field.name != "changes")


class ProcessState:
    """Whose state is in force in this process; that of the program at first."""

    def __init__(self) -> None:
        self.of_program = True
        self._changes = _Changes()
        self._program = self._tasks = self._look()
        self._brief_until = 0.0  # until when the side in force has been so for too short to look for its directory
        self._random = PythonStream()
        self._numpy: NumpyStream | None = None
        self._other_random: Any = None  # the stream that is not drawn from now
        self._other_numpy: Any = None
        self._decimal: Any = None  # the tasks' context

    def _look(self) -> _State:
        return _look(self._changes.count)

    def to_tasks(self, now: float) -> None:
        """Let the tasks have their state from *now* on, a time of `monotonic`, unless they have it."""
        if self.of_program:
            self.turn(now)

    def to_program(self, now: float) -> None:
        """Let the program have its state from *now* on, unless it has it; raise OSError if its directory is gone."""
        if not self.of_program:
            self.turn(now)

    def turn(self, now: float) -> None:
        """Let the other side have its state from *now* on. This is to be quick where nothing has changed."""
        was_program = self.of_program
        self.of_program = not was_program
        if self._random.in_use[0]:
            self._other_random = self._random.exchange(self._other_random)
        if _NUMPY in sys.modules:
            self._exchange_numpy()
        state = self._program if was_program else self._tasks
        holds = (
            self._changes.count == state.changes
            and os.environ is state.mapping
            and sys.path == state.modules
            and sys.argv == state.argv
            and warnings.filters == state.filters
            and warnings.showwarning is state.show_warning
            and sys.stdout is state.stdout
            and sys.stderr is state.stderr
            and sys.excepthook is state.excepthook
            and logging.root.handlers == state.log_handlers
            and (now < self._brief_until or _directory() == state.directory)
        )
        self._brief_until = now + _BRIEF
        if not holds or self._tasks is not self._program:
            self._leave_program(holds) if was_program else self._leave_tasks(holds)

    def _leave_program(self, holds: bool) -> None:
        """Let the tasks have what the program has changed, unless its state *holds*, and of the rest what they had."""
        if holds:
            self._tasks = self._restored(self._tasks, self._program, patient=True)
            return
        before, self._program = self._program, self._look()
        theirs = [
            getattr(self._program if getattr(before, part) != getattr(self._program, part) else self._tasks, part)
            for part in _PARTS
        ]
        self._tasks = self._restored(_State(self._program.changes, *theirs), self._program, patient=True)

    def _leave_tasks(self, holds: bool) -> None:
        """Let the program have what it had, whether the state of the tasks *holds* or not."""
        if not holds:
            self._tasks = self._look()
        if self._tasks is not self._program:
            self._program = self._restored(self._program, self._tasks)
            if all(getattr(self._tasks, part) == getattr(self._program, part) for part in _PARTS):
                self._tasks = self._program

    def _restored(self, wanted: _State, now: _State, patient: bool = False) -> _State:
        """Make *wanted* the state, which is *now*; return it as it is then. If *patient*, what cannot be stays."""
        changed = False
        for part in _PARTS:
            value, present = getattr(wanted, part), getattr(now, part)
            if value != present:
                changed = True
                # the tasks' directory is gone, or the stack is deeper than their limit: then the program's stays
                with contextlib.suppress(OSError, RecursionError) if patient else contextlib.nullcontext():
                    _put_back(part, value, present)
        return self._look() if changed else replace(wanted, changes=now.changes)

    def _exchange_numpy(self) -> None:
        if self._numpy is None:
            self._numpy = NumpyStream(sys.modules[_NUMPY])
        self._other_numpy = self._numpy.exchange(self._other_numpy)

    def as_task(self) -> AbstractContextManager[None]:
        """Return a context in which the tasks have their state."""
        return _AsTask(self) if self.of_program else contextlib.nullcontext()

    def prepare(self, context: Context, now: float) -> None:
        """Let the tasks have their state, also where the *context* of one refers to an object of the program's."""
        self.to_tasks(now)
        if context and "decimal" in sys.modules:
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
        self._state.to_tasks(monotonic())
        decimal = sys.modules.get("decimal")
        self._decimal = None if decimal is None else decimal.getcontext()
        self._state.set_decimal_context()

    def __exit__(self, *raised: object) -> None:
        if self._decimal is not None:
            sys.modules["decimal"].setcontext(self._decimal)
        self._state.to_program(monotonic())
