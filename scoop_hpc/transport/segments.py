"""Large buffers in memory that the processes of one machine share, instead of in messages.

::

    maker: array --one copy--> segment ~~reference, in a message~~> taker: map of the segment --no copy--> array
               [ lent ] --taken--> [ resting ] --no longer mapped--> used again

A segment is a file in memory that has no name [memfd_create(2)]: the kernel frees it with the last process that has it
open or mapped, however that ends. The taker opens it by way of the maker's ``/proc/PID/fd``, and maps it copy on write,
see `maps`: to both it is memory of their own. While a map lasts it holds a shared lock on the segment [flock(2)]: a
lock belongs to an open file, which the map keeps open although its descriptor is closed.

The last word of a segment is where maker and taker tell each other: it is twice the number of the present content, and
odd once that was taken. A number comes once only, so that a late reference to lost content is recognised.

New memory from the kernel costs more than to copy into it: for 1 MB 600 us where memory at hand takes 90 (on a virtual
machine). Therefore the maker keeps a little of it, and for a second, while there may be more to send, more.
"""

from __future__ import annotations

import fcntl
import itertools
import mmap
import os
import struct
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Container, Iterable, Sequence

from scoop_hpc.protocol.messages import Buffer, Reference

LEAST = 64 * 1024  # bytes: an echo of 100 kB takes 0.45 ms this way, 1 ms in messages
LAYOUT = struct.Struct("=7Q")  # of a reference: pid, descriptor, device, inode, bytes of segment and buffer, number
WORD = struct.Struct("=Q")

_REST_ALL = 32 * 1024 * 1024  # bytes of memory kept to be used again
_REST_SHORTLY = 256 * 1024 * 1024  # bytes of it that are kept for a while after one was used
_WHILE = 1.0  # seconds
_REST_COUNT = 32  # descriptors kept open for that
_REST_EACH = 64 * 1024 * 1024  # bytes of a segment that is
_LOOK = 32  # segments looked at in one go
_SOON, _LATE = 0.005, 0.5  # seconds between looks: at first, and after many in vain


