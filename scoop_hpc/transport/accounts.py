"""What a worker has executed, by functions, and which tasks failed: in memory that it shares with its agent.

::

    words of 64 bits:  [ rows in use ] [ busy ] [ first begin ] [ last end ] [ failures written ] [ ... read ] ...
                       [ count ] [ failed ] [ repeated ] [ total ] [ longest ] [ bytes of name ] [ bins ] [ name ]
                       ... a row for each function
    bytes:             [ length, failure ] [ length, failure ] ... a ring

Times are nanoseconds, points in time those of CLOCK_MONOTONIC, which is the same for all processes of a machine. To
count costs no message, and what a worker has counted can be seen whatever it does, and when it is dead. Functions for
which there is no row go together in the last one; failures for which there is no room are only counted.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable

import msgspec

from scoop_hpc.protocol.histogram import BINS
from scoop_hpc.protocol.messages import FailedTask, FunctionAccount, WorkerAccount
from scoop_hpc.protocol.names import WorkerName

ROWS = 64
OTHERS = "other functions"  # the name of the last row
_HEAD_WORDS = 16
_ROWS, _BUSY, _BEGAN, _ENDED, _WRITTEN, _READ = range(6)
_ROW_WORDS = 128
_COUNT, _FAILED, _REPEATED, _TOTAL, _LONGEST, _LENGTH, _BINS = range(7)
_NAME = _BINS + BINS  # its first word
_NAME_BYTES = 8 * (_ROW_WORDS - _NAME)
_RING = 8 * (_HEAD_WORDS + ROWS * _ROW_WORDS)  # where it begins, in bytes
RING_BYTES = 1 << 16
_SIZE_BYTES = 4  # of the length of a failure
_NS = 1e9


class AccountTable:
    """Made by the parent before it forks; the worker writes, one thread at a time, and the parent reads."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _RING + RING_BYTES)  # shared, of no file
        self._words = memoryview(self._memory).cast("q")
        self._names: dict[str, int] = {}  # the worker's
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(FailedTask)

    # the worker

    def row(self, name: str) -> int:
        """Return the first word of the row for the function *name*, a new one if there is none yet."""
        row = self._names.get(name)
        if row is None:
            number = self._words[_ROWS]
            if number == ROWS:
                return self._names[OTHERS]
            if number == ROWS - 1:
                name = OTHERS
            text = name.encode(errors="backslashreplace")[:_NAME_BYTES]
            row = self._names[name] = _HEAD_WORDS + number * _ROW_WORDS
            start = 8 * (row + _NAME)
            self._memory[start : start + len(text)] = text
            self._words[row + _LENGTH] = len(text)
            self._words[_ROWS] = number + 1
        return row

    def add(self, row: int, count: int, total: float, longest: float, bins: Iterable[tuple[int, int]]) -> None:
        """Add *count* calls that have taken a *total* of seconds, the longest and the *bins* of a histogram."""
        words = self._words
        words[row + _COUNT] += count
        words[row + _TOTAL] += int(total * _NS)
        words[row + _LONGEST] = max(words[row + _LONGEST], int(longest * _NS))
        for number, size in bins:
            words[row + _BINS + number] += size

    def add_failed(self, row: int) -> None:
        """Count a call as failed."""
        self._words[row + _FAILED] += 1

    def add_repeated(self, row: int, repeated: int) -> None:
        """Count how often calls were tried again, after exceptions."""
        self._words[row + _REPEATED] += repeated

    def ran(self, began: float, ended: float) -> None:
        """Note that tasks ran between two points in time, in seconds."""
        words = self._words
        if not words[_BEGAN]:
            words[_BEGAN] = int(began * _NS)
        words[_ENDED] = int(ended * _NS)

    def worked(self, began: float, ended: float) -> None:
        """Note that the worker was busy with tasks all the time between two points in time, in seconds."""
        self.ran(began, ended)
        self._words[_BUSY] += int((ended - began) * _NS)

    def tell(self, failure: FailedTask) -> bool:
        """Describe a failed task, as long as there is room; return whether there was."""
        text = self._encoder.encode(failure)
        entry = len(text).to_bytes(_SIZE_BYTES, "little") + text
        written = self._words[_WRITTEN]
        if written + len(entry) - self._words[_READ] > RING_BYTES:
            return False
        at = written % RING_BYTES
        first = min(len(entry), RING_BYTES - at)
        self._memory[_RING + at : _RING + at + first] = entry[:first]
        self._memory[_RING : _RING + len(entry) - first] = entry[first:]
        self._words[_WRITTEN] = written + len(entry)
        return True

    # the parent

    @property
    def has_failures(self) -> bool:
        """True if there are descriptions that were not read."""
        return self._words[_WRITTEN] != self._words[_READ]

    def failures(self) -> list[FailedTask]:
        """Return the failed tasks that were described since the last time."""
        words = self._words
        found = []
        written, at = words[_WRITTEN], words[_READ]
        while at < written <= at + RING_BYTES:
            size = int.from_bytes(self._ring(at, _SIZE_BYTES), "little")
            try:
                found.append(self._decoder.decode(self._ring(at + _SIZE_BYTES, size)))
            except msgspec.DecodeError:  # the worker's program has written over it
                break
            at += _SIZE_BYTES + size
        words[_READ] = written
        return found

    def functions(self) -> list[FunctionAccount]:
        """Return what was executed, by functions."""
        return [self._function(row) for row in self._rows()]

    def worker(self, name: WorkerName, now: float) -> WorkerAccount:
        """Return the time of this worker, called *name*, as it is at *now*."""
        busy, began, ended = (word / _NS for word in self._words[_BUSY : _ENDED + 1])
        own = sum(self._words[row + _TOTAL] for row in self._rows()) / _NS
        if not began:
            return WorkerAccount(name, 0.0, 0.0)
        return WorkerAccount(name, max(0.0, own), max(0.0, busy), max(0.0, now - began), max(0.0, now - ended))

    def _rows(self) -> range:
        return range(_HEAD_WORDS, _HEAD_WORDS + min(max(0, self._words[_ROWS]), ROWS) * _ROW_WORDS, _ROW_WORDS)

    def _function(self, row: int) -> FunctionAccount:
        words = self._words[row : row + _ROW_WORDS].tolist()
        start = 8 * (row + _NAME)
        name = self._memory[start : start + min(max(0, words[_LENGTH]), _NAME_BYTES)].decode(errors="replace")
        bins = tuple((number, size) for number, size in enumerate(words[_BINS:_NAME]) if size > 0)
        count, failed, repeated, total, longest = (max(0, word) for word in words[:_LENGTH])
        return FunctionAccount(name, count, failed, repeated, total / _NS, longest / _NS, bins)

    def _ring(self, at: int, size: int) -> bytes:
        start = _RING + at % RING_BYTES
        first = min(size, _RING + RING_BYTES - start)
        rest = min(size - first, RING_BYTES)
        return self._memory[start : start + first] + self._memory[_RING : _RING + rest]
