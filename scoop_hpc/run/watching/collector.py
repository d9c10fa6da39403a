"""The observer of a driver that collects what the run does, for its record."""

from __future__ import annotations

from collections.abc import Callable

from scoop_hpc.events import (
    AgentLeft,
    Event,
    NodeJoined,
    NodeLost,
    RunBegan,
    RunEnding,
    RunOver,
    RunStarting,
    WorkerLost,
)
from scoop_hpc.protocol.messages import Accounts
from scoop_hpc.protocol.names import NodeIndex
from scoop_hpc.report.record import (
    MOST_FAILURES,
    VERSION,
    FailureRecord,
    NodeRecord,
    RunRecord,
    Totals,
    WorkerRecord,
    failure_record,
    function_record,
)
from scoop_hpc.run.watching.accounts import NodeAccounted, summed

_MOST_LOST_WORKERS = 100  # that are described


class _Node:
    """What is known of a node, the last of its name."""

    def __init__(self, name: str, workers: int) -> None:
        self.name = name
        self.workers = workers
        self.cause: str | None = None  # of its loss
        self.has_left = False  # its agent, which has told all before
        self.was_lost = False  # an agent of it, which could not
        self.accounts: dict[NodeIndex, tuple[Accounts, float]] = {}  # the last word of each of its agents, and when


class Collector:
    """Collects what there is to know of the run called *run*; the *clock* only goes forward, *wall* is time.time."""

    def __init__(
        self, run: str, job: str | None, program: str, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._run, self._job, self._program = run, job, program
        self._clock = clock
        self._started, self._began = wall(), clock()
        self._ended: float | None = None  # the program
        self._state, self._reason = "RUNNING", ""
        self._status: int | None = None
        self._workers = self._count = 0
        self._nodes: dict[str, _Node] = {}
        self._failures: list[FailureRecord] = []
        self._lost_workers: list[str] = []

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        if isinstance(event, NodeAccounted):
            self._account(event)
        elif isinstance(event, RunStarting):
            self._began = self._clock()
        elif isinstance(event, NodeJoined):
            node = self._nodes.setdefault(event.node, _Node(event.node, event.workers))
            node.cause, node.has_left = None, False
        elif isinstance(event, NodeLost):
            node = self._nodes.setdefault(event.node, _Node(event.node, 0))
            node.cause, node.was_lost = event.cause, node.was_lost or not node.has_left
        elif isinstance(event, AgentLeft) and event.node in self._nodes:
            self._nodes[event.node].has_left = True
        elif isinstance(event, RunBegan):
            self._count, self._workers = event.nodes, event.workers
        elif isinstance(event, WorkerLost) and len(self._lost_workers) < _MOST_LOST_WORKERS:
            self._lost_workers.append(event.what)
        elif isinstance(event, RunEnding):
            self._ended = self._clock()
        elif isinstance(event, RunOver):
            self._state, self._status, self._reason = event.state, event.status, event.reason

    def _account(self, event: NodeAccounted) -> None:
        node = self._nodes.setdefault(event.node, _Node(event.node, 0))
        node.accounts[event.index] = (event.accounts, self._clock())
        room = MOST_FAILURES - len(self._failures)
        self._failures += [failure_record(failed, event.node) for failed in event.accounts.failures[:room]]

    @property
    def elapsed(self) -> float:
        """The seconds from the beginning to the program's end, or until now."""
        return (self._clock() if self._ended is None else self._ended) - self._began

    @property
    def has_begun(self) -> bool:
        """True once the program may have run, on nodes that had joined."""
        return self._count > 0

    def record(self) -> RunRecord:
        """Return the record of the run, as far as it has come."""
        said = [accounts for node in self._nodes.values() for accounts, _ in node.accounts.values()]
        functions = [function_record(each) for each in summed(each for some in said for each in some.functions)]
        functions.sort(key=lambda function: -function.total_s)
        failed = sum(function.failed for function in functions)
        repeated = sum(function.repeated for function in functions) + sum(accounts.lost for accounts in said)
        done = sum(function.count for function in functions)
        return RunRecord(
            VERSION,
            self._run,
            self._job,
            self._program,
            self._state,
            self._status,
            self._reason,
            self._started,
            self.elapsed,
            Totals(done, failed, repeated, self._workers, self._count),
            tuple(self._node(node) for node in self._nodes.values()),
            tuple(each for node in self._nodes.values() for each in self._workers_of(node)),
            tuple(functions),
            tuple(self._failures),
            max(0, failed - len(self._failures)),
            tuple(self._lost_workers),
            is_final=self._status is not None,
        )

    def _node(self, node: _Node) -> NodeRecord:
        said = [accounts for accounts, _ in node.accounts.values()]
        return NodeRecord(
            node.name,
            max(node.accounts, default=0),
            "alive" if node.cause is None else "lost",
            node.workers,
            node.cause or "",
            max((accounts.memory for accounts in said), default=0),
            min((accounts.memory_limit for accounts in said if accounts.memory_limit), default=0),
            self._status is None or not self._workers or (node.has_left and not node.was_lost),
        )

    def _workers_of(self, node: _Node) -> list[WorkerRecord]:
        return [
            WorkerRecord(
                worker.name,
                node.name,
                worker.own,
                max(worker.busy, worker.own),
                None if worker.began is None else max(0.0, told - worker.began - self._began),
                None if worker.ended is None else max(0.0, told - worker.ended - self._began),
            )
            for accounts, told in node.accounts.values()
            for worker in accounts.workers
        ]
