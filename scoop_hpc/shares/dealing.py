"""Deal things out to workers, evenly and in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_Thing = TypeVar("_Thing")


def deal(things: Sequence[_Thing], workers: int) -> list[tuple[_Thing, ...]]:
    """Return runs of *things*, one for each of the *workers*, whose lengths differ by one at most.

    Where there are fewer things than workers, each worker has one, which it shares with as few others as can be.

    >>> deal("abcde", 2), deal("ab", 4)
    ([('a', 'b'), ('c', 'd', 'e')], [('a',), ('a',), ('b',), ('b',)])
    """
    count = len(things)
    bounds = [(count * index // workers, count * (index + 1) // workers) for index in range(workers)]
    return [tuple(things[first : max(last, first + 1)]) for first, last in bounds]
