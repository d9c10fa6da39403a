"""Forking brokers and workers from an agent, and making sure that nothing of them stays.

A fork costs a few milliseconds where a new interpreter costs a hundred, and reads nothing from the file system.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import os
import signal
import struct
import sys
import termios
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TextIO

from msgspec import Struct

from scoop_hpc import tracebacks
from scoop_hpc.errors import LaunchError, ScoopError
from scoop_hpc.protocol.names import ProcessName
from scoop_hpc.transport.last_word import LastWord

TRACE = 3  # the number of the stream that a trace is written to, beside the standard ones; not its descriptor
_TO_TIDY_UP = 1.0  # seconds
_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36


class Child(Struct, frozen=True):
    """A forked process."""

    name: ProcessName
    pid: int
    pipes: dict[int, int]  # our ends, and whether it writes stream 1, 2 or its trace into them
    last_word: LastWord
    terminal: int = -1  # the one of these, if any, that is a terminal for it


class ProcessOptions(Struct, frozen=True):
    """The title, the signals and the standard streams of a child."""

    title: str  # as ps -o comm shows it
    ignored: tuple[int, ...]  # signals
    orphaned: int  # signal that it gets when its agent dies
    inherit: tuple[int, ...] = ()  # the standard streams that are the agent's own; the others are pipes, or no input
    on_orphaned: Callable[[], None] | None = None  # instead of dying of that signal
    woken: int | None = None  # signal that only wakes it up
    terminals: tuple[int, ...] = ()  # the standard streams that are one terminal, of its own
    is_counted: bool = False  # what it waits for
    is_traced: bool = False  # it has a third stream, for its trace
    kept: tuple[int, ...] = ()  # descriptors of the agent's that it has as well


def _prctl(option: int, argument: object) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


def set_title(title: str) -> None:
    """Let ps(1) show this process as *title*, of at most 15 bytes [prctl(2), PR_SET_NAME]."""
    _prctl(_PR_SET_NAME, title.encode())


def end_with_parent() -> None:
    """Have this process told to end, by SIGTERM, when its parent dies [prctl(2), PR_SET_PDEATHSIG]."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def adopt_orphans() -> None:
    """Make this process the parent of all its descendants whose own parent dies [prctl(2), CHILD_SUBREAPER]."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def fork(name: ProcessName, options: ProcessOptions, main: Callable[[LastWord], int]) -> Child:
    """Run *main* in a forked child; its return value is the exit status, and the last word is said after it.

    A negative one is a signal's, by which the child ends then, in the way of `os.waitstatus_to_exitcode`.
    """
    try:
        last_word = LastWord()
        ends = _make_ends(options)
    except OSError as error:
        raise LaunchError(f"cannot start {options.title} {name}: {error.strerror}") from error
    last_word.tally.is_wanted = options.is_counted
    parent = os.getpid()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    gc.freeze()  # a child's collections leave alone what is here already: 8 ms less at its end, and pages stay shared
    with warnings.catch_warnings():
        # Python 3.12 warns of locks held by other threads: those of libzmq, whose context no child touches
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            pid = os.fork()
        except OSError as error:
            _close_ends(ends)
            raise LaunchError(f"cannot start {options.title} {name}: {error.strerror}") from error
    if pid:
        for write in {write for _, write in ends.values()}:
            os.close(write)
        pipes = {read: stream for stream, (read, _) in reversed(ends.items())}
        return Child(name, pid, pipes, last_word, ends[options.terminals[0]][0] if options.terminals else -1)
    status = 1
    opened: tuple[TextIO, ...] = ()
    last_word.take_over()
    leave = os._exit
    try:
        _set_up(options, parent)
        last_word.trace = ends[TRACE][1] if options.is_traced else -1
        streams = {stream: write for stream, (_, write) in ends.items()}
        opened = _open_streams(streams, 0 in options.inherit, options.kept)
        status = main(last_word)
        # what the interpreter does at its end, in its order; a forked child leaves by os._exit, and does it by itself
        for step in (threading._shutdown, tracebacks.run_exit_functions, _forget_program):  # type: ignore[attr-defined]
            try:
                step()
            except KeyboardInterrupt:
                status = 130
            except SystemExit as end:  # of a signal's handler, while it waits for the program's threads
                status = status_of(end)
    except KeyboardInterrupt:  # before or after the program, which sees to its own
        status = 130
    except SystemExit as end:
        status = status_of(end)
    except ScoopError as error:
        print(f"scoop-hpc: error: {options.title} {name}: {error}", file=sys.stderr)
    except BaseException:  # nothing above this frame may run twice
        traceback.print_exc()
    finally:
        _flush(opened)
        if status < 0:
            signal.signal(-status, signal.SIG_DFL)
            os.kill(os.getpid(), -status)
        last_word.say()
        leave(status & 0xFF)


def status_of(end: SystemExit) -> int:
    """Return the exit status of a process that *end* ends; print what it says, as the interpreter does."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def _make_ends(options: ProcessOptions) -> dict[int, tuple[int, int]]:
    """Return for each stream of a child the end to read, and the one that is the child's."""
    ends: dict[int, tuple[int, int]] = {}
    piped = [stream for stream in (1, 2) if stream not in (*options.inherit, *options.terminals)]
    try:
        if options.terminals:
            ends.update(dict.fromkeys(options.terminals, _open_terminal()))
        for stream in (*piped, *([TRACE] if options.is_traced else ())):
            ends[stream] = os.pipe()
    except OSError:
        _close_ends(ends)
        raise
    return ends


