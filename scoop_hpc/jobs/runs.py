"""The directories of runs that no `submit` has made: of those here, and in jobs of other scripts.

::

    STATE/runs/20261122T184200.123456Z-5f0c21aa/
        look.json    the last look at the run, see `jobs.look`
        look.wanted  touched by who wants a new one
        join.json    while it goes on, the way into it, see `jobs.door`

The last ones are kept when they have ended, for who wants to know how. Hosts share these directories: each run that
begins tidies up, but only after runs that are surely over, because their driver said so, or was a process of this
machine and is gone. Drivers write their looks each day, wanted or not; who has not for a month is taken for dead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import datetime, timezone

from scoop_hpc.errors import ScoopError
from scoop_hpc.files.private import check_private, explained, make_private
from scoop_hpc.jobs import look
from scoop_hpc.jobs.door import door_beside, remove_door
from scoop_hpc.jobs.snapshot import Snapshot

_KEPT = 50
_DAY = 24 * 3600.0  # seconds
_UNBEGUN = _DAY  # after which a run has failed that has left no look
_FORGOTTEN = 30 * _DAY  # after which one that has left no end is taken for dead
_STAMP = "%Y%m%dT%H%M%S.%fZ"


def create(state: str, now: float, is_gone: Callable[[Snapshot], bool]) -> str:
    """Make a directory for a run under *state*; return the file for its looks. Raises InputError.

    What is left of runs that are over is removed: the ways into them, and the directories of all but the newest.
    *is_gone* tells whether the driver of one that has left no end is gone for sure.
    """
    stamp = datetime.fromtimestamp(now, timezone.utc).strftime(_STAMP)
    directory = os.path.join(state, "runs", f"{stamp}-{os.urandom(4).hex()}")
    make_private(os.path.dirname(directory))
    with explained(f"cannot make the run's directory {directory!r}"):
        os.mkdir(directory, 0o700)
    for place, path in enumerate(newest_first(state)):
        door = door_beside(path)
        if place >= _KEPT and _is_over(path, now, is_gone):
            shutil.rmtree(os.path.dirname(path), ignore_errors=True)
        elif os.path.lexists(door) and _is_over(path, now, is_gone):
            remove_door(door)
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


def _is_over(path: str, now: float, is_gone: Callable[[Snapshot], bool]) -> bool:
    """Return whether the run with this file for its looks has surely ended."""
    try:
        last = look.read(path)
    except ScoopError:  # of another version, say
        return _begun(path, now) < now - _FORGOTTEN
    if last is None:
        return _begun(path, now) < now - _UNBEGUN
    return last.state == "ended" or last.time < now - _FORGOTTEN or is_gone(last)


def _begun(path: str, now: float) -> float:
    """Return when a run began, by the name of its directory; *now* for a name that is not of ours."""
    name = os.path.basename(os.path.dirname(path))
    try:
        return datetime.strptime(name.partition("-")[0], _STAMP).replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return now