class _Segment:
    """A segment, and the state of its content."""

    __slots__ = ("capacity", "descriptor", "device", "inode", "number", "rests_since", "serials")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.number = 0
        self.rests_since = 0.0
        self.serials: Sequence[int] = ()  # the tasks whose arguments are in it
        self.descriptor = os.memfd_create("scoop-hpc", os.MFD_CLOEXEC)
        status = os.fstat(self.descriptor)
        self.device, self.inode = status.st_dev, status.st_ino

    def fill(self, number: int, raw: memoryview) -> Reference:
        """Take a copy of *raw*, as content *number*."""
        self.number, self.serials = number, ()
        written = 0
        while written < raw.nbytes:  # at most 2 GB at a time [write(2)]
            written += os.pwrite(self.descriptor, raw[written:], written)
        os.pwrite(self.descriptor, WORD.pack(2 * number), self.capacity)
        place = os.getpid(), self.descriptor, self.device, self.inode
        return Reference(LAYOUT.pack(*place, self.capacity, raw.nbytes, number))

    def taken(self) -> bool:
        """Return whether another process has mapped the content."""
        return os.pread(self.descriptor, WORD.size, self.capacity) == WORD.pack(2 * self.number + 1)

    def void(self) -> bool:
        """Make the content invalid, unless another process maps it; return whether it is invalid."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        os.pwrite(self.descriptor, WORD.pack(0), self.capacity)
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        return True

    def close(self) -> None:
        """Leave the memory to those that map it."""
        os.close(self.descriptor)


class Segments:
    """The segments that this process has made, at the *most* so many at a time.

    Any thread may call any method: the main one puts results into segments while the progress thread looks which of
    them were taken.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.RLock()
        self._clock = clock
        self.patience = _SOON  # seconds until another look is worth it
        self._most = most
        self._numbers = itertools.count(1)
        self._lent: OrderedDict[int, _Segment] = OrderedDict()  # by number: not yet taken, as far as known
        self._kept: OrderedDict[int, _Segment] = OrderedDict()  # until their tasks are done
        self._resting: deque[_Segment] = deque()
        self._resting_bytes = 0

    @property
    def lent(self) -> bool:
        """True if there is content that other processes may still map, or much memory that rests.

        This process is not told when they do: it has to look.
        """
        return bool(self._lent) or self._resting_bytes > _REST_ALL

    @property
    def has_kept(self) -> bool:
        """True if there is content that is kept for tasks."""
        return bool(self._kept)

    def put(self, raw: memoryview) -> Reference | None:
        """Return a reference to a copy of *raw*, None if that should rather travel as it is."""
        if raw.nbytes < LEAST:
            return None
        with self._lock:
            return self._put(raw)

    def _put(self, raw: memoryview) -> Reference | None:
        if self._lent:
            self.look()
        segment = self._rested(raw.nbytes)
        try:
            if segment is None:
                if len(self._lent) + len(self._kept) + len(self._resting) >= self._most:
                    return None
                segment = _Segment(-(-raw.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE)
            number = next(self._numbers)
            reference = segment.fill(number, raw)
        except OSError:  # it is forbidden [vm.memfd_noexec], or descriptors or memory are short
            if segment is not None:
                segment.close()
            return None
        self._lent[number] = segment
        self.patience = _SOON
        return reference

    def keep(self, frames: Iterable[Buffer], serials: Sequence[int]) -> None:
        """Keep the segments that *frames* refer to as long as one of the tasks *serials* is waited for."""
        numbers = _numbers_in(frames)
        if numbers:
            with self._lock:
                for number in numbers:
                    segment = self._kept[number] = self._lent.pop(number)
                    segment.serials = serials

    def discard(self, frames: Iterable[Buffer]) -> None:
        """Free the segments that *frames* refer to: they are not sent after all."""
        with self._lock:
            for number in _numbers_in(frames):
                self._rest(self._lent.pop(number))

    def look(self) -> None:
        """Free the segments that were mapped by others, and those that have rested for a while."""
        with self._lock:
            self._free_rested()
            self.patience = min(2 * self.patience, _LATE)
            for number in list(itertools.islice(self._lent, _LOOK)):
                if self._lent[number].taken():
                    self._rest(self._lent.pop(number))
                    self.patience = _SOON
                else:
                    self._lent.move_to_end(number)

    def release(self, waited_for: Container[int]) -> None:
        """Free the segments kept for tasks that are not *waited_for* any more, and what has rested for a while."""
        if not (self._kept or self._resting_bytes > _REST_ALL):
            return
        with self._lock:
            self._free_rested()
            in_vain = 0  # those of a batch of tasks become free together, so it ends by what is not
            while self._kept and in_vain < _LOOK:
                number = next(iter(self._kept))
                if any(serial in waited_for for serial in self._kept[number].serials):
                    self._kept.move_to_end(number)
                    in_vain += 1
                else:
                    self._rest(self._kept.pop(number))

    def close(self) -> None:
        """Close all segments."""
        with self._lock:
            for segment in (*self._lent.values(), *self._kept.values(), *self._resting):
                segment.close()
            self._lent.clear()
            self._kept.clear()
            self._resting.clear()
            self._resting_bytes = 0

    def _rest(self, segment: _Segment) -> None:
        """Let *segment* wait until no process maps it; its content is not needed any more."""
        if segment.capacity > _REST_EACH:
            segment.close()
            return
        segment.rests_since = self._clock()
        self._resting.append(segment)
        self._resting_bytes += segment.capacity
        while self._resting_bytes > _REST_SHORTLY or len(self._resting) > _REST_COUNT:
            self._free_oldest()

    def _free_rested(self) -> None:
        """Free memory above what is always kept, if it has not been needed for a while."""
        due = self._clock() - _WHILE
        while self._resting_bytes > _REST_ALL and self._resting[0].rests_since < due:
            self._free_oldest()

    def _free_oldest(self) -> None:
        oldest = self._resting.popleft()
        self._resting_bytes -= oldest.capacity
        oldest.close()

    def _rested(self, size: int) -> _Segment | None:
        """Return a segment to be used again for a buffer of *size* bytes."""
        for segment in self._resting:
            if size <= segment.capacity <= 2 * size and segment.void():
                self._resting.remove(segment)
                self._resting_bytes -= segment.capacity
                return segment
        return None


def _numbers_in(frames: Iterable[Buffer]) -> list[int]:
    return [LAYOUT.unpack(frame)[-1] for frame in frames if type(frame) is Reference]
