"""The file that has the record of a run: written at its end, and now and then before, should there be no end."""

from __future__ import annotations

from scoop_hpc.complaints import say
from scoop_hpc.events import Event, RunOver
from scoop_hpc.report import record
from scoop_hpc.run.watching.accounts import NodeAccounted
from scoop_hpc.run.watching.collector import Collector

_PAUSE = 60.0  # seconds between two times that it is written


class ReportFile:
    """The observer of a driver that writes what a *collector* knows to the file *path*."""

    def __init__(self, path: str, collector: Collector) -> None:
        self._path = path
        self._collector = collector
        self._written = 0.0  # how long the run had lasted then
        self._works = True

    def __call__(self, event: Event) -> None:
        """Write the file if it is time."""
        if not self._works or not isinstance(event, (NodeAccounted, RunOver)):
            return
        elapsed = self._collector.elapsed
        if isinstance(event, RunOver) or elapsed >= self._written + _PAUSE:
            self._written = elapsed
            try:
                record.write(self._path, self._collector.record())
            except OSError as error:
                self._works = False
                say(f"warning: cannot write the report {self._path!r}: {error.strerror}")
