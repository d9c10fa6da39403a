"""Workloads of the benchmarks that a site measures itself by, too: each is given a warm peer, and checks every result.

Time is that from the first submission to the last result; the pool was started, and has run the same function, before.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import site_functions as functions
from site_peer import Peer

Report = dict[str, Any]
_WINDOW = 4  # large arrays under way at once


def warm(peer: Peer, function: Callable[..., Any], argument: Any) -> None:
    """Let all workers start, and load *function*."""
    peer.map(function, [argument] * (8 * peer.workers))
    peer.gather([peer.submit(function, argument) for _ in range(8 * peer.workers)])


def first(peer: Peer) -> Report:
    """Say when the first result was there."""
    assert peer.result(peer.submit(functions.nothing, 42)) == 42
    return {"first": time.time()}


def map_nothing(peer: Peer, count: int) -> Report:
    """Map a no-op."""
    warm(peer, functions.nothing, 0)
    return mapped(peer, count)


def mapped(peer: Peer, count: int) -> Report:
    """Map a no-op, whatever was before."""
    start = time.perf_counter()
    results = peer.map(functions.nothing, range(count))
    seconds = time.perf_counter() - start
    assert results == list(range(count))
    return {"seconds": seconds}


def submit_nothing(peer: Peer, count: int) -> Report:
    """Submit no-ops one by one, then wait for all."""
    warm(peer, functions.nothing, 0)
    start = time.perf_counter()
    results = peer.gather([peer.submit(functions.nothing, n) for n in range(count)])
    seconds = time.perf_counter() - start
    assert results == list(range(count))
    return {"seconds": seconds}


def one_elsewhere(peer: Peer, count: int) -> Report:
    """The same, but so that another process must run it."""
    warm(peer, functions.process_id, 0)
    start = time.perf_counter()
    processes = [peer.result_from_elsewhere(peer.submit(functions.process_id, n)) for n in range(count)]
    seconds = time.perf_counter() - start
    assert os.getpid() not in processes, f"{processes.count(os.getpid())} tasks ran in the submitting process"
    return {"seconds": seconds}


def echo_arrays(peer: Peer, count: int, size: int) -> Report:
    """Send arrays to another process and have them back, a few at a time."""
    import numpy  # noqa: PLC0415 - takes a tenth of a second, which `first` must not see

    arrays = [numpy.arange(size // 8, dtype=numpy.float64) + n for n in range(_WINDOW)]
    small = [peer.submit(functions.echo, arrays[0][:8]) for _ in range(8 * peer.workers)]  # all workers load numpy
    assert all(peer.result_from_elsewhere(handle)[0] == 0 for handle in small)
    under_way: deque[Any] = deque()
    start = time.perf_counter()
    for n in range(count + _WINDOW):
        if n >= _WINDOW:
            sent, back = arrays[n % _WINDOW], peer.result_from_elsewhere(under_way.popleft())
            assert back is not sent, "the task ran in the submitting process"
            assert (back.size, back[0], back[-1]) == (sent.size, sent[0], sent[-1])
        if n < count:
            under_way.append(peer.submit(functions.echo, arrays[n % _WINDOW]))
    seconds = time.perf_counter() - start
    assert numpy.array_equal(back, sent)
    return {"seconds": seconds}
