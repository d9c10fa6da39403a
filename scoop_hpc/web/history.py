"""What is kept of the looks at a run: what each worker did when, and the totals over time. Both are bounded.

A look says what a worker does at that moment, since when, and how many tasks it has done; a segment of the timeline is
made of successive looks that say the same. So tasks that last longer than the time between two looks have segments of
their own, from the moment when they began, while a segment of shorter ones is of many: it says of how many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from scoop_hpc.jobs.snapshot import Snapshot, Worker

MOST_SEGMENTS = 100_000  # of all workers: 13 minutes of 128 that have another task each second
_LEAST_SEGMENTS = 20  # of a worker
_FEW = 3  # tasks between two looks: each look begins a segment then; more are one, or there would be little but borders
MOST_POINTS = 3600  # an hour


@dataclass(frozen=True, slots=True)
class Segment:
    """What a worker did from ``begin`` to ``end``, in seconds since the epoch."""

    begin: float
    end: float
    state: str
    task: str
    tasks: int  # that ended in it
    look: int  # the number of the last look that has changed it


@dataclass(frozen=True, slots=True)
class Point:
    """The totals at one ``time``, in seconds since the epoch."""

    time: float
    busy: int
    workers: int
    queued: int
    done: int
    failed: int
    stolen: int
    memory: int  # bytes, of all nodes
    look: int


class History:
    """The looks at one run; they are numbered from 1."""

    def __init__(self, most_segments: int = MOST_SEGMENTS, most_points: int = MOST_POINTS) -> None:
        self.snapshot: Snapshot | None = None
        self.look = 0
        self._most_segments = most_segments
        self._segments: dict[str, deque[Segment]] = {}  # by worker
        self._done: dict[str, int] = {}  # by worker, at the last look
        self._points: deque[Point] = deque(maxlen=most_points)

    def add(self, snapshot: Snapshot) -> None:
        """Take in the next look; one that was seen before changes nothing, one of another run begins anew."""
        before = self.snapshot
        if before is not None and before.run != snapshot.run:
            self._segments.clear()
            self._done.clear()
            self._points.clear()
            before = None
        if before is not None and snapshot.time <= before.time and snapshot.state == before.state:
            return
        self.look += 1
        self.snapshot = snapshot
        since = snapshot.started if before is None else before.time
        for worker in snapshot.workers:
            self._extend(worker, since, snapshot.time)
        totals = snapshot.totals
        self._points.append(
            Point(
                time=snapshot.time,
                busy=totals.busy_workers,
                workers=totals.workers,
                queued=totals.queued,
                done=totals.done,
                failed=totals.failed,
                stolen=totals.stolen,
                memory=sum(node.memory_bytes for node in snapshot.nodes),
                look=self.look,
            )
        )

    def segments(self, look: int) -> Mapping[str, list[Segment]]:
        """Return by worker the segments that were begun or have changed since the *look* of that number."""
        changed: dict[str, list[Segment]] = {}
        for worker, segments in self._segments.items():
            new = []
            for segment in reversed(segments):
                if segment.look <= look:
                    break
                new.append(segment)
            if new:
                changed[worker] = new[::-1]
        return changed

    def points(self, look: int) -> list[Point]:
        """Return the totals of all looks after that number."""
        new = []
        for point in reversed(self._points):
            if point.look <= look:
                break
            new.append(point)
        return new[::-1]

    def _extend(self, worker: Worker, since: float, now: float) -> None:
        """Continue the timeline of a *worker*, whose last look was that of *since*, to *now*."""
        segments = self._segments.setdefault(worker.name, deque())
        before = segments[-1] if segments else None
        ended = max(0, worker.done - self._done.get(worker.name, 0))
        self._done[worker.name] = worker.done
        task = worker.task or "" if worker.state in ("busy", "waiting") else ""
        began = min(max(now - worker.since_s, since), now)
        if before is None:
            segments.append(Segment(began, now, worker.state, task, ended, self.look))
            return
        is_another = worker.state == "busy" and 0 < ended <= _FEW and began > before.end
        if (before.state, before.task) == (worker.state, task) and not is_another:
            segments[-1] = replace(before, end=now, tasks=before.tasks + ended, look=self.look)
            return
        # it changed once or more between the looks: what it did before went on until then, as far as anybody knows
        segments[-1] = replace(before, end=began, tasks=before.tasks + ended, look=self.look)
        segments.append(Segment(began, now, worker.state, task, 0, self.look))
        most = max(_LEAST_SEGMENTS, self._most_segments // len(self._segments))
        while len(segments) > most:
            segments.popleft()
