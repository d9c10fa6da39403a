"""Durations counted in bins, each half as wide again as the one before: enough to tell a median or a 99th percentile.

Bin 0 has what took at most 0.1 us, and each next one reaches to 1.41 times as much: so a quantile is known to within
that factor. Histograms of several workers are added bin by bin.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

BINS = 88
EDGES = tuple(1e-7 * 2 ** (number / 2) for number in range(BINS - 1))  # seconds: the highest of each bin but the last

Bins = tuple[tuple[int, int], ...]  # those that are not empty: the bin's number, and how many are in it


def bin_of(seconds: float) -> int:
    """Return the number of the bin for a duration.

    >>> bin_of(0.0), bin_of(1.0), bin_of(1e12)
    (0, 47, 87)
    """
    return bisect_left(EDGES, seconds)


def added(histograms: Iterable[Bins]) -> Bins:
    """Return the sum of *histograms*.

    >>> added([((1, 2), (3, 1)), ((3, 4),)])
    ((1, 2), (3, 5))
    """
    counts: dict[int, int] = {}
    for bins in histograms:
        for number, count in bins:
            counts[number] = counts.get(number, 0) + count
    return tuple(sorted(counts.items()))


def quantile(bins: Bins, share: float) -> float:
    """Return the seconds that a *share* of all durations did not exceed, 0.0 if there are none.

    >>> round(quantile(((bin_of(0.001), 98), (bin_of(2.0), 2)), 0.99), 1)
    2.4
    """
    wanted = share * sum(count for _, count in bins)
    for number, count in bins:
        wanted -= count
        if wanted <= 0:
            return EDGES[min(number, BINS - 2)]
    return 0.0
