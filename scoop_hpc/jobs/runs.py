"""The directories of runs that no `submit` has made: of those here, and in jobs of other scripts.

::

    STATE/runs/20261122T184200.123456Z-5f0c21aa/
        look.json    the last look at the run, see `jobs.look`
        look.wanted  touched by who wants a new one

The last ones are kept when they have ended, for who wants to know how.
"""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timezone

from scoop_hpc.errors import ScoopError
from scoop_hpc.files.private import check_private, explained, make_private
from scoop_hpc.jobs import look

_KEPT = 50
_FORGOTTEN = 90 * 24 * 3600.0  # seconds after which one that has left no end is taken for dead


def create(state: str, now: float) -> str:
    """Make a directory for a run under *state*, and drop old ones; return the file for its looks. Raises InputError."""
    stamp = datetime.fromtimestamp(now, timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
    directory = os.path.join(state, "runs", f"{stamp}-{os.urandom(4).hex()}")
    make_private(os.path.dirname(directory))
    with explained(f"cannot make the run's directory {directory!r}"):
        os.mkdir(directory, 0o700)
    for path in newest_first(state)[_KEPT:]:
        if _is_over(path, now):
            shutil.rmtree(os.path.dirname(path), ignore_errors=True)
    return os.path.join(directory, look.FILE)


def newest_first(state: str) -> list[str]:
    """Return the files for the looks of runs under *state*; raise InputError for a directory that is not safe."""
    directory = os.path.join(state, "runs")
    check_private(directory)
    with explained(f"cannot list the runs in {directory!r}"):
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            return []
    return [os.path.join(directory, name, look.FILE) for name in sorted(names, reverse=True)]


def _is_over(path: str, now: float) -> bool:
    """Return whether the run with this file for its looks has ended, as far as is known."""
    try:
        last = look.read(path)
        return last is None or last.state == "ended" or last.time < now - _FORGOTTEN
    except ScoopError:  # whatever it is, it is of no use
        return True
