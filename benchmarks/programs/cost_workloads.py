"""The workloads about what a pool costs beside the time of few tasks: its memory, its rest, and whether that grows."""

from __future__ import annotations

import contextlib
import itertools
import operator
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import functions
from peer import Peer
from processes import computed, memory, named, others, own_and, wakes
from site_workloads import Report

USS = ("Private_",)
PSS = ("Pss:",)
TENTHS = 10


@contextlib.contextmanager
def all_held(peer: Peer) -> Iterator[None]:
    """Keep all other workers occupied meanwhile: each of them has begun."""
    with tempfile.TemporaryDirectory() as directory:
        held = [peer.submit(functions.hold, directory) for _ in range(peer.others)]
        while len(list(Path(directory).glob("held-*"))) < peer.others:
            peer.let_start(held)
        yield
        Path(directory, "release").touch()
        assert os.getpid() not in peer.gather(held)


def queued_memory(peer: Peer, count: int) -> Report:
    """Queue no-ops behind workers that are all held; say by how much the submitting process and the broker grow."""
    peer.gather([peer.submit(functions.nothing, n) for n in range(max(100, count // 100))])
    with all_held(peer):
        before = settled_memory(own_and(peer.broker()))
        submitted = [peer.submit(functions.nothing, n) for n in range(count)]
        growth = settled_memory(own_and(peer.broker())) - before
    assert peer.gather(submitted) == list(range(count))
    return {"bytes": growth}


def broker_memory(peer: Peer, count: int) -> Report:
    """Say what the broker has at rest, and how much more after a map and as many submits."""
    broker = peer.broker()
    assert broker is not None
    peer.result(peer.submit(functions.nothing, 0))
    rest = settled_memory([broker], PSS)
    assert peer.map(functions.nothing, range(count)) == list(range(count))
    assert peer.gather([peer.submit(functions.nothing, n) for n in range(count)]) == list(range(count))
    return {"rest": rest, "kept": settled_memory([broker], PSS) - rest}


def settled_memory(pids: list[int], fields: tuple[str, ...] = USS) -> int:
    """Return the memory of the processes once they have stopped to take in what was sent."""
    last, now = -1, memory(pids, fields)
    while abs(now - last) > 0.001 * now:
        time.sleep(0.1)
        last, now = now, memory(pids, fields)
    return now


def rest(peer: Peer, count: int, quiet: float, seconds: float) -> Report:
    """Map once, then rest; say how often the process that wakes most does so, and what CPU time all have together.

    They are watched for so many *seconds*, *quiet* ones after the map.
    """
    with all_held(peer):
        pass
    assert peer.map(functions.nothing, range(count)) == list(range(count))
    time.sleep(quiet)
    pool = [os.getpid(), *others(peer.root())]
    woken, used, start = [wakes(pid) for pid in pool], computed(pool), time.monotonic()
    time.sleep(seconds)
    lasted = time.monotonic() - start
    share = (computed(pool) - used) / lasted
    most, pid = max((wakes(pid) - before, pid) for pid, before in zip(pool, woken))
    name = "program" if pid == os.getpid() else Path(f"/proc/{pid}/comm").read_text().strip()
    return {"wakes": most, "lasted": lasted, "note": f"{name}; {share:.2%} of a core for all {len(pool)} processes"}


def growth_submit(peer: Peer, count: int) -> Report:
    """Submit no-ops, keep all futures, and gather them; say how much longer one takes than one of a tenth as many.

    Or how much longer the last tenth of the submits takes than the first, if that is more. That of the results says
    little: whoever waits for the first may wait for all.
    """
    tenth = count // TENTHS
    _run(peer, tenth)
    start = time.perf_counter()
    few = [peer.submit(functions.nothing, n) for n in range(tenth)]
    assert peer.gather(few) == list(range(tenth))
    alone = time.perf_counter() - start
    many, submitting, gathering = [], [], []
    for begin in range(0, count, tenth):
        start = time.perf_counter()
        many += [peer.submit(functions.nothing, n) for n in range(begin, begin + tenth)]
        submitting.append(time.perf_counter() - start)
    for begin in range(0, count, tenth):
        start = time.perf_counter()
        found = peer.gather(many[begin : begin + tenth])
        gathering.append(time.perf_counter() - start)
        assert found == list(range(begin, begin + tenth))
    whole = (sum(submitting) + sum(gathering)) / TENTHS / alone
    submits, results = (seconds[-1] / seconds[0] for seconds in (submitting, gathering))
    parts = f"all {whole:.2f} x, the last tenth's submits {submits:.2f} x, its results {results:.2f} x"
    return {"growth": max(whole, submits), "note": f"{parts}; {_kept(peer)}"}


def growth_map(peer: Peer, count: int) -> Report:
    """Map a no-op, and consume the results as they come; say how much longer the last tenth takes than the first."""
    tenth = count // TENTHS
    _run(peer, tenth)
    seconds = []
    results = peer.map_lazily(functions.nothing, range(count))
    for begin in range(0, count, tenth):
        start = time.perf_counter()
        right = sum(map(operator.eq, itertools.islice(results, tenth), range(begin, begin + tenth)))
        seconds.append(time.perf_counter() - start)
        assert right == tenth
    assert next(results, None) is None
    return {"growth": seconds[-1] / seconds[0], "note": _kept(peer)}


def _run(peer: Peer, count: int) -> None:
    """Let all workers start, and run the no-op: what comes once is not to be in the first tenth."""
    with all_held(peer):
        pass
    assert sum(peer.map_lazily(functions.nothing, range(count))) == sum(range(count))


def _kept(peer: Peer) -> str:
    """Say what memory the program, its broker and the largest worker have of their own."""
    broker = peer.broker()
    assert broker is not None
    workers = named("scoop-worker", others(peer.root()))
    program, largest = memory([os.getpid()], USS), max(memory([pid], USS) for pid in workers)
    return f"MB: program {program / 1e6:.0f}, broker {memory([broker], USS) / 1e6:.0f}, worker {largest / 1e6:.0f}"
