"""How many items of a map make a chunk, and how many may be ahead of its consumer."""

from __future__ import annotations

import sys

_CHUNK_TIME = 0.05  # seconds that a chunk should take
_CHUNK_MOST = 10_000  # items in a chunk
_CHUNK_BYTES = 4_000_000  # of a chunk's results
_WORTH = 0.001  # seconds that a chunk should take at the end, too, where chunks get smaller
_LAST = 4  # chunks that a worker should still get, at the least
_BUDGET = 4  # times what a chunk was thought to take, after which what is left of it is cut anew
_LEAST_BUDGET = _CHUNK_TIME  # seconds
_SPLIT = 4  # pieces for each worker, at the most, that what is left is cut into
_DECAY = 0.5  # of what is known of an item, for each chunk
_AHEAD = 100_000  # items that are ahead of the consumer
_AHEAD_BYTES = 128_000_000  # of their results
_PER_WORKER = 3  # chunks under way, or as much in seconds: one that runs, and what comes and goes meanwhile
_LEAST = 1e-9  # seconds, bytes: no division by zero


class Sizes:
    """The sizes of the chunks of one map among *workers*: as *chunksize* says, or by what is known of its items.

    An item takes *pace* seconds, None if that is not known, and its result *weight* bytes. From one item on, chunks
    double until they take _CHUNK_TIME; near the end they get smaller, so that all workers end together.
    """

    def __init__(
        self,
        workers: int,
        chunksize: int | None = None,
        buffersize: int | None = None,
        pace: float | None = None,
        weight: float = 0.0,
    ) -> None:
        self.pace = pace
        self.weight = weight
        self.fixed = chunksize is not None
        self._workers = workers
        self._counted = self._seconds = self._bytes = 0.0  # of the last chunks: items, how long they took, results
        self._size = min(chunksize or self._fitting() or 1, sys.maxsize)
        self._bounded = buffersize is not None
        self._limit = max(_AHEAD, self._size) if buffersize is None else min(buffersize, sys.maxsize)
        # of a bounded map every worker should have two chunks
        self._most = self._limit if self.fixed else min(_CHUNK_MOST, max(1, self._limit // (2 * workers)))

    def next(self, left: int | None) -> int:
        """Return how many items make the next chunk, if so many are *left* to be read; None: nobody knows."""
        size = min(self._size, self._most)
        if self.fixed or left is None:
            return size
        return max(1, min(size, max(left // (_LAST * self._workers), self._fitting(_WORTH))))

    def budget(self, count: int) -> float | None:
        """Return how many seconds a chunk of *count* items may take until what is left of it is cut anew."""
        return None if self.fixed else max(_LEAST_BUDGET, _BUDGET * count * (self.pace or 0.0))

    def pieces(self, left: int) -> int:
        """Return how many items should make each of the pieces into which *left* are cut."""
        return max(self._size, -(-left // (_SPLIT * self._workers)))

    def room(self, ahead: int) -> bool:
        """Whether so many items may be *ahead* of the consumer: fewer if their results are large."""
        if self._bounded or self.fixed:
            return ahead <= self._limit
        fitting = int(_AHEAD_BYTES / max(self.weight, _LEAST))
        return ahead <= min(self._limit, max(fitting, _PER_WORKER * self._workers))

    def enough(self, chunks: int, items: int) -> bool:
        """Whether *chunks* under way, of so many *items* in all, keep all workers busy."""
        usual = _PER_WORKER * self._workers
        if chunks < usual:
            return False
        if self.fixed or self.pace is None or self._size < self._fitting():  # it grows
            return True
        return items * self.pace >= usual * _CHUNK_TIME  # at the end: many small chunks

    def learn(self, count: int, seconds: float, size: int) -> None:
        """Note how long *count* items took, and how many bytes there are of their results.

        The last chunks count, each by the number of its items.
        """
        self._counted = _DECAY * self._counted + count
        self._seconds = _DECAY * self._seconds + seconds
        self._bytes = _DECAY * self._bytes + size
        self.pace, self.weight = self._seconds / self._counted, self._bytes / self._counted
        self._size = min(2 * self._size, self._fitting(), self._most)

    def _fitting(self, seconds: float = _CHUNK_TIME) -> int:
        """Return how many items, at least one, take so many *seconds*; 0 if that is not known."""
        if self.pace is None:
            return 0
        in_time = seconds / max(self.pace, _LEAST)
        return int(max(1, min(_CHUNK_MOST, in_time, _CHUNK_BYTES / max(self.weight, _LEAST))))
