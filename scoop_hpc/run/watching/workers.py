"""What the workers of a node do, and since when, as their agent sees it from one look to the next.

A worker notes the beginning and the end of each task in memory that it shares with its agent (`transport.begun`), and
no time. So the agent looks now and then, and knows since which look nothing has changed: that costs a task nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from scoop_hpc.protocol.messages import WorkerSeen
from scoop_hpc.protocol.names import ORIGIN, WorkerName
from scoop_hpc.run.proc import Usage

_BUSY = 50.0  # percent of a CPU: the program itself tells nobody whether it computes or waits


class Sample(Struct, frozen=True):
    """One look at a worker."""

    name: WorkerName
    pid: int
    serves: bool  # it is ready for tasks
    mark: tuple[int, int]  # tasks that have ended, and what runs: stays the same as long as the same task runs
    runs: bool
    usage: Usage


class _Known(Struct):
    """What is known of a worker by several looks."""

    last: Sample
    at: float  # the last look
    since: float  # the first look that found the same
    cpu: float | None = None  # percent


class Sight:
    """The looks at the workers of one node."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}  # by process id

    def note(self, samples: Sequence[Sample], now: float) -> None:
        """Take in a look at all workers there are, at *now*."""
        before, self._known = self._known, {}
        for sample in samples:
            known = before.get(sample.pid)
            if known is None:
                known = _Known(sample, now, now)
            else:
                if known.last.mark != sample.mark or known.last.serves != sample.serves:
                    known.since = now
                if now > known.at:
                    known.cpu = max(0.0, 100 * (sample.usage.cpu - known.last.usage.cpu) / (now - known.at))
                known.last, known.at = sample, now
            self._known[sample.pid] = known

    def workers(
        self, now: float, function_of: Callable[[int], str], has_tasks: Callable[[int], bool]
    ) -> tuple[WorkerSeen, ...]:
        """Return what each worker does at *now*; of the process ids that they are given, the others tell the function
        that was called last, and whether there are tasks that have begun and not ended."""
        return tuple(self._worker(known, now, function_of, has_tasks) for known in self._known.values())

    def _worker(
        self, known: _Known, now: float, function_of: Callable[[int], str], has_tasks: Callable[[int], bool]
    ) -> WorkerSeen:
        last = known.last
        state = _state(known, has_tasks)
        task = function_of(last.pid) if state in ("busy", "waiting") else ""
        since, cpu = max(0.0, now - known.since), None if known.cpu is None else round(known.cpu, 1)
        return WorkerSeen(last.name, last.pid, state, task, round(since, 1), last.mark[0], cpu, last.usage.memory)


def _state(known: _Known, has_tasks: Callable[[int], bool]) -> Literal["starting", "idle", "busy", "waiting"]:
    last = known.last
    if last.name == ORIGIN:
        return "busy" if (known.cpu or 0.0) >= _BUSY else "waiting"
    if last.runs:
        return "busy"
    if not last.serves:
        return "starting"
    return "waiting" if has_tasks(last.pid) else "idle"
