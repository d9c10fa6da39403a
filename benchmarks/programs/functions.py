"""The functions that are tasks, in a module of their own: every peer's workers find them by name."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from site_functions import echo as echo
from site_functions import hold as hold
from site_functions import nothing as nothing
from site_functions import process_id as process_id


def burn(seconds: float) -> float:
    """Compute until this thread has had so much CPU time; return how much it had.

    By CPU time, so that a task is as long beside a busy neighbour as alone: what is lost is the peer's, not the core's.
    """
    start = now = time.thread_time()
    while now - start < seconds:
        for _ in range(100):
            pass
        now = time.thread_time()
    return now - start


def doze(seconds: float) -> float:
    """Sleep; return how long."""
    start = time.monotonic()
    time.sleep(seconds)
    return time.monotonic() - start


def mapped(verbs: Any, function: Callable[..., Any], items: Sequence[Any]) -> list[Any]:
    """Map by a task."""
    return list(verbs.map(function, items))


class Verbs:
    """What tasks that make tasks call; an argument of theirs, so that they are the same functions for each peer.

    It travels as the name of its module: SCOOP's functions cannot be pickled.
    """

    def __init__(self, name: str) -> None:
        module: Any = importlib.import_module(name)
        self._name = name
        self.submit: Callable[..., Any] = module.submit
        self.map: Callable[..., Iterable[Any]] = module.map
        self.as_completed: Callable[..., Iterable[Any]] = module.as_completed

    def __reduce__(self) -> tuple[Any, ...]:
        return Verbs, (self._name,)


def fib(verbs: Verbs, n: int) -> int:
    """Return the nth Fibonacci number, with a task for each call."""
    if n < 2:
        return n
    left, right = verbs.submit(fib, verbs, n - 1), verbs.submit(fib, verbs, n - 2)
    return int(left.result() + right.result())


def leaves(verbs: Verbs, n: int, seconds: float) -> int:
    """Count the leaves of the same tree, each of which burns so many seconds."""
    if n < 2:
        burn(seconds)
        return 1
    left, right = verbs.submit(leaves, verbs, n - 1, seconds), verbs.submit(leaves, verbs, n - 2, seconds)
    return int(left.result() + right.result())


def square(n: int) -> int:
    """Be a leaf of `tree`."""
    return n * n


def squares(verbs: Verbs, n: int) -> int:
    """Sum the first squares by map."""
    return sum(verbs.map(square, range(1, n + 1)))


def sums(verbs: Verbs, n: int) -> int:
    """Sum sums, as they come."""
    return sum(done.result() for done in verbs.as_completed([verbs.submit(squares, verbs, i + 1) for i in range(n)]))


def tree(verbs: Verbs, n: int) -> int:
    """Sum sums of sums of squares, each level by another verb: the shape of SCOOP's example full_tree."""
    return sum(verbs.map(sums, [verbs] * n, range(1, n + 1)))
