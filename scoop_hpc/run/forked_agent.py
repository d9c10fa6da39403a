"""An agent on the driver's own machine, forked from the driver.

A new interpreter takes as long to import the agent, the broker and the worker as all else that a short run does, and
longer on a file system that other machines share: here they are imported once, for the driver and all agents.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from scoop_hpc.interpreter import search_path
from scoop_hpc.launchers.base import Command
from scoop_hpc.run import children

AgentMain = Callable[[Sequence[str]], None]  # of the words of an agent's command line

_TITLE = "scoop-agent"  # as ps -o comm shows it
_POLL = 0.001  # seconds: it lasts for the end of a process that has closed all


class ForkedAgent:
    """An agent that is a child of this process; what is used of a `subprocess.Popen` is here under the same names."""

    stdout = None  # it shares this process's streams

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, as of `os.waitstatus_to_exitcode`; None while it runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def wait(self, timeout: float) -> int:
        """Return the exit status; raise subprocess.TimeoutExpired after *timeout* seconds."""
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(_TITLE, timeout)
            time.sleep(_POLL)
        return status

    def send_signal(self, number: int) -> None:
        """Send the signal *number*, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def fork_agent(command: Command, main: AgentMain) -> ForkedAgent:
    """Fork an agent: *main* is called with the words of *command*, in its environment. Raises OSError.

    Signals that come meanwhile wait, for this process as well: the child takes none by this process's handlers.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    gc.freeze()  # collections of the agent, and of what it forks, leave alone what is here already
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as in `children.fork`
            pid = os.fork()
        if pid == 0:
            _be_agent(command, main, before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return ForkedAgent(pid)


def _open_streams() -> None:
    """Have the streams that this process was started without, whose descriptors are open by now."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115  until the end of the process


def _be_agent(command: Command, main: AgentMain, mask: set[int]) -> NoReturn:
    """Be the child, which shall be what a new interpreter is: with no file, handler or variable of the driver's."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        children.set_title(_TITLE)
        children.close_files(3)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask | {signal.SIGINT})  # until it has said that it ignores it
        if command.own_session:
            os.setsid()
        _open_streams()
        os.environ.clear()
        os.environ.update(command.environ)
        sys.path[:] = search_path(sys.path)
        sys.argv = ["-c", *command.argv]
        main(command.argv)
        status = 0
    except SystemExit as end:
        status = children.status_of(end)
    except BaseException:  # nothing above this frame may run twice
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, full, or none
                stream.flush()
        os._exit(status)
