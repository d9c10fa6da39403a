"""The option --progress: how the progress of a run is shown."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping

from scoop_hpc.errors import InputError
from scoop_hpc.run.watching.progress import Display, LogLines

MODES = ("auto", "bar", "log", "none")


def make_display(mode: str, environ: Mapping[str, str], in_job: bool, logs_to_stderr: bool) -> Display | None:
    """Return what shows the progress: a bar where the standard error is a terminal that can, lines where it can not,
    or in the log of a job; elsewhere nothing, unless it is asked for.
    """
    if mode == "none":
        return None
    is_terminal, can_move = os.isatty(2), _can_move(environ)
    if mode == "bar" and not can_move:
        raise InputError("--progress bar: the standard error is no terminal that can draw one; take --progress log")
    if mode == "bar" and logs_to_stderr:
        raise InputError("--progress bar: the log would go through it; name a file by --log-file")
    if mode == "bar" or (mode == "auto" and can_move and not logs_to_stderr):
        bar = _bar()
        if bar is not None:
            return bar
    return LogLines(time.monotonic) if mode != "auto" or is_terminal or in_job else None


def bar_of_terminal(environ: Mapping[str, str]) -> Display | None:
    """Return a bar where the standard error is a terminal that can draw one, else None."""
    return _bar() if _can_move(environ) else None


def _can_move(environ: Mapping[str, str]) -> bool:
    return os.isatty(2) and environ.get("TERM", "") not in ("", "dumb", "unknown")


def _bar() -> Display | None:
    """Return a bar; None if there is nothing to draw it with, or no terminal for a program below it."""
    try:
        for end in os.openpty():
            os.close(end)
        # 60 ms to import, for those only who see it
        from scoop_hpc.run.watching.bar import Bar, terminal_size  # noqa: PLC0415
    except (ImportError, OSError):
        return None
    is_one = os.isatty(1) and os.ttyname(1) == os.ttyname(2)
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    return Bar(time.monotonic, lambda: terminal_size(2), encoding, (1, 2) if is_one else (2,))
