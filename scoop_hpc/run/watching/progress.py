"""The progress of a run, as its driver can show it: what the program waits for, how fast, and how long still.

::

    Waits, WorkersBusy, ... --> Progress --> Display: a bar in a terminal (`bar`), or now and then a line in a log
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct, field

from scoop_hpc.events import AgentLeft, Event, NodeJoined, NodeLeft, NodeLost, Waits, WorkersBusy

_RECENT = 30.0  # seconds: what happened before has no say in how fast the run is
_SAMPLES = 60  # of these seconds
_FIRST_LINE = 10.0  # seconds until the first line in a log
_NEXT_LINE = 2.0  # times as long until the next one
_LONGEST_PAUSE = 1800.0  # seconds between two lines
_MOST_PARTS = 3  # in a line: those that have begun last


class Display(Protocol):
    """Shows the progress of a run, beside what is printed."""

    interval: float  # seconds between two looks of an agent, at least
    streams: tuple[int, ...]  # standard ones that are the terminal which it is on: all is written to its error then

    @property
    def is_drawn(self) -> bool:
        """True while it is on a terminal."""

    def __call__(self, event: Event) -> None:
        """Take in what happened."""

    def deadline(self) -> float | None:
        """Return when to call `show` at the latest, by the clock of the display; None: nothing is due."""

    def show(self) -> bytes:
        """Return what is to be written to the standard error now."""

    def above(self, text: bytes) -> bytes:
        """Return what to write to the terminal so that *text*, which is printed, is where it belongs."""

    def close(self) -> bytes:
        """Return what is to be written to the standard error at the end."""


class Part(Struct):
    """What goes by one label."""

    label: str
    begun: float
    total: int | None = None
    done: int = 0
    failed: int = 0
    ended: float | None = None  # when it was all done
    _samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_SAMPLES))

    def count(self, total: int | None, done: int, failed: int, now: float) -> None:
        """Take in how much there is, how much of it is done, and has failed, at *now*."""
        self.total, self.done, self.failed = total, done, failed
        over = total is not None and done >= total
        self.ended = (now if self.ended is None else self.ended) if over else None
        if not self._samples or now - self._samples[-1][0] >= _RECENT / _SAMPLES:  # at first, some may be done
            self._samples.append((now, done))

    def rate(self, now: float) -> float:
        """Return how many were done in a second, of late; at the end, from the beginning.

        It is 0 where nobody can tell: at the first word, or if the first word was that all is done.
        """
        if self.ended is not None:
            return self.done / max(self.ended - self.begun, 1e-3) if self.ended > self.begun else 0.0
        then, before = self._samples[0] if self._samples else (self.begun, 0)
        for time, done in self._samples:
            if time <= now - _RECENT and done < self.done:
                then, before = time, done
        return (self.done - before) / max(now - then, 1e-3)

    def left(self, now: float) -> float | None:
        """Return in how many seconds all may be done; None if nobody can tell."""
        rate = self.rate(now)
        if self.total is None or not rate:
            return None
        return max(self.total - self.done, 0) / rate


class Progress:
    """The progress of a run: an observer of its driver."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._parts: dict[int, Part] = {}  # by number
        self._workers: dict[str, int] = {}  # by node
        self._busy: dict[str, int] = {}  # the same

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        if isinstance(event, Waits):
            self._take(event)
        elif isinstance(event, WorkersBusy):
            self._busy[event.node] = event.busy
        elif isinstance(event, NodeJoined):
            self._workers[event.node] = event.workers
        elif isinstance(event, (AgentLeft, NodeLost, NodeLeft)):
            self._busy.pop(event.node, None)
            self._workers.pop(event.node, None)

    def _take(self, event: Waits) -> None:
        now = self._clock()
        part = self._parts.get(event.number)
        if part is None:
            for number in [number for number, old in self._parts.items() if old.label == event.label]:
                del self._parts[number]  # that is over
            label = "".join(character if character.isprintable() else "?" for character in event.label)
            part = self._parts[event.number] = Part(label, now)
        part.count(event.total, event.done, event.failed, now)

    @property
    def workers(self) -> int:
        """The number of workers of the nodes that take part."""
        return sum(self._workers.values())

    @property
    def busy(self) -> int:
        """The number of workers that execute tasks, as far as known."""
        return min(sum(self._busy.values()), self.workers)

    @property
    def parts(self) -> list[Part]:
        """What is waited for, and what was last by each label."""
        return list(self._parts.values())

    @property
    def running(self) -> list[Part]:
        """What is waited for now, the oldest first."""
        return [part for part in self._parts.values() if part.ended is None]

    def queued(self) -> int | None:
        """Return how many calls and items have not begun, as far as known: a busy worker has one of them."""
        totals = [part.total for part in self.running]
        left = sum(total for total in totals if total is not None) - sum(part.done for part in self.running)
        return None if None in totals else max(0, left - self.busy)


