"""The channel by which a run is looked at: two files in its private directory, and no port.

::

    viewer --touches--> look.wanted --looked at now and then--> driver
    viewer <--reads--- look.json <--written each second, while it is wanted-- driver

It works wherever the directory is seen, over NFS as well, and whoever may not read the directory sees nothing. Files
are opened for each look, because only that makes NFS ask for what other hosts have written [nfs(5), close-to-open].
Clocks of different hosts are not compared: a request is new if its time is another one than before.
"""

from __future__ import annotations

import contextlib
import os

from scoop_hpc.errors import InputError
from scoop_hpc.files.reading import read_file
from scoop_hpc.jobs import snapshot as snapshots
from scoop_hpc.jobs.snapshot import Snapshot

FILE = "look.json"  # in the directory of a job or run
WANTED = "look.wanted"  # beside it
INTERVAL = 1.0  # seconds from one look to the next
LEASE = 10.0  # seconds that a request holds
_IDLE = 2.0  # seconds from one look for a request to the next, while there is none
_MOST = 1 << 26  # bytes of a look: 100,000 workers have 20 MB


def wanted_beside(path: str) -> str:
    """Return the file for requests to write the look *path*.

    >>> wanted_beside("/jobs/1/look-3.json")
    '/jobs/1/look-3.wanted'
    """
    return os.path.splitext(path)[0] + os.path.splitext(WANTED)[1]


class Requests:
    """The driver's view of the requests for the look *path*."""

    def __init__(self, path: str) -> None:
        self._path = wanted_beside(path)
        self._last = 0
        self._due = float("-inf")
        self._until = float("-inf")  # when the last request expires

    def open(self) -> None:
        """Make the file that requests are written to: a name that is not there is believed by NFS for long.

        Raises OSError.
        """
        os.close(os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._last = self._time()

    def deadline(self) -> float:
        """Return when to call `look` next."""
        return self._due

    def look(self, now: float) -> bool:
        """Look for a request at *now*, if that is due; return whether there is one."""
        if now >= self._due:
            with contextlib.suppress(OSError):  # whoever has removed the file does not ask
                request = self._time()
                if request != self._last:
                    self._last, self._until = request, now + LEASE
            self._due = now + (INTERVAL if now < self._until else _IDLE)
        return now < self._until

    def _time(self) -> int:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.fstat(descriptor).st_mtime_ns
        finally:
            os.close(descriptor)


def _request(path: str) -> None:
    """Ask for the look *path* to be written, for the time of a lease; raise InputError, FileNotFoundError."""
    wanted = wanted_beside(path)
    try:
        os.utime(wanted)  # unlike what is written, it takes no space on a full disk
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"cannot ask for a look at the run by {wanted!r}: {error.strerror}") from error


def write(path: str, snapshot: Snapshot) -> None:
    """Put *snapshot* into the file *path*, whole or not at all; raise OSError."""
    new = f"{path}.new"
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(snapshots.to_json(snapshot))
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


def read(path: str) -> Snapshot | None:
    """Return the last look at a run, None if there was none yet; raise InputError, ScoopError."""
    content = read_file(path, "the look of a run", most=_MOST)
    return None if content is None else snapshots.from_json(content)


class Viewer:
    """The viewer's end of the channel: the looks at *path*, as they come."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.is_answered = False  # a look has come that is newer than the first
        self._first = read(path)
        self.last = self._first
        self._asked: float | None = None  # when first
        self._ask_at = float("-inf")

    def look(self, now: float) -> Snapshot | None:
        """Return the newest look, and ask for a newer one when that is due; None if there is none yet.

        Raises InputError, ScoopError.
        """
        if now >= self._ask_at and (self.last is None or self.last.state != "ended"):
            self._ask_at = now + LEASE / 4
            self._asked = now if self._asked is None else self._asked
            with contextlib.suppress(FileNotFoundError):  # the run has not begun, or is gone
                _request(self.path)
        found = read(self.path)
        if found is not None:
            first = self._first
            self.is_answered = self.is_answered or first is None or found.time != first.time or found.state == "ended"
            self.last = found
        return self.last

    def waits(self, now: float) -> float:
        """Return for how long there has been no answer at all, in seconds."""
        return 0.0 if self.is_answered or self._asked is None else now - self._asked
