"""A terminal with a command in it, and what is to be seen there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable

import pyte
from conftest import Runs, until


class Terminal:
    """A terminal of 80 columns, and a run in it, or another *command*."""

    def __init__(
        self, runs: Runs, *words: str, command: str = "run", term: str = "xterm", stdout: int | None = None
    ) -> None:
        self.screen = pyte.HistoryScreen(80, 24, history=1000)
        self.raw = b""
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        self.resize(24, 80)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scoop_hpc", command, *words],
            cwd=runs.directory,
            env={**runs.environ, "TERM": term},
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            preexec_fn=_lead,
        )
        os.close(theirs)

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def type(self, text: bytes) -> None:
        os.write(self._ours, text)

    def modes(self) -> int:
        """Return the terminal's local modes [termios(3), c_lflag]."""
        modes: int = termios.tcgetattr(self._ours)[3]
        return modes

    def look(self) -> list[str]:
        """Take what has been written; return the lines that are to be seen."""
        with contextlib.suppress(OSError):  # nobody has the terminal open any more
            while select.select([self._ours], [], [], 0.02)[0]:
                text = os.read(self._ours, 65536)
                self.raw += text
                self._stream.feed(text)
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def shows(self, condition: Callable[[list[str]], object]) -> list[str]:
        """Wait until what is to be seen fulfils *condition*; return that."""
        lines: list[str] = []

        def fulfilled() -> object:
            lines[:] = self.look()
            return condition(lines)

        until(fulfilled)
        return lines

    def end(self) -> list[str]:
        until(lambda: self.look() is not None and self.process.poll() is not None)
        return [line for line in self.look() if not line.startswith("scoop-hpc: warning: node ")]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)


def _lead() -> None:
    """Have the terminal for one's own, so that Ctrl-C comes through it."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
