"""The depth of this thread's stack: whether a task may run on top of what waits for it.

To ask for a frame that is not there says so by an exception, which takes 0.5 us, a tenth of what a future takes that
stays here. CPython 3.11 and later count down, in the state of each thread, how many calls the recursion limit leaves
[CPython, Include/cpython/pystate.h]. Where that is, is found out by looking for what each call takes one from.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence

_BYTES = 128  # of the state of a thread, in which it is looked for


def is_shallow() -> bool:
    """Return whether there is room on this stack for a task as deep as itself, and another."""
    try:
        sys._getframe(sys.getrecursionlimit() // 3)
    except ValueError:
        return True
    return False


def measure() -> Callable[[], bool]:
    """Return a function that tells what `is_shallow` does, in this thread only, and as long as that lives."""
    left = _calls_left()
    if left is None:
        return is_shallow
    limit = sys.getrecursionlimit
    return lambda: 3 * left[0] > 2 * limit()


def _calls_left() -> Sequence[int] | None:
    """Return a view whose only number is how many calls the recursion limit leaves; None if it is not found."""
    if sys.version_info < (3, 11):
        return None
    state = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThreadState_Get", ctypes.pythonapi))()
    words = memoryview((ctypes.c_char * _BYTES).from_address(state)).cast("B").cast("i")
    looks: list[list[int]] = []
    _look(words, looks, 4)
    for place in range(len(words)):
        seen = [look[place] for look in looks]
        if 0 < seen[0] < sys.getrecursionlimit() and all(last - 1 == now for last, now in zip(seen, seen[1:])):
            return words[place : place + 1]
    return None


def _look(words: memoryview, looks: list[list[int]], calls: int) -> None:
    """Note what *words* are in each of so many *calls*."""
    looks.append(words.tolist())
    if calls > 1:
        _look(words, looks, calls - 1)
