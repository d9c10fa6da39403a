"""The trace of a run: a file of events that Perfetto and chrome://tracing open, a track for each worker and broker.

::

    broker, worker --TraceWriter--> pipe --> agent --Output--> driver --TraceFile--> FILE

A line is an event [Trace Event Format, of the Chromium project]. It is made where it happens, and passed on as it is,
by the way that what workers print takes: so it needs no file system that nodes share, and what a worker has done that
dies is not lost with it. Nobody waits for the file: what a process cannot get rid of in time is left out, and counted.

A run may have more tasks than a viewer can show. Each worker tells of its share of the first million; of the next ones
it tells of one in four, then of one in sixteen: of two million at the most, however many there are.
"""

from __future__ import annotations

import functools
import json
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from scoop_hpc import events
from scoop_hpc.complaints import say
from scoop_hpc.events import WARNING, Event, Exported, Stole, TaskRan, TasksQueuedAgain
from scoop_hpc.protocol.names import NodeIndex, ProcessName, WorkerName, number_of

MOST_TASKS = 1_000_000  # of all workers, of which all are told
_FEWER = 4  # one in so many, when there are more, and one in so many of these after twice as many
_DRIVER = 1  # the "process" of the driver's track; those of nodes come after it
_FIRST_NODE = 2
_BROKER = 1  # the "thread" of a node's broker; those of its workers come after it
_FIRST_WORKER = 2
_OTHER_THREADS = 1_000_000  # above the number of a worker's own track
_FLUSHED = 0.25  # seconds that an event is kept until the next one comes
_LAST = 0.2  # seconds that one waits at the end until something is taken
_PIECE = 1 << 15  # bytes that are written at once, at least
_MOST_UNWRITTEN = 150  # events of which there is no text yet
_MOST_NAMES = 1000  # that are kept
_MOST_KEPT = 1 << 20  # bytes that nobody has taken
_SAMPLED = b'"cat":"sampled"'


class Track(Struct, frozen=True):
    """A process of the run, as a viewer shows it."""

    node: NodeIndex
    node_name: str
    number: int  # on its node
    name: str
    tasks: int = MOST_TASKS  # its share of them
    is_origin: bool = False


