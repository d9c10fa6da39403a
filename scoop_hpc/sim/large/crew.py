"""The workers of a node that submit nothing and whose tasks are long, as one object.

What `WorkerState` decides for such a worker is always the same: it asks for one task when it has none, says that it has
begun that, and sends the outcome with the next request, or before that if others were idle when it got the task. So all
that differs from worker to worker is how many tasks it has begun. A worker that gets anything else becomes a `Worker`
with a state of its own. `tests/simulated/test_large_federations.py` holds the two against each other.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, Protocol, cast

from scoop_hpc.protocol.messages import Batch, Message, Ready, Request, Results, Tasks, Withdraw
from scoop_hpc.protocol.names import NodeIndex, WorkerName, worker_name
from scoop_hpc.sim.large.costs import Costs
from scoop_hpc.sim.large.programs import Call
from scoop_hpc.worker.policy import DEFAULT


def is_long(seconds: float) -> bool:
    """Return whether a worker asks for nothing while a task of so many *seconds* runs.

    >>> is_long(0.1), is_long(10.0)
    (False, True)
    """
    return seconds >= DEFAULT.moderate


class Surroundings(Protocol):
    """The federation, as a crew uses it."""

    now: float
    costs: Costs

    def at(self, time: float, act: Callable[..., object], *arguments: object) -> None:
        """Plan what is to happen."""

    def hear_from(self, node: int, name: WorkerName, message: Message) -> None:
        """Let the broker of a node hear *message* of a worker now."""

    def begins(self, node: int, time: float) -> None:
        """Note that a worker of a node begins a task."""

    def promote(self, node: int, name: WorkerName, begun: int, message: Tasks, time: float) -> None:
        """Let a worker that has *begun* so many tasks have a state of its own, and get *message* at that *time*."""


class Crew:
    """The workers of *node*, so *many* of them, of which each asks for its next task when it has done one."""

    __slots__ = ("_begun", "_is_urgent", "_names", "_node", "_run", "_unread", "computed")

    def __init__(self, run: Surroundings, node: int, many: int) -> None:
        self.computed = 0.0  # seconds
        self._run = run
        self._node = node
        self._names = [worker_name(NodeIndex(node), place) for place in range(1, many + 1)]
        self._begun = array("l", [0] * many)  # tasks
        self._unread = array("l", [0] * many)  # messages that have come while a task runs
        self._is_urgent = bytearray(many)  # whether others were idle when it got its task

    def ready(self) -> None:
        """Let all workers tell the broker that they are here, and ask for tasks."""
        for name in self._names:
            self._run.hear_from(self._node, name, Ready())
            self._run.hear_from(self._node, name, Request(1, 1, True, 0))

    def get(self, index: int, message: Message, time: float) -> None:
        """Have *message* arrive at a worker, at that time."""
        if type(message) is not Tasks:
            self._unread[index] += 1
            return
        (batch,) = message.batches
        call = cast(Call, batch.frames[0])
        seconds = call.done().seconds
        if call.submits or not is_long(seconds):
            self._run.promote(self._node, self._names[index], self._begun[index], message, time)
            return
        costs = self._run.costs
        begin = time + 2 * costs.message + costs.opening
        self._is_urgent[index] = message.wanted is not None and message.wanted.idle > 0
        self._run.at(begin + costs.local, self._has_begun, index, begin)
        self._run.at(begin + seconds + costs.message + costs.local, self._has_ended, index, batch, seconds)

    def _has_begun(self, index: int, time: float) -> None:
        """Let the broker hear that a worker has begun its task, at that *time*."""
        self._begun[index] += 1
        self._run.begins(self._node, time)
        self._run.hear_from(self._node, self._names[index], Withdraw(self._begun[index]))

    def _has_ended(self, index: int, batch: Batch, seconds: float) -> None:
        """Let the broker hear of the outcome, and that another task is wanted once the worker has read its messages."""
        run, begun = self._run, self._begun[index]
        self.computed += seconds
        outcome = cast(Any, [[(batch.serial, cast(Call, batch.frames[0]).done(), seconds)]])
        outcomes = [Batch(batch.owner, 0, outcome, done=(batch.serial,))]
        time = run.now + run.costs.message * self._unread[index]
        self._unread[index] = 0
        request = Request(1, begun + 1, True, begun)
        message = Results(outcomes, request)
        if self._is_urgent[index]:
            run.hear_from(self._node, self._names[index], Results(outcomes))
            run.at(time + run.costs.message, run.hear_from, self._node, self._names[index], request)
        elif time > run.now:
            run.at(time, run.hear_from, self._node, self._names[index], message)
        else:
            run.hear_from(self._node, self._names[index], message)
