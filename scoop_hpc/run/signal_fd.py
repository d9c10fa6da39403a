"""Signals as something to poll."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection


class SignalFd:
    """Catches *signals*; its file descriptor is readable when one has come.

    What started this process may have ignored some, as nohup(1) SIGHUP, and they stay so, but for SIGCHLD: without it
    children end unseen, and leave no status. It may have blocked some as well, as servers do that wait for signals in a
    thread: they are unblocked.
    """

    def __init__(self, signals: Collection[int]) -> None:
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(write, False)
        for number in signals:
            if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _note)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._read

    def take(self) -> list[int]:
        """Return the signals that have come since the last call."""
        found: list[int] = []
        with contextlib.suppress(BlockingIOError):
            found += os.read(self._read, 512)
        return found


def _note(number: int, frame: object) -> None:
    """Do nothing: the wake-up descriptor tells."""
