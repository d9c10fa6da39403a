"""Room for the frames of Python functions.

CPython 3.11 and later keep frames in chunks of 16 KB. Where a task's frames reach the end of one, each call beyond it
maps a new chunk into memory, and its return takes that away again: two system calls and a page fault, for which a small
task takes twice its time. A frame that asks for much gets a large chunk, the rest of which is for those that it calls
[CPython, Python/pystate.c, push_chunk].
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_SLOTS = 17_000  # of 8 bytes: more than half of a chunk of 256 KB, of which only what is used takes memory


def call(function: Callable[..., Any], *args: Any) -> Any:
    """Return ``function(*args)``, called where there is room for some hundred frames."""
    return function(*args)


if sys.version_info >= (3, 11):
    call.__code__ = call.__code__.replace(co_stacksize=_SLOTS)
