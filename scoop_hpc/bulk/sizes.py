"""Sizes of a map's chunks, and the number of items that may be ahead of its consumer."""

from __future__ import annotations

import sys

from scoop_hpc.worker.policy import DEFAULT, Policy

_LEAST = 1e-9  # seconds, bytes: no division by zero


class Sizes:
    """The sizes of the chunks of one map among *workers*: as *chunksize* says, or by what is known of its items.

    An item takes *pace* seconds, None if that is not known, and its result *weight* bytes. From one item on, chunks
    grow until they take as long as they should, the faster the less they take; near the end they get smaller, so that
    all workers end together.

    Thousands of workers would wait for an owner that hands each its chunk. So where that takes half of the owner's
    time, and the map *spreads*, several chunks go as one bundle: a task that submits them where it is executed. It
    spans so many workers that the owner is idle most of the time, and one where items last. As long as the pace is not
    known, that is some, or so many that the owner has soon handed bundles to all. With it, if its worker dies, all is
    lost that it has been given, but that is never more than a few times the work that the owner needs time to hand to
    all. A map that cannot spread has chunks that take as long as the owner needs to hand one to each worker.
    """

    def __init__(
        self,
        workers: int,
        chunksize: int | None = None,
        buffersize: int | None = None,
        pace: float | None = None,
        weight: float = 0.0,
        policy: Policy = DEFAULT,
        spreads: bool = False,
    ) -> None:
        self._policy = policy
        self.pace = pace
        self.weight = weight
        self.fixed = chunksize is not None
        self._workers = workers
        self._round = workers * policy.chunk_owner  # seconds that the owner needs for a task for each worker
        self._spreads = spreads and chunksize is None and buffersize is None and self._spans(policy.chunk_seconds) > 1
        self._chunk_seconds = policy.chunk_seconds if self._spreads else max(policy.chunk_seconds, self._round)
        self._counted = self._seconds = self._bytes = 0.0  # of the last chunks: items, how long they took, results
        self._taken = 0.0  # seconds that all chunks took
        self._may_own = workers > 1 and chunksize is None and buffersize is None
        self._size = min(chunksize or self._fitting() or 1, sys.maxsize)
        self._measured = self._size  # items of the largest chunk that the pace is known of
        self._bounded = buffersize is not None
        self._limit = max(self._policy.ahead_items, self._size) if buffersize is None else min(buffersize, sys.maxsize)
        # of a bounded map every worker should have two chunks
        self._most = self._limit if self.fixed else min(self._policy.chunk_items, max(1, self._limit // (2 * workers)))

    def next(self, left: int | None) -> int:
        """Return how many items make the next chunk, if so many are *left* to be read; None: nobody knows."""
        size, span = self.chunk, self.span
        if span > 1:
            size = min(size * span, self._policy.chunk_items, self._light())
        if self.fixed or left is None:
            return size
        policy = self._policy
        # of bundles the smallest, too, leave the owner time, for they are shared by as many workers
        rounds = 2 if self._spreads else 1
        least = self._fitting(max(policy.chunk_worth, rounds * self._round))
        return max(1, min(size, max(left * span // (policy.chunk_last * self._workers), least)))

    def own(self, left: int | None, call: float | None) -> int:
        """Return how many of the next items the owner should do itself, now: none where others save it time.

        *left* items are to be read, of which each takes *call* seconds at the most, as far as is known without a pace.
        There may be more than that, though *left* is none, or negative: a list may grow while it is mapped. Once others
        have got some because they do save time, they get the rest, too.
        """
        policy = self._policy
        known = call if self.pace is None else self.pace
        if left is None or left <= 0 or known is None or known > policy.own_chunk or not self._may_own:
            return 0
        known = max(known, _LEAST)
        if left * known * (1 - 1 / self._workers) <= policy.own_map:
            return min(left, int(policy.own_chunk / known))
        trial = int((policy.own_trial - self._taken) / known)
        if known <= policy.own_call and trial > 0:
            return min(left, trial)
        self._may_own = self.pace is None
        return 0

    @property
    def chunk(self) -> int:
        """The number of items of a chunk, which is all that is handed out at once where nothing is bundled."""
        return min(self._size, self._most)

    @property
    def span(self) -> int:
        """The number of workers that the next items are for: 1 if the owner has the time to hand each its own."""
        if not self._spreads:
            return 1
        if self.pace is None:
            all_at_once = int(self._round / self._policy.bundle_start)
            return min(max(self._policy.bundle_unknown, all_at_once), self._spans(self._chunk_seconds))
        return self._spans(max(self._chunk_seconds, self.pace))

    def _spans(self, seconds: float) -> int:
        """Return how many workers a bundle spans whose chunks take so many *seconds*; 1 if it is not worth it."""
        span = self._round / (self._policy.owner_share * seconds)
        return int(min(span, self._policy.bundle_chunks)) if span >= self._policy.bundle_least else 1

    @property
    def own_budget(self) -> float:
        """The seconds that the owner may take for a chunk of its own: what is left of it then is for all."""
        return 2 * self._policy.own_chunk

    def share(self, count: int) -> int:
        """Return how many of *count* items of a task are for one worker: all of them if it is no bundle."""
        span = self.span
        if span == 1:
            return count
        return min(self.chunk, max(-(-count // span), self._fitting(self._policy.chunk_worth)))

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
        most = max(self._limit, self._policy.ahead_each * self._workers)  # 100,000 items would not do for all workers
        return ahead <= min(most, max(fitting, usual))

    def enough(self, chunks: int, items: int) -> bool:
        """Return whether *chunks* under way, of so many *items* in all, keep all workers busy."""
        usual = self._policy.chunks_per_worker * self._workers
        if (items // self.chunk if self._spreads else chunks) < usual:
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
        self._taken += seconds
        self._counted = self._policy.chunk_decay * self._counted + count
        self._seconds = self._policy.chunk_decay * self._seconds + seconds
        self._bytes = self._policy.chunk_decay * self._bytes + size
        self.pace, self.weight = self._seconds / self._counted, self._bytes / self._counted
        self._measured = max(self._measured, count // self.span)
        growth = self._policy.chunk_leap if seconds < self._policy.chunk_worth else self._policy.chunk_growth
        self._size = min(growth * max(self._size, count // self.span), self._fitting(), self._most)

    def _fitting(self, seconds: float | None = None) -> int:
        """Return how many items, at least one, take so many *seconds*, or a chunk's; 0 if that is not known."""
        if self.pace is None:
            return 0
        if seconds is None:
            seconds = self._chunk_seconds
        return int(max(1, min(self._policy.chunk_items, seconds / max(self.pace, _LEAST), self._light())))

    def _light(self) -> int:
        """Return how many items, at least one, have results that may be in one message."""
        return int(max(1, self._policy.chunk_bytes / max(self.weight, _LEAST)))


class Shares(Sizes):
    """The sizes of the chunks of a bundle of *count* items: *size* each, and all at once, for whoever is idle."""

    def __init__(self, count: int, size: int, pace: float | None, policy: Policy = DEFAULT) -> None:
        super().__init__(-(-count // size), pace=pace, policy=policy)
        self._share = size

    def next(self, left: int | None) -> int:
        """Return how many items make the next chunk."""
        return self._share

    def enough(self, chunks: int, items: int) -> bool:
        """Return False: what holds chunks does not come back to them while it executes one."""
        return False

    def room(self, ahead: int) -> bool:
        """Return True: the items are here."""
        return True