def words(part: Part, now: float) -> str:
    """Describe *part* in a line of a log.

    >>> part = Part("simulate", begun=0.0)
    >>> part.count(1000, 0, 0, 0.0)
    >>> part.count(1000, 250, 3, 10.0)
    >>> words(part, 10.0)
    'simulate: 250 of 1000 done (25 %), 3 failed, 25/s, about 0:00:30 left'
    """
    share = f" of {part.total} done ({100 * part.done // part.total} %)" if part.total else " done"
    failed = f", {part.failed} failed" if part.failed else ""
    text = f"{part.label or 'tasks'}: {part.done}{share}{failed}"
    if part.ended is not None:
        return f"{text}, in {clock_time(part.ended - part.begun)}"
    left = part.left(now)
    return f"{text}, {per_second(part.rate(now))}" + ("" if left is None else f", about {clock_time(left)} left")


def per_second(rate: float) -> str:
    """Return how often something happens, in three digits.

    >>> per_second(0.0471), per_second(41.23), per_second(123456.0)
    ('0.0471/s', '41.2/s', '123456/s')
    """
    return f"{rate:.0f}/s" if rate >= 100 else f"{rate:.3g}/s"


def clock_time(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds.

    >>> clock_time(3725.2), clock_time(100 * 3600)
    ('1:02:05', '100:00:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


class LogLines:
    """Writes a line of progress now and then, ever more seldom: for a log, or a terminal that can no more."""

    interval = 2.0
    streams: tuple[int, ...] = ()
    is_drawn: bool = False

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._unshown: list[bytes] = []
        self._progress = Progress(clock)
        self._due: float | None = None  # once there is something to wait for
        self._pause = _FIRST_LINE
        self._told: list[Part] = []  # that were not over in the last line

    def __call__(self, event: Event) -> None:
        self._progress(event)
        if self._due is None and self._progress.running:
            self._due = self._clock() + self._pause
        over = [part for part in self._told if part.ended is not None]
        if over:
            self._told = [part for part in self._told if part.ended is None]
            self._say(over, "")

    def deadline(self) -> float | None:
        return self._clock() if self._unshown else self._due

    def show(self) -> bytes:
        self._look()
        return self.close()

    def _look(self) -> None:
        now = self._clock()
        if self._due is None or now < self._due:
            return
        running = self._progress.running
        if not running:
            self._due = None  # until there is something again
            return
        self._told = running[-_MOST_PARTS:]
        self._pause = min(self._pause * _NEXT_LINE, _LONGEST_PAUSE)
        self._due = now + self._pause
        workers = f"; {self._progress.busy} of {self._progress.workers} workers busy" if self._progress.workers else ""
        self._say(self._told, workers)

    def above(self, text: bytes) -> bytes:
        return text

    def close(self) -> bytes:
        text = b"".join(self._unshown)
        self._unshown.clear()
        return text

    def _say(self, parts: Sequence[Part], more: str) -> None:
        now = self._clock()
        line = "; ".join(words(part, now) for part in parts)
        self._unshown.append(f"scoop-hpc: progress: {line}{more}\n".encode(errors="backslashreplace"))
