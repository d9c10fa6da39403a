"""Counts of what a program waits for, in memory that its process shares with its agent, which looks at them at leisure.

::

    words of 64 bits:  [ number ] [ total ] [ done ] [ failed ] [ bytes of a label ] ... [ label ]    a row

A row whose number is 0 is free. A total of -1 is not known yet. So to count costs no message, and what is counted can
be seen whatever the program does.
"""

from __future__ import annotations

import mmap

from scoop_hpc.protocol.messages import Awaited

ROWS = 16
_WORDS = 32  # of a row
_NUMBER, _TOTAL, _DONE, _FAILED, _LENGTH = range(5)
_LABEL = 8 * 8  # where the label begins, in bytes from the row's own beginning
_LABEL_BYTES = 8 * _WORDS - _LABEL


class Tally:
    """Made by the parent before it forks, *wanted* or not; the origin writes, the parent reads."""

    def __init__(self) -> None:
        self.is_wanted = False  # by whoever has made it
        self._memory = mmap.mmap(-1, 8 * _WORDS * ROWS)  # shared, of no file
        self._words = memoryview(self._memory).cast("q")

    # the origin

    def begin(self, row: int, number: int, label: str) -> None:
        """Let *row* stand for what is waited for from now on under a *label*: it is the *number*th."""
        text = label.encode(errors="replace")[:_LABEL_BYTES]
        start = 8 * _WORDS * row + _LABEL
        self._memory[start : start + len(text)] = text
        words = _WORDS * row
        self._words[words + _LENGTH] = len(text)
        self.count(row, 0, 0, 0)
        self._words[words + _NUMBER] = number

    def count_done(self, row: int, done: int) -> None:
        """Note how much of *row* is done."""
        self._words[_WORDS * row + _DONE] = done

    def count_total(self, row: int, total: int) -> None:
        """Note how much is waited for in *row*."""
        self._words[_WORDS * row + _TOTAL] = total

    def count(self, row: int, total: int | None, done: int, failed: int) -> None:
        """Note how much is waited for in *row*, and how much of it is done, or has failed."""
        words, first = self._words, _WORDS * row
        words[first + _TOTAL] = -1 if total is None else total
        words[first + _FAILED] = failed
        words[first + _DONE] = done

    # the parent

    def read(self) -> tuple[Awaited, ...]:
        """Return what is waited for, and what was, in the order of its beginning."""
        rows = [self._read(_WORDS * row) for row in range(ROWS) if self._words[_WORDS * row + _NUMBER]]
        return tuple(sorted(rows, key=lambda row: row.number))

    def _read(self, first: int) -> Awaited:
        number, total, done, failed, length = self._words[first : first + _LENGTH + 1]
        start = 8 * first + _LABEL
        label = self._memory[start : start + length].decode(errors="ignore")
        return Awaited(number, label, None if total < 0 else total, done, min(failed, done))
