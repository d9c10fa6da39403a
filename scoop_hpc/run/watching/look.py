"""Lets a run be looked at: while somebody asks, its look is written each second into a file; the last one stays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from scoop_hpc.jobs import look as looks
from scoop_hpc.jobs.snapshot import VERSION, Snapshot
from scoop_hpc.run import proc
from scoop_hpc.run.request import RunRequest
from scoop_hpc.run.watching.snapshots import Snapshots

_ALIVE = 24 * 3600.0  # seconds from one look that nobody asks for to the next: see `jobs.runs`
_ANSWERS = 0.3  # seconds that agents have to answer, until the first look is written


class Look:
    """The driver's end of the channel of `jobs.look`; *show* shows the user a line."""

    def __init__(self, request: RunRequest, run: str, show: Callable[[str], None]) -> None:
        now = time.time()
        first = Snapshot(
            version=VERSION,
            run=run,
            job=request.job_id,
            program=request.title,
            host=os.uname().nodename,
            pid=os.getpid(),
            driver=proc.identity(os.getpid()),
            time=now,
            started=now,
            elapsed_s=0.0,
            walltime_left_s=None,
            state="starting",
        )
        names = [node.name for node in request.nodes]
        self.snapshots = Snapshots(first, names, request.ends_at, time.monotonic)
        self._path = request.look
        self._requests = looks.Requests(request.look)
        self._show = show
        self._due: float | None = None  # the next look; None: nobody asks
        self._alive_at = time.monotonic() + _ALIVE
        self._is_open = False
        self._has_failed = False  # a look could not be written, and that was said

    def open(self) -> None:
        """Be there for requests; leave a first look, by which the run is found."""
        try:
            self._requests.open()
            self._is_open = True
        except OSError as error:
            self._complain(error)
        self._write()

    def deadline(self) -> float | None:
        """Return when to call `serve` at the latest."""
        if not self._is_open:
            return None
        return self._requests.deadline() if self._due is None else min(self._due, self._requests.deadline())

    def serve(self) -> float | None:
        """Write a look, if one is wanted and due; return the seconds between two looks, None while nobody asks."""
        now = time.monotonic()
        if self._is_open and now >= self._alive_at:
            self._write()
        if not self._is_open or not self._requests.look(now):
            self._due = None
            return None
        if self._due is None:
            self._due = now + _ANSWERS
        elif now >= self._due:
            self._due = now + looks.INTERVAL
            self._write()
        return looks.INTERVAL

    def close(self) -> None:
        """Leave the last look."""
        self._write()

    def _write(self) -> None:
        self._alive_at = time.monotonic() + _ALIVE
        try:
            looks.write(self._path, self.snapshots.look(time.time()))
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._has_failed:
            self._has_failed = True
            what = f"cannot write {self._path!r}: {error.strerror}"
            self._show(f"scoop-hpc: warning: {what}; the run goes on, and `scoop-hpc top` does not see it as it is")
