"""Lines for the user on standard error. It may be closed or full: then nobody can be told, and all else goes on."""

from __future__ import annotations

import contextlib
import sys


def say(text: str) -> None:
    """Print a line of our own, apart from what programs and jobs print."""
    show(f"scoop-hpc: {text}")


def show(text: str) -> None:
    """Print a line as it is."""
    if sys.stderr is not None:  # print would take the standard output instead
        with contextlib.suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)
