"""A task's own ``sys.exit()``, which ``result()`` raises in the program: no success of that, whatever its status."""

from __future__ import annotations

_MARK = "_scoop_hpc_task"  # an attribute


def mark(end: SystemExit) -> SystemExit:
    """Note that a task raised *end*."""
    BaseException.__setattr__(end, _MARK, True)  # past what a class of the user's makes of it
    return end


def is_marked(end: SystemExit) -> bool:
    """Return whether a task raised *end*, not the program."""
    return getattr(end, _MARK, False)
