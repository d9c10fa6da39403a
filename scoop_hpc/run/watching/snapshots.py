"""Makes the looks at a run, out of what its driver hears: events, and what agents see of their nodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from msgspec.structs import replace

from scoop_hpc.events import Event, NodeJoined, NodeLeft, NodeLost, RunBegan, RunOver
from scoop_hpc.jobs.snapshot import Failure, Function, Gpu, Node, Snapshot, Totals, Wait, Worker, over
from scoop_hpc.protocol.histogram import quantile
from scoop_hpc.protocol.messages import FailedTask, FunctionAccount, Seen, Standing, WorkerSeen
from scoop_hpc.protocol.names import ORIGIN, number_of
from scoop_hpc.run.watching.accounts import NodeAccounted, summed
from scoop_hpc.run.watching.progress import Part, Progress

_LAST_FAILURES = 100  # that are shown
_FIRST_LOOKS = 2.0  # seconds: what they show says little about how fast the run is
_NOTHING = Standing(0, 0, 0, 0)


class Snapshots:
    """An observer of the driver, which keeps what a look shows; *first* is the look at the run before it begins.

    Its *clock* is one that only goes forward.
    """

    def __init__(
        self, first: Snapshot, nodes: Sequence[str], ends_at: float | None, clock: Callable[[], float]
    ) -> None:
        self._run = first  # what it is called, and how it stands
        self._over: RunOver | None = None
        self._ends_at = ends_at  # seconds since the epoch
        self._clock = clock
        self._began = clock()
        self._progress = Progress(clock)
        self._done = 0  # tasks
        self._seen: dict[int, int] = {}  # of these, by the index of their node, since it is looked at
        self._recent = Part("", self._began)  # tasks that were done while somebody looked
        self._first_look: float | None = None
        self._nodes = [Node(name, index, "late") for index, name in enumerate(nodes)]
        self._workers: dict[int, tuple[Worker, ...]] = {}  # by the index of their node
        self._repeated: dict[int, int] = {}  # tasks, the same
        self._functions: dict[int, tuple[FunctionAccount, ...]] = {}  # the same
        self._failures: deque[Failure] = deque(maxlen=_LAST_FAILURES)

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        self._progress(event)
        if isinstance(event, RunBegan):
            self._run = replace(self._run, state="running")
        elif isinstance(event, NodeAccounted):
            self._functions[event.index] = event.accounts.functions
            self._failures += [_failure(event.node, each) for each in event.accounts.failures[-_LAST_FAILURES:]]
        elif isinstance(event, NodeJoined):
            self._join(event)
        elif isinstance(event, NodeLost):
            self._lose(event.node, "lost", event.cause)
        elif isinstance(event, NodeLeft):
            self._lose(event.node, "left", event.why)
        elif isinstance(event, RunOver):
            self._end(event)

    def _join(self, event: NodeJoined) -> None:
        known = self._last(event.node)
        if known is None or known.state in ("lost", "left"):  # it has come back, as another one
            self._nodes.append(Node(event.node, len(self._nodes), "alive", event.workers))
        else:
            self._nodes[known.broker] = replace(known, state="alive", workers=event.workers)

    def _lose(self, name: str, state: Literal["lost", "left"], cause: str) -> None:
        known = self._last(name)
        if known is not None:
            self._nodes[known.broker] = replace(known, state=state, cause=cause, queued=0, cpu_percent=0.0)
            workers = self._workers.get(known.broker, ())
            self._workers[known.broker] = tuple(replace(each, state="dead", cpu_percent=None) for each in workers)

    def _end(self, event: RunOver) -> None:
        self._over = event
        for index, workers in self._workers.items():
            self._workers[index] = tuple(each if each.state == "dead" else replace(each, task=None) for each in workers)

    def _last(self, name: str) -> Node | None:
        """Return the node of that name; of several, the last one."""
        return next((node for node in reversed(self._nodes) if node.name == name), None)

    def see(self, index: int, seen: Seen) -> None:
        """Take in what the agent of the node with this *index* has seen."""
        node, standing = self._nodes[index], seen.standing or _NOTHING
        self._repeated[index] = standing.repeated
        node = replace(
            node, queued=standing.queued, steals_in=standing.stolen, steals_out=standing.given, done=seen.done
        )
        if seen.workers:  # else it is the agent's last word: all that it had started has ended
            by_name = sorted(seen.workers, key=lambda each: number_of(each.name))
            self._workers[index] = tuple(_worker(node.name, each) for each in by_name)
            node = replace(
                node,
                cpu_percent=round(sum(each.cpu or 0.0 for each in seen.workers), 1),
                memory_bytes=seen.memory,
                memory_limit_bytes=seen.memory_limit,
                gpus=tuple(Gpu(gpu.name, gpu.percent, gpu.memory, gpu.memory_limit) for gpu in seen.gpus),
            )
        self._nodes[index] = node
        self._done = sum(each.done for each in self._nodes)
        now = self._clock()
        self._first_look = now if self._first_look is None else self._first_look
        before = self._seen.get(index, seen.done)  # those of a node's first look have not come just now
        self._seen[index] = seen.done
        self._recent.count(None, self._recent.done + max(0, seen.done - before), 0, now)

    def look(self, time: float) -> Snapshot:
        """Return the look of the run at the *time*, in seconds since the epoch."""
        now = self._clock()
        seen = replace(
            self._run,
            time=time,
            elapsed_s=round(now - self._began, 3),
            walltime_left_s=None if self._ends_at is None else round(self._ends_at - time, 1),
            totals=self._totals(now),
            waits=tuple(_wait(part, now) for part in self._progress.parts),
            nodes=tuple(self._nodes),
            workers=tuple(worker for index in sorted(self._workers) for worker in self._workers[index]),
            functions=tuple(_function(each) for each in self._summed()),
            failures=tuple(self._failures),
        )
        return seen if self._over is None else over(seen, self._over.status, self._over.reason)

    def _summed(self) -> list[FunctionAccount]:
        """Return one account for each function, those first that have taken most time."""
        accounts = summed(each for those in self._functions.values() for each in those)
        return sorted(accounts, key=lambda each: -each.total)

    def _rate(self, now: float) -> float:
        """Return how many tasks are done in a second: of late, or in all if the first look was just now."""
        if self._first_look is None or now - self._first_look < _FIRST_LOOKS:
            return self._done / max(now - self._began, _FIRST_LOOKS)
        return self._recent.rate(now)

    def _totals(self, now: float) -> Totals:
        workers = [worker for each in self._workers.values() for worker in each]
        alone = len(workers) == 1  # the origin, which executes tasks then
        busy = sum(worker.state == "busy" for worker in workers if alone or worker.name != ORIGIN)
        alive = [node for node in self._nodes if node.state == "alive"]
        counted = sum(each.failed for those in self._functions.values() for each in those)
        waiting = self._progress.queued() if self._progress.running else None
        return Totals(
            done=self._done,
            running=busy,
            queued=sum(node.queued for node in alive) if waiting is None else waiting,
            failed=max(counted, sum(part.failed for part in self._progress.parts)),  # one of them comes first
            repeated=sum(self._repeated.values()),
            stolen=sum(node.steals_in for node in self._nodes),
            rate_per_s=round(self._rate(now), 3),
            busy_workers=busy,
            workers=sum(node.workers for node in alive),
            nodes=len(alive),
        )


def _worker(node: str, seen: WorkerSeen) -> Worker:
    task = seen.task or None
    return Worker(seen.name, node, seen.pid, seen.state, task, seen.since, seen.done, seen.cpu, seen.memory)


def _function(account: FunctionAccount) -> Function:
    p99 = min(quantile(account.durations, 0.99), account.longest)
    mean = account.total / account.count if account.count else 0.0
    return Function(account.name, account.count, account.failed, mean, p99, account.total)


def _failure(node: str, failed: FailedTask) -> Failure:
    return Failure(failed.function, failed.position, node, failed.worker, failed.attempt, failed.error, failed.time)


def _wait(part: Part, now: float) -> Wait:
    left = None if part.ended is not None else part.left(now)
    rate = round(part.rate(now), 3)
    return Wait(part.label, part.total, part.done, part.failed, rate, None if left is None else round(left, 1))
