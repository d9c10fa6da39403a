"""What a signal's handler raises in whatever runs: it is for the program, not the failure of one call."""

from __future__ import annotations

_MARK = "_scoop_hpc_interrupt"  # an attribute


def mark(error: BaseException) -> BaseException:
    """Note that a signal's handler raises *error*."""
    setattr(error, _MARK, True)
    return error


def is_marked(error: BaseException) -> bool:
    """Return whether a signal's handler has raised *error*, not the user's function."""
    return _MARK in getattr(error, "__dict__", ())
