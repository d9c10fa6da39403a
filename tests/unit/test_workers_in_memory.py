"""Two nodes with two workers each, and their brokers, through a whole run in memory, under a clock that jumps."""

from __future__ import annotations

import ast
import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest

from scoop_hpc.broker.actions import META
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Batch, BrokerUp, Message, Peers, Ready, Results, Tasks
from scoop_hpc.protocol.names import (
    AGENT,
    ORIGIN,
    NodeIndex,
    ProcessName,
    WorkerName,
    broker_name,
    broker_of,
    worker_name,
)
from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.future import Future, Waits
from scoop_hpc.worker.state import Export, GiveBack, SendOutcomes, WorkerState
from scoop_hpc.worker.tasks import Task

LATENCY = 0.0001  # seconds


class Run:
    """The clock, the network, and all that take part."""

    def __init__(self, nodes: int, workers: int) -> None:
        self.now = 100.0
        self.executed: Counter[WorkerName] = Counter()
        self.settled: Counter[int] = Counter()
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self.brokers = {broker_name(node): BrokerState(broker_name(node)) for node in range(nodes)}
        names = [worker_name(node, index) for node in range(nodes) for index in range(workers)]
        self.workers = {name: Worker(self, name, len(names)) for name in names}
        peers = Peers(tuple(BrokerUp(NodeIndex(node), ("main",), ("meta",)) for node in range(nodes)))
        for broker in self.brokers:
            self.send(broker, peers, AGENT)
        for name in names:
            self.send(broker_of(name), Ready(), name)

    def at(self, time: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), act))

    def send(self, to: ProcessName, message: Message, sender: ProcessName) -> None:
        message = codec.decode(codec.encode(message))
        self.at(self.now + LATENCY, partial(self._deliver, to, message, sender))

    def _deliver(self, to: ProcessName, message: Message, sender: ProcessName) -> None:
        for worker in self.workers.values():
            if worker.state.name == to:
                worker.arrive(message)
        for name, broker in self.brokers.items():
            if to == name or (to == META and name != sender):
                for send in broker.handle(message, sender):
                    self.send(send.to, send.message, name)

    def until_quiet(self) -> None:
        while self._events:
            self.now, _, act = heapq.heappop(self._events)
            act()


class Worker:
    """A shell around a worker's state: its tasks take the seconds that are their argument."""

    def __init__(self, run: Run, name: WorkerName, size: int) -> None:
        self.state = WorkerState(name, size, run.now)
        self.cost = Cost()
        self._run = run
        self._arrived: list[Message] = []
        self._is_watched = False  # a look is to come

    def submit(self, seconds: float) -> None:
        self.state.submitted(Future(cast(Waits, None), abs, (seconds,), {}, self.cost), self._run.now)
        self._drain()

    def arrive(self, message: Message) -> None:
        self._arrived.append(message)
        if not self.state.busy_since:
            self.go_on()
        else:
            self._look_after(self.state.policy.first_look)

    def go_on(self) -> None:
        """Begin a task, or ask for one and wait."""
        state, now = self.state, self._run.now
        self._receive()
        task = state.next_task()
        if isinstance(task, Batch):
            items = ast.literal_eval(bytes(task.frames[0]).decode())
            state.opened(task, [Task(task.owner, n, abs, item, self.cost) for n, item in enumerate(items, task.serial)])
            task = state.next_task()
        if isinstance(task, Task):
            state.prepare(task.cost, now)
            self._drain()
            self._run.at(now + task.item[0], partial(self._end, task.owner, task.serial, task.item[0]))
            self._look_after(state.policy.first_look)
            return
        state.want()
        state.before_poll(now, waits=True)
        self._drain()

    def _end(self, owner: WorkerName, serial: int, seconds: float) -> None:
        self.state.user_code_ended()
        self._run.executed[self.state.name] += 1
        self.cost.learn(seconds)
        self.state.learn(seconds)
        if owner == self.state.name:  # it has come back
            self._settle(serial, seconds)
        else:
            self.state.finished(owner, (serial, seconds), self._run.now)
        self.go_on()

    def _look_after(self, seconds: float | None) -> None:
        if seconds is not None and not self._is_watched:
            self._is_watched = True
            self._run.at(self._run.now + seconds, self._look)

    def _look(self) -> None:
        """Do what the progress thread does while a task runs."""
        self._is_watched = False
        if self.state.is_neglected(self._run.now):
            self._receive()
            self.state.look(self._run.now)
            self._drain()
        if self.state.busy_since:
            self._look_after(self.state.next_look(is_watched=False))

    def _receive(self) -> None:
        arrived, self._arrived = self._arrived, []
        for message in arrived:
            self.state.receive(message)
        while self.state.arrived:
            for serial, seconds in ast.literal_eval(bytes(self.state.arrived.popleft().frames[0]).decode()):
                self._settle(serial, seconds)
        self._drain()

    def _settle(self, serial: int, seconds: float) -> None:
        if self.state.claim(serial, seconds) is not None:
            self._run.settled[serial] += 1

    def _drain(self) -> None:
        outbox = self.state.outbox
        while outbox:
            action = outbox.popleft()
            if isinstance(action, Export):
                message: Message = Tasks([self._pack(group) for group in action.groups])
            elif isinstance(action, SendOutcomes):
                batches = [Batch(owner, 0, [repr(each).encode()]) for owner, each in action.outcomes.items()]
                message = Results(batches, action.request)
            elif isinstance(action, GiveBack):
                message = Tasks([self._pack_again(given) for given in action.given])
            else:
                assert isinstance(action, Message)
                message = action
            self._run.send(broker_of(self.state.name), message, self.state.name)

    def _pack(self, futures: Any) -> Batch:
        calls = [future.take() for future in futures]
        return self.state.exported(futures, [repr([call[1] for call in calls if call is not None]).encode()])

    def _pack_again(self, given: Batch | Task) -> Batch:
        if isinstance(given, Batch):
            return given
        return Batch(given.owner, given.serial, [repr([given.item]).encode()])


@pytest.mark.parametrize(("nodes", "workers"), [(1, 1), (1, 3), (2, 2), (5, 1)])
@pytest.mark.parametrize("seconds", [0.0002, 0.01, 1.0, 3600.0])
def test_every_task_is_settled_once_and_all_workers_have_their_share(nodes: int, workers: int, seconds: float) -> None:
    run = Run(nodes, workers)
    origin = run.workers[ORIGIN]
    origin.state.size = max(2, origin.state.size)  # alone it would export nothing
    for _ in range(80):
        origin.submit(seconds)
    for worker in run.workers.values():
        worker.go_on()
    begin = run.now
    run.until_quiet()
    assert run.settled == Counter(range(1, 81))
    assert sum(run.executed.values()) == 80
    if seconds >= 1.0:
        share = 80 // len(run.workers)
        assert all(share - 1 <= run.executed[name] <= share + 2 for name in run.workers), run.executed
        assert run.now - begin == pytest.approx(seconds * share, rel=0.05)
