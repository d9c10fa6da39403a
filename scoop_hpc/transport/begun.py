"""The tasks that a worker has begun and not ended, in memory that it shares with its parent: what its death has cost.

::

    words of 64 bits:  [ tasks ended ] [ bytes of a name ] [ name, 32 words ] [ what runs ] [ 1: it takes tasks ]
                       ... [ owner, serial, count, deadline ] ...

An owner of 0 is a free slot. The count is that of a batch while it is opened, and above it, from bit 32 on, are the
attempts that were lost before. A deadline is one of CLOCK_MONOTONIC, in nanoseconds, which is the same for all
processes of a machine [clock_gettime(2)]; 0: there is none. What runs is a slot, or the worker's own task, or
nothing: a task that only waits is not why a worker dies.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable

from msgspec import Struct

from scoop_hpc.protocol.names import WorkerName, number_of, worker_numbered

_BYTES = 32 * 1024
_NAME, _NAME_BYTES = 2, 256  # its first word
_RUNS = 34  # the word with the slot of the task that runs
_SERVES = 35
_OWN = -1  # in its place: a task that the worker has itself submitted
_FIRST, _WORDS = 64, 4  # of the slots


class BegunTask(Struct, frozen=True):
    """A task, or a batch of tasks that was being opened."""

    owner: WorkerName
    serial: int
    count: int
    losses: int
    deadline: int  # ns


class Begun:
    """Made by the parent before it forks; the worker writes, the parent reads when that has ended."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _BYTES)  # shared, of no file
        self._words = memoryview(self._memory).cast("q")
        self._free = list(range(_FIRST, len(self._words), _WORDS))[::-1]
        self._numbers: dict[WorkerName, int] = {}
        self._ended = 0

    # the worker

    def serve(self) -> None:
        """Note that all is prepared, and tasks can come."""
        self._words[_SERVES] = 1

    def begin(self, owner: WorkerName, serial: int, count: int = 1, losses: int = 0, deadline: int = 0) -> int:
        """Note that a task begins; return the slot, 0 if there is none left."""
        try:
            slot = self._free.pop()
        except IndexError:
            return 0
        words = self._words
        words[slot + 1] = serial
        words[slot + 2] = count if not losses else count | losses << 32
        words[slot + 3] = deadline
        number = self._numbers.get(owner)
        if number is None:
            number = self._numbers[owner] = number_of(owner) + 1
        words[slot] = number
        words[_RUNS] = slot
        return slot

    def end(self, slot: int) -> None:
        """Note that the task in *slot* has ended."""
        if slot:
            self._words[slot] = 0
            self._free.append(slot)
        self._words[0] = self._ended = self._ended + 1
        self._words[_RUNS] = _OWN

    def go_on(self, slot: int, serial: int) -> None:
        """Note that the task in *slot* has ended, and the one of this *serial*, of the same owner, begins there."""
        words = self._words
        words[0] = self._ended = self._ended + 1
        if slot:
            words[slot + 1] = serial
            words[_RUNS] = slot

    def opened(self, slot: int) -> None:
        """Note that the batch in *slot* is open: its tasks begin one by one."""
        if slot:
            self._words[slot] = 0
            self._free.append(slot)
        self._words[_RUNS] = _OWN

    def pause(self) -> int:
        """Note that nothing runs any more; return what did, for `resume`."""
        slot = self._words[_RUNS]
        self._words[_RUNS] = 0
        return slot

    def resume(self, slot: int = _OWN) -> None:
        """Note that the task in *slot* goes on; without one, that the worker's own tasks run."""
        self._words[_RUNS] = slot

    def call(self, name: str) -> None:
        """Note the name of the function that is called."""
        text = name.encode(errors="backslashreplace")[:_NAME_BYTES]
        start = 8 * _NAME
        self._memory[start : start + len(text)] = text
        self._words[1] = len(text)

    # the parent

    @property
    def ended(self) -> int:
        """The number of tasks that were begun and have ended."""
        return self._words[0]

    @property
    def function(self) -> str:
        """The name of the function that was called last; empty if there was none."""
        start = 8 * _NAME
        return self._memory[start : start + self._words[1]].decode(errors="replace")

    @property
    def is_running(self) -> bool:
        """True while a task runs, whosever it is."""
        return self._words[_RUNS] != 0

    @property
    def serves(self) -> bool:
        """True once tasks can come."""
        return self._words[_SERVES] != 0

    @property
    def mark(self) -> tuple[int, int]:
        """What stays the same as long as the same task runs, or nothing does."""
        return self._words[0], self._words[_RUNS]

    @property
    def has_tasks(self) -> bool:
        """True while tasks have begun and not ended."""
        return any(self._words[slot] for slot in range(_FIRST, len(self._words), _WORDS))

    def running(self) -> list[BegunTask]:
        """Return the task that ran; all that had begun, if it was one of the worker's own; none, if nothing ran."""
        runs = self._words[_RUNS]
        if runs == _OWN:
            return self.tasks()
        return self._tasks([runs]) if runs and self._words[runs] else []

    def tasks(self) -> list[BegunTask]:
        """Return the tasks that were begun and have not ended."""
        return self._tasks(range(_FIRST, len(self._words), _WORDS))

    def _tasks(self, slots: Iterable[int]) -> list[BegunTask]:
        words = self._words
        return [
            BegunTask(
                worker_numbered(words[slot] - 1),
                words[slot + 1],
                words[slot + 2] & 0xFFFFFFFF,
                words[slot + 2] >> 32,
                words[slot + 3],
            )
            for slot in slots
            if words[slot]
        ]
