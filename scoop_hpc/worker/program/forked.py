"""A child that a task has forked, and that has come back from the task's function: it ends as a process ends."""

from __future__ import annotations

import sys

from scoop_hpc import tracebacks


def exit_status(error: BaseException | None) -> int:
    """Return the exit status of a process that ends by *error*; show that as Python does."""
    if isinstance(error, SystemExit):
        return error.code & 0xFF if isinstance(error.code, int) else int(error.code is not None)
    if error is not None:
        print(tracebacks.text_of(error), file=sys.stderr, end="")
    return int(error is not None)