def _close_ends(ends: dict[int, tuple[int, int]]) -> None:
    for descriptor in {descriptor for both in ends.values() for descriptor in both}:
        os.close(descriptor)


def _open_terminal() -> tuple[int, int]:
    """Open a terminal for a child that passes on what is printed as it is: the real one does the rest."""
    ours, theirs = os.openpty()
    modes = termios.tcgetattr(theirs)
    modes[1] &= ~termios.OPOST
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    copy_size(ours)
    return ours, theirs


def copy_size(terminal: int) -> None:
    """Make a *terminal* as large as the one that this process has."""
    with contextlib.suppress(OSError):
        columns, lines = os.get_terminal_size(2 if os.isatty(2) else 1)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def _forget_program() -> None:
    sys.modules["__main__"].__dict__.clear()
    gc.collect()  # files that the program has left open are flushed


def _flush(opened: Sequence[TextIO]) -> None:
    """Write out what was printed; the program may have put anything in the place of a stream that was *opened*."""
    names = ("stdout", "stderr", "__stdout__", "__stderr__")
    for stream in (*(getattr(sys, name, None) for name in names), *opened):
        with contextlib.suppress(Exception):  # whatever an object of the program's raises, the status is known
            getattr(stream, "flush", bool)()


def _set_up(options: ProcessOptions, parent: int) -> None:
    """Set the signals and the title of this process."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, _ignore if number in options.ignored else signal.SIG_DFL)
    if options.woken is not None:
        signal.signal(options.woken, _ignore)
    if options.on_orphaned is not None:
        on_orphaned = options.on_orphaned
        signal.signal(options.orphaned, lambda number, frame: on_orphaned())
    set_title(options.title)
    _prctl(_PR_SET_PDEATHSIG, options.orphaned)
    if os.getppid() != parent:  # it died before the last line took effect
        os._exit(1)


def _ignore(number: int, frame: object) -> None:
    """Do nothing; unlike SIG_IGN, this is not handed on to programs that a task starts."""


def _open_streams(pipes: dict[int, int], keep_input: bool, kept: Sequence[int]) -> tuple[TextIO, ...]:
    """Put the standard streams in place, and close the agent's other files, but those *kept*; return the outputs."""
    if not keep_input:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, write in pipes.items():
        if stream != TRACE:
            os.dup2(write, stream)
    close_files(3, [*kept, pipes[TRACE]] if TRACE in pipes else kept)
    encoding, errors = sys.stdout.encoding, sys.stdout.errors  # as PYTHONIOENCODING has it
    sys.stdin = open(0, encoding=sys.stdin.encoding, errors=sys.stdin.errors, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    return sys.stdout, sys.stderr


def close_files(first: int, spared: Collection[int] = ()) -> None:
    """Close all files from the descriptor *first* on, but those that are *spared*."""
    for descriptor in sorted(spared):
        os.closerange(first, descriptor)
        first = max(first, descriptor + 1)
    os.closerange(first, max(_open_files(), default=2) + 1)


def _open_files() -> list[int]:
    for folder in ("/proc/self/fd", "/dev/fd"):
        if os.path.isdir(folder):
            return [int(name) for name in os.listdir(folder)]
    return [os.sysconf("SC_OPEN_MAX")]


def descendants(pid: int, spared: Collection[int] = ()) -> list[int]:
    """Return the processes below *pid*, without those *spared* and what is below them, nearest first.

    [proc_pid_task(5), children]
    """
    found: list[int] = []
    queue = [pid]
    while queue:
        parent = queue.pop(0)
        below: list[int] = []
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children") as file:
                    below += [child for child in map(int, file.read().split()) if child not in spared]
        found += below
        queue += below
    return found


def kill_descendants(spared: Collection[int] = ()) -> None:
    """Kill everything below this process, but those *spared* with what is below them; own sessions are no shelter.

    Whoever's parent dies while they are listed becomes a child of this process, and may be in neither list. So they are
    listed again until none is new. The resource trackers of `multiprocessing` and joblib come last: they remove what
    the others have left in /dev/shm, as soon as these are gone.
    """
    seen: set[int] = set()
    trackers: set[int] = set()
    while new := [pid for pid in descendants(os.getpid(), spared) if pid not in seen]:
        seen.update(new)
        trackers.update(filter(_tracks_resources, new))
        _kill(pid for pid in new if pid not in trackers)
    deadline = time.monotonic() + _TO_TIDY_UP
    while any(map(_tracks_resources, trackers)) and time.monotonic() < deadline:
        time.sleep(0.002)
    _kill(trackers)


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _tracks_resources(pid: int) -> bool:
    """Return whether a process is a resource tracker that has not ended: then it has no command line."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return b"resource_tracker import main" in file.read()
    return False
