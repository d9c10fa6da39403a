"""What must hold of a whole run, four times a second and at its end: nobody waits in vain, and nothing is left over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from scoop_hpc.broker.policy import Policy as BrokerPolicy
from scoop_hpc.protocol.names import WorkerName
from scoop_hpc.sim.agenda import Agenda
from scoop_hpc.sim.ledger import Ledger, Violation
from scoop_hpc.sim.losses import Losses
from scoop_hpc.sim.nodes import Broker, Node, Nodes
from scoop_hpc.sim.worker.process import Worker

_PATIENCE = 0.6  # seconds for which a task may wait beside an idle worker, two ticks of a broker among them
_QUIET = 5.0  # seconds without any change, and with work left, are a hang


class Surroundings(Protocol):
    """The run, as it is looked at."""

    agenda: Agenda
    ledger: Ledger
    losses: Losses
    nodes: Nodes
    troubled_until: float
    delay: float

    def is_in_trouble(self, until: float) -> None:
        """Expect nothing of the run before."""


class Watch:
    """What was seen of a *run* so far; only with *checks* is it looked at whether tasks wait beside the idle."""

    def __init__(self, run: Surroundings, checks: bool) -> None:
        self.finished_at: float | None = None  # when all was done that the program has asked for
        self._run = run
        self._checks = checks
        self._computed_at = run.agenda.now  # when any worker was last seen to

    def look(self, program_ended: float | None) -> bool:
        """Look at all processes while the program runs, or *program_ended*; return whether the origin may end.

        Raises Violation.
        """
        run = self._run
        now, ledger = run.agenda.now, run.ledger
        members = [node for node in self._run.nodes if node.is_member]
        workers = [worker for node in members for worker in node.workers.values() if not worker.is_gone]
        if self._run.losses.is_news(members):
            self._run.is_in_trouble(now)
        computes = any(worker.state.busy_since for worker in workers)
        if computes:
            self._computed_at = now
        last = max(ledger.changed, self._run.troubled_until, self._computed_at)
        if program_ended is not None and ledger.is_finished():
            if self.finished_at is None:
                self.finished_at = max(ledger.changed, program_ended)
            if not computes and now > last + 1.0 + run.delay:
                self._check_end(workers)
                return True
            return False
        if not computes and now > last + _QUIET + self._run.delay:
            what = ledger.unfinished() or "the program itself"
            raise Violation(f"nothing happens any more, and there is work left: {what}")
        if self._checks:
            takers = [worker for node in members if _takes_tasks(node) for worker in node.workers.values()]
            takers = [worker for worker in takers if not worker.is_gone]
            self._check_patience(takers)
            self._check_queues(members, takers)
        return False

    def _check_patience(self, takers: Sequence[Worker]) -> None:
        now, patience = self._run.agenda.now, _PATIENCE + self._run.delay
        idle = [worker for worker in takers if worker.idle_since is not None]
        if not idle or now < self._run.troubled_until + patience:
            return
        first = min(idle, key=lambda worker: worker.idle_since or 0.0)
        assert first.idle_since is not None
        for number, since, where in self._run.ledger.waiting():
            if now - max(since, first.idle_since, self._run.troubled_until) > patience:
                waits, idles = now - since, now - first.idle_since
                who = f"worker {first.name} was idle for {idles:.2f} s"
                raise Violation(f"task {number} has waited for {waits:.2f} s ({where}), {who}")

    def _check_queues(self, members: Sequence[Node], takers: Sequence[Worker]) -> None:
        """Check that no task stays the first of a queue while a worker is idle, which one that is not followed may."""
        now, patience = self._run.agenda.now, _PATIENCE + self._run.delay
        free = min((worker.idle_since for worker in takers if worker.idle_since is not None), default=now)
        for node in members:
            broker = node.broker
            assert broker is not None
            first = next(iter(broker.state.queue), None) or next(iter(broker.state.risky), None)
            if first is not broker.first:
                broker.first, broker.first_since = first, now
            elif first is not None and now - max(broker.first_since, free, self._run.troubled_until) > patience:
                waits, idles = now - broker.first_since, now - free
                who = f"a worker was idle for {idles:.2f} s"
                raise Violation(f"{first} has waited for {waits:.2f} s at {broker.name}, {who}")

    def _check_end(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            left = worker.left_over()
            if left:
                raise Violation(f"worker {worker.name} has something left at the end: {', '.join(left)}")
        members = [node for node in self._run.nodes if node.is_member]
        for node in members:
            assert node.broker is not None
            left = _left_over(node.broker, {worker.worker_name for worker in workers}, members)
            if left:
                raise Violation(f"broker {node.broker.name} has something left at the end: {', '.join(left)}")


def _takes_tasks(node: Node) -> bool:
    """Return whether a node does not leave."""
    return node.broker is not None and not node.broker.state.leaves


def _left_over(broker: Broker, workers: Collection[WorkerName], members: Collection[Node]) -> list[str]:
    state = broker.state
    left = [name for name in ("queue", "risky", "_searches", "_home") if len(getattr(state, name))]
    others = {str(node.index) for node in members} - {broker.name}
    if state.peers != others:
        left.append(f"the peers {sorted(state.peers)}, which are {sorted(others)}")
    known = (*state.neighbours, *state._broken, *filter(None, (state._stealing,)))
    left += [f"the lost broker {name}" for name in sorted(set(known) - others)]
    if broker.early:
        left.append(f"messages for {sorted(broker.early)}")
    left += [f"the ledger of {name}" for name, worker in state.workers.items() if worker.ledger]
    left += [f"the dead {name}" for name in (*state.workers, *state.waiting, *state.ahead) if name not in workers]
    ticks = BrokerPolicy().memory_ticks
    if any(done.tick < state._ticks - ticks for done in state._in_memory.values()):
        left.append("tasks whose outcomes were left in memory")
    if any(worker._asked for worker in state.workers.values()):
        left.append("questions to workers")
    if state._shared.is_asked:
        left.append("questions for shared values")
    return left
