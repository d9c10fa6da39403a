"""Sizes of a map's chunks, and the number of items that may be ahead of its consumer."""

from __future__ import annotations

import sys

from scoop_hpc.worker.policy import DEFAULT, Policy

_LEAST = 1e-9  # seconds, bytes: no division by zero


class Sizes:
    """The sizes of the chunks of one map among *workers*: as *chunksize* says, or by what is known of its items.

    An item takes *pace* seconds, None if that is not known, and its result *weight* bytes. From one item on, chunks
    grow until they take as long as they should, the faster the less they take; near the end they get smaller, so that
    all workers end together. None is to take less than the owner needs to hand one to each worker: else thousands of
    workers would wait for the owner.
    """

    def __init__(
        self,
        workers: int,
        chunksize: int | None = None,
        buffersize: int | None = None,
        pace: float | None = None,
        weight: float = 0.0,
        policy: Policy = DEFAULT,
    ) -> None:
        self._policy = policy
        self.pace = pace
        self.weight = weight
        self.fixed = chunksize is not None
        self._workers = workers
        self._round = workers * policy.chunk_owner  # seconds that the owner needs for a chunk for each worker
        self._chunk_seconds = max(policy.chunk_seconds, self._round)
        self._counted = self._seconds = self._bytes = 0.0  # of the last chunks: items, how long they took, results
        self._size = min(chunksize or self._fitting() or 1, sys.maxsize)
        self._measured = self._size  # items of the largest chunk that the pace is known of
        self._bounded = buffersize is not None
        self._limit = max(self._policy.ahead_items, self._size) if buffersize is None else min(buffersize, sys.maxsize)
        # of a bounded map every worker should have two chunks
        self._most = self._limit if self.fixed else min(self._policy.chunk_items, max(1, self._limit // (2 * workers)))

    def next(self, left: int | None) -> int:
        """Return how many items make the next chunk, if so many are *left* to be read; None: nobody knows."""
        size = min(self._size, self._most)
        if self.fixed or left is None:
            return size
        policy = self._policy
        least = self._fitting(max(policy.chunk_worth, self._round))
        return max(1, min(size, max(left // (policy.chunk_last * self._workers), least)))

    def budget(self, count: int) -> float | None:
        """Return how many seconds a chunk of *count* items may take until what is left of it is cut anew."""
        if self.fixed:
            return None
        return max(self._policy.chunk_least_budget, self._policy.chunk_budget * count * (self.pace or 0.0))

    def pieces(self, left: int) -> int:
        """Return how many items should make each of the pieces into which *left* are cut."""
        return max(self._size, -(-left // (self._policy.chunk_pieces * self._workers)))

    def room(self, ahead: int) -> bool:
        """Return whether so many items may be *ahead* of the consumer: fewer if their results are large."""
        if self._bounded or self.fixed:
            return ahead <= self._limit
        fitting = int(self._policy.ahead_bytes / max(self.weight, _LEAST))
        usual = self._policy.chunks_per_worker * self._workers
        return ahead <= min(max(self._limit, usual), max(fitting, usual))  # 100,000 items would not do for all workers

    def enough(self, chunks: int, items: int) -> bool:
        """Return whether *chunks* under way, of so many *items* in all, keep all workers busy."""
        usual = self._policy.chunks_per_worker * self._workers
        if chunks < usual:
            return False
        if self.fixed or self.pace is None or self._size < self._fitting():  # it grows
            return True
        if self._size > self._policy.chunk_leap * self._measured:  # too little is known of chunks of this size
            return True
        return items * self.pace >= usual * self._chunk_seconds  # at the end: many small chunks

    def learn(self, count: int, seconds: float, size: int) -> None:
        """Note how long *count* items took, and how many bytes there are of their results.

        The last chunks count, each by the number of its items.
        """
        self._counted = self._policy.chunk_decay * self._counted + count
        self._seconds = self._policy.chunk_decay * self._seconds + seconds
        self._bytes = self._policy.chunk_decay * self._bytes + size
        self.pace, self.weight = self._seconds / self._counted, self._bytes / self._counted
        self._measured = max(self._measured, count)
        growth = self._policy.chunk_leap if seconds < self._policy.chunk_worth else self._policy.chunk_growth
        self._size = min(growth * self._size, self._fitting(), self._most)

    def _fitting(self, seconds: float | None = None) -> int:
        """Return how many items, at least one, take so many *seconds*, or a chunk's; 0 if that is not known."""
        if self.pace is None:
            return 0
        if seconds is None:
            seconds = self._chunk_seconds
        in_time = seconds / max(self.pace, _LEAST)
        return int(max(1, min(self._policy.chunk_items, in_time, self._policy.chunk_bytes / max(self.weight, _LEAST))))
