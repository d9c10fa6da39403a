"""What one process says for all: those of a run lose the same file, and are forked from one that knew of it."""

from __future__ import annotations

import enum
import mmap
from collections.abc import Callable

from scoop_hpc.complaints import say


class Lost(enum.IntEnum):
    """The kinds of files that may be lost."""

    LOG = 0
    PROFILE = 1


class Once:
    """Says that a file is lost: once of each kind, for this process and all that are forked from it afterwards.

    They share a page of memory, which no program closes, unlike descriptors. Two that lose it within the same
    microsecond may both say so.
    """

    def __init__(self) -> None:
        self._said = mmap.mmap(-1, len(Lost))

    def warn(self, lost: Lost, text: str, write: Callable[[bytes], None] | None = None) -> None:
        """Let *write* have *text*, without it the standard error, unless one of these processes has said so already."""
        is_first, self._said[lost] = not self._said[lost], 1
        if is_first and write is not None:
            write(f"scoop-hpc: warning: {text}\n".encode(errors="backslashreplace"))
        elif is_first:
            say(f"warning: {text}")
