"""The reason why a run ends, which an agent leaves for the program in memory that both share.

The program looks when it is reminded by a signal. So it hears of it whatever has become of its broker, and whatever it
does itself; there is nothing to be read from, or written to, in a signal's handler.
"""

from __future__ import annotations

import mmap
import os
import signal

REMINDER = signal.SIGURG  # ignored where there is no handler [signal(7)]
_LENGTH = 2  # bytes of the reason's length
_MOST = mmap.PAGESIZE - _LENGTH


class Notice:
    """Made by the parent before it forks. The child sets *owner*, because its own children have the page, too."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)  # shared, of no file
        self._owner = 0

    def take_over(self) -> None:
        """Make this process its owner."""
        self._owner = os.getpid()

    def give(self, reason: str) -> None:
        """Leave the *reason*, once, or what of it there is room for. Called by the parent."""
        text = reason.encode(errors="backslashreplace")[:_MOST]
        self._page[_LENGTH : _LENGTH + len(text)] = text
        self._page[:_LENGTH] = len(text).to_bytes(_LENGTH, "little")  # last: who sees it, sees the rest

    def read(self) -> str:
        """Return the reason, empty if there is none, or this is a child of whom it is meant for."""
        if os.getpid() != self._owner:
            return ""
        length = int.from_bytes(self._page[:_LENGTH], "little")
        return self._page[_LENGTH : _LENGTH + length].decode(errors="ignore")