def worker_track(node: NodeIndex, node_name: str, worker: WorkerName, size: int, is_origin: bool) -> Track:
    """Return the track of a *worker*, one of *size* in all."""
    number = int(worker.partition(".")[2])
    name = f"worker {worker}{': the program' if is_origin else ''}"
    return Track(node, node_name, _FIRST_WORKER + number, name, max(1, MOST_TASKS // max(size, 1)), is_origin)


def broker_track(node: NodeIndex, node_name: str) -> Track:
    """Return the track of a node's broker."""
    return Track(node, node_name, _BROKER, f"broker {node}")


class TraceWriter:
    """The observer of one process that writes what that does to a *descriptor*; *began*: the run, by time.time."""

    def __init__(
        self,
        descriptor: int,
        track: Track,
        began: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._descriptor = descriptor
        self._file = os.fstat(descriptor).st_ino
        self._process = os.getpid()
        os.set_blocking(descriptor, False)
        self._clock = clock
        self._zero = began - (wall() - clock())  # when the run began, by our clock
        self._lock = threading.Lock()
        self._unwritten: deque[tuple[float, TaskRan | Exported]] = deque()  # when they were told
        self._events: list[str] = []  # since the last flush
        self._size = 0  # characters of these
        self._kept = bytearray()  # what nobody has taken yet
        self._left_out = 0
        self._flushed = clock()
        self._names: dict[str, str] = {}  # as JSON
        self._is_origin = track.is_origin
        self._place = f'"pid":{_FIRST_NODE + track.node},"tid":{track.number}'
        self._other_place = f'"pid":{_FIRST_NODE + track.node},"tid":{_OTHER_THREADS + track.number}'
        self._names_other = f"{track.name}, other threads"
        self._stage, self._quota, self._until = 0, track.tasks, track.tasks  # of sampling
        self._tasks = 0
        self._add(_process_name(_FIRST_NODE + track.node, f"node {track.node}: {track.node_name}"))
        self._add(_thread_name(self._place, track.name))
        if self._is_origin:
            self._add(f'{{"name":"the program","cat":"program","ph":"B","ts":{self._now():.1f},{self._place}}}')
        self._flush()  # should it be killed, its track is there

    def __call__(self, event: Event) -> None:
        """Write *event* if it is one for a trace."""
        if type(event) is TaskRan:
            self._keep(event, event.ended)
        elif type(event) is Exported:
            self._keep(event, self._clock())
        elif isinstance(event, (Stole, TasksQueuedAgain)) or event.level >= WARNING:
            with self._lock:
                self._instant(str(event), "steal" if isinstance(event, Stole) else "loss", self._now())

    def close(self) -> None:
        """Write what is left, as long as somebody takes it."""
        with self._lock:
            self._write()
            if self._is_origin:
                self._is_origin = False
                self._add(f'{{"ph":"E","ts":{self._now():.1f},{self._place}}}')
            self._flush()
            while self._kept and select.select([], [self._descriptor], [], _LAST)[1]:
                self._flush()

    def _keep(self, event: TaskRan | Exported, now: float) -> None:
        """Keep what many are told of; between tasks this is all: texts that are made one after the other cost less."""
        self._unwritten.append((now, event))
        if now - self._flushed > _FLUSHED or len(self._unwritten) >= _MOST_UNWRITTEN:
            with self._lock:
                self._write()
                self._flush()

    def _write(self) -> None:
        """Make the texts of events; another thread may tell more of them meanwhile."""
        for _ in range(len(self._unwritten)):
            now, event = self._unwritten.popleft()
            if isinstance(event, TaskRan):
                self._task(event)
            else:
                self._export(event, now)

    def _task(self, event: TaskRan) -> None:
        self._tasks += 1
        if self._tasks > self._until:
            self._sample()
        if self._stage and self._tasks % _FEWER**self._stage:
            return
        place = self._place
        if not event.in_main:
            if self._names_other:
                self._add(_thread_name(self._other_place, self._names_other))
                self._names_other = ""
            place = self._other_place
        name = self._names.get(event.name)
        if name is None:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            name = self._names[event.name] = json.dumps(event.name or "a task")
        began = f"{(event.began - self._zero) * 1e6:.1f}"
        duration = (event.ended - event.began) * 1e6
        arrow = ""
        if event.owner and not self._stage:
            flow = _flow(event.owner, event.serial)
            arrow = f'{{"name":"task","cat":"flow","ph":"f","bp":"e","id":{flow},"ts":{began},{place}}},\n'
        goes_on = ',"goes on":true' if event.goes_on else ""
        # one text, and one call, for both: to make and to keep them apart takes twice the time
        self._add(
            f'{arrow}{{"name":{name},"cat":"task","ph":"X","ts":{began},"dur":{duration:.1f},{place},'
            f'"args":{{"calls":{event.calls}{goes_on}}}}}'
        )
        if self._size > _PIECE:
            self._flush()

    def _export(self, event: Exported, now: float) -> None:
        if self._stage:
            return
        when = f'"ts":{(now - self._zero) * 1e6:.1f},{self._place}'
        for serial in range(event.serial, event.serial + event.count):
            self._add(f'{{"name":"task","cat":"flow","ph":"s","id":{_flow(event.worker, serial)},{when}}}')
        if self._size > _PIECE:
            self._flush()

    def _instant(self, name: str, category: str, now: float) -> None:
        text = json.dumps(name)
        self._add(f'{{"name":{text},"cat":"{category}","ph":"i","s":"t","ts":{now:.1f},{self._place}}}')
        self._flush()

    def _sample(self) -> None:
        """Tell of fewer tasks from now on: of half as many as before, out of twice as many."""
        self._stage += 1
        self._until += self._quota * 2**self._stage
        self._instant(f"from here on, one task in {_FEWER**self._stage} is shown", "sampled", self._now())

    def _now(self) -> float:
        return (self._clock() - self._zero) * 1e6

    def _add(self, event: str) -> None:
        if len(self._kept) > _MOST_KEPT:
            self._left_out += 1
            return
        if self._left_out:
            count, self._left_out = self._left_out, 0
            self._instant(f"{count} events are left out here", "sampled", self._now())
        self._events.append(event)
        self._size += len(event)

    def _flush(self) -> None:
        self._flushed = self._clock()
        if self._events:
            self._events.append("")
            self._kept += ",\n".join(self._events).encode()
            self._events.clear()
            self._size = 0
        try:
            # the program may have forked, or closed all descriptors that it knows nothing of, and opened others
            if os.getpid() != self._process or os.fstat(self._descriptor).st_ino != self._file:
                self._kept.clear()
            elif self._kept:
                del self._kept[: os.write(self._descriptor, self._kept)]
        except BlockingIOError:  # nobody takes it now
            return
        except OSError:  # nobody ever will
            self._kept.clear()


class TraceFile:
    """The file of a trace, which is also the driver's observer; raises OSError if it cannot be opened."""

    def __init__(self, path: str, wall: Callable[[], float] = time.time) -> None:
        self.began = wall()
        self._path = path
        self._wall = wall
        self._file = open(path, "wb", buffering=1 << 16)  # noqa: SIM115
        self._works = True
        self._is_sampled = False
        self.add(f"[\n{_process_name(_DRIVER, 'driver')},\n".encode())

    def __call__(self, event: Event) -> None:
        """Write *event* if it is one for a trace."""
        if isinstance(event, (events.RunBegan, events.RunEnding, events.NodeTakenIn)) or event.level >= WARNING:
            self.add(f"{self._instant(str(event))},\n".encode())

    def add(self, text: bytes) -> None:
        """Append events; say it once if that cannot be."""
        if not self._works:
            return
        try:
            self._file.write(text)
        except OSError as error:
            self._fail(error)
        if _SAMPLED in text:
            self._is_sampled = True

    def close(self) -> None:
        """End the file."""
        self.add(f"{self._instant('the end')}\n]\n".encode())
        try:
            self._file.close()
        except OSError as error:
            self._fail(error)
        if self._is_sampled and self._works:
            say(f"warning: the trace {self._path!r} does not show all tasks: there were too many, or too fast")

    def _instant(self, name: str) -> str:
        now = (self._wall() - self.began) * 1e6
        return f'{{"name":{json.dumps(name)},"cat":"run","ph":"i","s":"g","ts":{now:.1f},"pid":{_DRIVER},"tid":1}}'

    def _fail(self, error: OSError) -> None:
        if self._works:
            say(f"warning: cannot write the trace {self._path!r}: {error.strerror}")
        self._works = False


def _process_name(number: int, name: str) -> str:
    return f'{{"name":"process_name","ph":"M","pid":{number},"tid":0,"args":{{"name":{json.dumps(name)}}}}}'


def _thread_name(place: str, name: str) -> str:
    return f'{{"name":"thread_name","ph":"M",{place},"args":{{"name":{json.dumps(name)}}}}}'


@functools.lru_cache(maxsize=1 << 14)
def _first_flow(owner: str) -> int:
    return number_of(WorkerName(ProcessName(owner))) * 0x9E3779B1  # a large odd number [Knuth, TAOCP 3, 6.4]


def _flow(owner: str, serial: int) -> int:
    """Return a number for the arrow from where a task was made to where it is executed."""
    return (_first_flow(owner) + serial) & 0x7FFFFFFF
