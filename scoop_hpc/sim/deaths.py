"""Deaths of workers in a simulated run: when they come, and what is lost with them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import partial
from signal import SIGSEGV
from typing import Protocol

from scoop_hpc.protocol.messages import TaskId
from scoop_hpc.protocol.names import ORIGIN, ProcessName, WorkerName, broker_of
from scoop_hpc.sim.agenda import Agenda, Process
from scoop_hpc.sim.faults import Death
from scoop_hpc.sim.ledger import Ledger, Violation
from scoop_hpc.sim.losses import Losses
from scoop_hpc.sim.network import Network
from scoop_hpc.sim.nodes import Node, Nodes
from scoop_hpc.sim.post import Post
from scoop_hpc.sim.worker.process import Worker
from scoop_hpc.transport.begun import BegunTask


class Surroundings(Protocol):
    """The run, as the deaths use it."""

    agenda: Agenda
    ledger: Ledger
    network: Network
    nodes: Nodes
    losses: Losses
    post: Post
    delay: float

    def later(self, seconds: float, act: Callable[[], object], process: Process | None = None) -> None:
        """Plan *act* of *process*."""

    def is_over(self) -> bool:
        """Return whether nothing is to be lost any more."""

    def has_begun(self) -> bool:
        """Return whether the program runs; before, most losses are fatal."""

    def is_in_trouble(self, until: float) -> None:
        """Expect nothing of the run before."""

    def end(self, node: Node, name: ProcessName, status: int, reaped: float | None = None) -> None:
        """Let a process end, so that its agent learns of it after *reaped* seconds."""


class Deaths:
    """The deaths of workers of a *run*; if it *is alone*, the origin has no others beside it, and nobody dies."""

    def __init__(self, run: Surroundings, chance: random.Random, is_alone: bool) -> None:
        self.count = 0
        self._run = run
        self._chance = chance
        self._is_alone = is_alone
        self._doomed: dict[str, Death] = {}  # workers that die when they come to some point

    def plan(self, death: Death) -> None:
        """Choose who is to die, and kill it now, or when it comes to the point."""
        if self._run.is_over() or self._is_alone or death.node not in self._run.nodes.slowness:
            return
        if not self._run.has_begun():
            self._run.later(0.005, partial(self.plan, death))  # before, it is fatal
            return
        node = self._run.nodes.on(death.node)
        if node is None:
            return
        living = [worker for worker in self._run.nodes.living() if worker.worker_name in node.workers]
        if not living:
            return
        first = death.which % len(living)
        for worker in (living[first:] + living[:first])[: death.count]:
            if death.moment in ("now", "fresh"):
                self.kill(worker, death.status, death.reaped)
            else:
                self._doomed[worker.name] = death
        if death.moment == "fresh":
            node.born_to_die.append(death)

    def passes(self, worker: Worker, point: str) -> None:
        """Let a worker die some time after it has come to this *point*, if that is to be."""
        death = self._doomed.get(worker.name)
        self._run.losses.passes(self._run.nodes.of(worker.name), "owner" if worker.state.sent else "")
        if death is not None and (death.moment == point or (death.moment == "owner" and worker.state.sent)):
            del self._doomed[worker.name]
            self._run.later(death.seconds, partial(self.kill, worker, death.status, death.reaped))

    def check_owner(self, worker: Worker, owner: WorkerName) -> None:
        """Check that a task is begun whose owner lives, as far as the worker must know."""
        broker = self._run.nodes.of(worker.name).broker
        assert broker is not None
        held = max((hold.end for hold in self._run.network.holds if hold.to == worker.name), default=0.0)
        for name in (owner, broker_of(owner)):
            since = broker.gone.get(name)
            if since is None:
                continue
            # what comes while a worker is stalled is there just after that, and perhaps after a look at that moment
            if worker.state.polled > max(max(since, held) + self._run.delay, worker.stalled_until):
                raise Violation(
                    f"worker {worker.name} begins a task of {owner}, of which its broker knows that it is gone"
                )

    def is_killed(self, worker: Worker, chance: float) -> bool:
        """Return whether a task takes its worker down, by this *chance*; it is dead then."""
        if worker.name == ORIGIN or self._chance.random() >= chance:
            return False
        self.kill(worker, -SIGSEGV, self._chance.choice((0.0, 0.001, 0.05)))
        return True

    def kill(self, worker: Worker, status: int, reaped: float) -> None:
        """Kill a worker, of which its agent learns after *reaped* seconds."""
        if worker.is_gone or self._run.is_over():
            return
        self.count += 1
        node = self._run.nodes.of(worker.name)
        self._run.post.lose({worker.name}, reaped + 0.002)
        ran, waited = map(_ids, ran_and_waited(worker))
        self._run.end(node, worker.worker_name, status, reaped)
        self._run.ledger.died(worker.worker_name, ran, waited, self._run.agenda.now)
        since = max(self._run.agenda.now, node.process.stalled_until)
        self._run.is_in_trouble(since + reaped)


def ran_and_waited(worker: Worker) -> tuple[list[BegunTask], list[BegunTask]]:
    """Return what ran when a worker died, as far as its agent knows, and what else had begun."""
    ran = worker.begun.running()
    return ran, [task for task in worker.begun.tasks() if task not in ran]


def _ids(tasks: Iterable[BegunTask]) -> list[TaskId]:
    return [TaskId(task.owner, task.serial + place) for task in tasks for place in range(task.count)]
