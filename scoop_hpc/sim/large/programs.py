"""Programs of a large federation: what an owner submits, one call after the other, and when it has all outcomes."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from scoop_hpc.bulk.sizes import Shares, Sizes

_TAIL = 1.5  # the exponent of a heavy tail
_LONGEST = 10.0  # times the mean, of a task
_PARTS = 4  # of what a node has to do, where tasks submit tasks
_BRANCHES = 16  # tasks that one of them submits, above those


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a call: so many items of a chunk were done, in so many seconds."""

    items: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """A call that computes for some *seconds*, or submits *children* and waits for them.

    The call of a chunk is done after *budget* seconds, however many of its *items* are left; they take *parts*. That of
    a bundle submits chunks of its items, of *size* each.
    """

    seconds: float
    children: Sequence[Call] = ()
    parts: Sequence[float] = ()
    budget: float = float("inf")
    first: int = 0  # of a chunk: its first item
    size: int = 0
    pace: float | None = None  # seconds that an item takes, as far as known

    @property
    def items(self) -> int:
        """Return of how many items of a map the call is a chunk, or a bundle of chunks."""
        return len(self.parts)

    @property
    def submits(self) -> bool:
        """Return whether it computes nothing itself."""
        return bool(self.children or self.size)

    def source(self) -> Source:
        """Return what it submits."""
        if self.size:
            return Maps(self.parts, Shares(len(self.parts), self.size, self.pace))
        return Submits(self.children)

    def done(self) -> Done:
        """Return what becomes of the call: of a chunk, how many items are done within its budget."""
        if not self.parts:
            return Done(1, self.seconds)
        seconds, items = 0.0, 0
        for part in self.parts:
            if items and seconds >= self.budget:
                break
            seconds += part
            items += 1
        return Done(items, seconds)


class Source(Protocol):
    """What an owner submits."""

    gathers: bool  # what is submitted at once leaves together

    def next(self) -> Call | None:
        """Return the next call; None if there is none, or none now."""

    def ended(self, call: Call, done: Done) -> None:
        """Take the outcome of a call."""

    def is_over(self) -> bool:
        """Return whether all outcomes are there."""


class Submits:
    """All *calls* at once, then their results."""

    gathers = False

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls: Iterator[Call] = iter(calls)
        self._left = len(calls)

    def next(self) -> Call | None:
        """Return the next call."""
        return next(self._calls, None)

    def ended(self, call: Call, done: Done) -> None:
        """Take an outcome."""
        self._left -= 1

    def is_over(self) -> bool:
        """Return whether all outcomes are there."""
        return not self._left


class Maps:
    """A map over items that take *seconds* each, in chunks or bundles as `bulk.feed` cuts them, of these *sizes*."""

    gathers = True

    def __init__(self, seconds: Sequence[float], sizes: Sizes) -> None:
        self._seconds = seconds
        self._sizes = sizes
        self._read = 0
        self._again: list[Call] = []  # the rests of chunks that took too long
        self._under_way = self._items_under_way = 0
        self._done: list[int] = []  # a heap of items that are done, each chunk by its first: results come in order
        self._counts: dict[int, int] = {}
        self._consumed = 0

    def next(self) -> Call | None:
        """Return the next chunk, if there is room for one."""
        if self._again:
            return self._begin(self._again.pop())
        sizes, left = self._sizes, len(self._seconds) - self._read
        if not left or sizes.enough(self._under_way, self._items_under_way):
            return None
        size = min(sizes.next(left), left)
        if not sizes.room(self._read - self._consumed + size):
            return None
        call = self._chunk(self._read, size)
        self._read += size
        return self._begin(call)

    def _chunk(self, first: int, size: int) -> Call:
        parts, sizes = self._seconds[first : first + size], self._sizes
        share = sizes.share(size)
        if share < size:
            return Call(0.0, parts=parts, first=first, size=share, pace=sizes.pace)
        budget = sizes.budget(size)
        return Call(0.0, parts=parts, budget=float("inf") if budget is None or size == 1 else budget, first=first)

    def _begin(self, call: Call) -> Call:
        self._under_way += 1
        self._items_under_way += call.items
        return call

    def ended(self, call: Call, done: Done) -> None:
        """Take the outcome of a chunk; cut the rest of it anew, if there is any."""
        self._under_way -= 1
        self._items_under_way -= call.items
        self._sizes.learn(done.items, done.seconds, 0)
        self._counts[call.first] = done.items
        heapq.heappush(self._done, call.first)
        while self._done and self._done[0] == self._consumed:
            self._consumed += self._counts.pop(heapq.heappop(self._done))
        left = call.items - done.items
        if left:
            size, begin = self._sizes.pieces(left), call.first + done.items
            starts = range(begin, begin + left, size)
            self._again += [self._chunk(start, min(size, begin + left - start)) for start in reversed(starts)]

    def is_over(self) -> bool:
        """Return whether all results are there."""
        return self._consumed == len(self._seconds)


def lengths(count: int, mean: float, is_heavy: bool, seed: int = 0) -> Sequence[float]:
    """Return how long *count* tasks take: the *mean* each, or, with a heavy tail, that on average.

    The tail is Pareto's, up to ten times the mean, as service times on clusters have [Harchol-Balter and Downey, ACM
    Trans. Computer Systems 15 (1997) 253].

    >>> few = lengths(1000, 2.0, True)
    >>> round(sum(few) / 1000, 1), max(few) <= 20.0
    (2.0, True)
    """
    if not is_heavy:
        return [mean] * count
    chance = random.Random(f"{seed} {count}")
    drawn = [min(_LONGEST, 0.36 * chance.paretovariate(_TAIL)) for _ in range(count)]
    share = mean / (sum(drawn) / count)
    return [min(each * share, _LONGEST * mean) for each in drawn]


KINDS = ("map", "submit", "recursive")
Make = Callable[[Sequence[float], int, int], Source]


def by_map(seconds: Sequence[float], nodes: int, workers: int) -> Source:
    """Return a program that maps a function over items that take so many *seconds*."""
    return Maps(seconds, Sizes(nodes * workers, spreads=True))


def by_submit(seconds: Sequence[float], nodes: int, workers: int) -> Source:
    """Return a program that submits a task for each of *seconds*, and waits for each."""
    known: dict[float, Call] = {}
    return Submits([known.setdefault(each, Call(each)) for each in seconds])


def recursive(seconds: Sequence[float], nodes: int, workers: int) -> Source:
    """Return a program of tasks that submit up to 16 others each, down to those that submit a quarter of a node's part.

    Whatever tasks are submitted together on one node, its idle workers take first. Were there one task for each node,
    64 workers of the first node would submit the parts of 64 nodes, and all that passes one broker.
    """
    known: dict[float, Call] = {}
    calls = [known.setdefault(each, Call(each)) for each in seconds]
    part = -(-len(calls) // (_PARTS * nodes))
    while len(calls) > _BRANCHES:
        calls = [Call(0.0, calls[first : first + part]) for first in range(0, len(calls), part)]
        part = _BRANCHES
    return Submits(calls)


PROGRAMS: dict[str, Make] = {"map": by_map, "submit": by_submit, "recursive": recursive}


def ideal(seconds: Sequence[float], workers: int) -> float:
    """Return how long it takes if whoever is free takes the next task at once, and nothing costs anything.

    >>> ideal([1.0, 1.0, 3.0], 2)
    4.0
    """
    free = [0.0] * workers
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)
