"""What one process says for all: those of a run lose the same file, and are forked from one that knew of it."""

from __future__ import annotations

import enum
import mmap

from scoop_hpc.complaints import say

_SLOT = 4096  # bytes, for each kind of file
_FIRST = 3  # byte of the text, after its length
_NOTED, _SAID = 1, 2  # in a slot's first byte


class Lost(enum.IntEnum):
    """The kinds of files that may be lost."""

    LOG = 0
    PROFILE = 1


class Once:
    """Says that a file is lost: once of each kind, for this process and all that are forked from it afterwards.

    They share some memory, which no program closes, unlike descriptors. The driver says it; on a node it is left there
    for the agent, which tells the driver. Two that lose a file within the same microsecond may both say so.
    """

    def __init__(self) -> None:
        self._slots = mmap.mmap(-1, len(Lost) * _SLOT)

    def warn(self, lost: Lost, text: str) -> None:
        """Say *text*, unless one of these processes has come before."""
        if not self._slots[lost * _SLOT]:
            self._slots[lost * _SLOT] = _SAID
            say(f"warning: {text}")

    def note(self, lost: Lost, text: str) -> None:
        """Leave *text* for the agent, unless one of these processes has come before."""
        at = lost * _SLOT
        if not self._slots[at]:
            content = text.encode(errors="backslashreplace")[: _SLOT - _FIRST]
            self._slots[at + _FIRST : at + _FIRST + len(content)] = content
            self._slots[at + 1 : at + _FIRST] = len(content).to_bytes(2, "little")
            self._slots[at] = _NOTED

    def noted(self) -> list[str]:
        """Return what was left since the last time."""
        texts = []
        for lost in Lost:
            at = lost * _SLOT
            if self._slots[at] == _NOTED:
                self._slots[at] = _SAID
                size = int.from_bytes(self._slots[at + 1 : at + _FIRST], "little")
                texts.append(self._slots[at + _FIRST : at + _FIRST + size].decode(errors="replace"))
        return texts
