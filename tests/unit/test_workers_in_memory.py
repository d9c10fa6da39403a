"""Two nodes with two workers each, and their brokers, through a whole run in memory, under a clock that jumps."""

from __future__ import annotations

import ast
import heapq
import itertools
import random
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

    def __init__(self, nodes: int, workers: int, latency: Callable[[], float] = lambda: LATENCY) -> None:
        self.now = 100.0
        self._latency = latency
        self._delivered: dict[tuple[ProcessName, ProcessName], float] = {}  # when the last from one to another was
        self.executed: Counter[WorkerName] = Counter()
        self.settled: Counter[int] = Counter()  # by their serials, 0 for those that were never exported
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
        time = max(self.now + self._latency(), self._delivered.get((sender, to), 0.0))  # none overtakes another
        self._delivered[sender, to] = time
        self.at(time, partial(self._deliver, to, message, sender))

    def _deliver(self, to: ProcessName, message: Message, sender: ProcessName) -> None:
        for worker in self.workers.values():
            if worker.state.name == to:
                worker.arrive(message)
        for name, broker in self.brokers.items():
            if to == name or (to == META and sender in broker.peers):  # others it has not subscribed to
                for send in broker.handle(message, sender):
                    self.send(send.to, send.message, name)

    def until(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            self.now, _, act = heapq.heappop(self._events)
            act()

    def tick(self, seconds: float, end: float) -> None:
        for name, broker in self.brokers.items():
            for send in broker.tick(self.now):
                self.send(send.to, send.message, name)
        if self.now < end:
            self.at(self.now + seconds, partial(self.tick, seconds, end))

    def until_quiet(self) -> None:
        self.until(float("inf"))


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
        if self.state.busy_since:
            self._look_after(self.state.policy.first_look)
        else:
            self.go_on()

    def arrive(self, message: Message) -> None:
        self._arrived.append(message)  # where a task runs, it is seen by who looks next, if anybody does
        if not self.state.busy_since:
            self.go_on()

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
        if state.local:
            state.withdraw()
            self._drain()
            self._begin_own(state.local.pop())
            return
        state.want()
        state.before_poll(now, waits=True)
        self._drain()

    def _begin_own(self, future: Future) -> None:
        call = future.take()
        assert call is not None
        (seconds,) = call[1]
        self.state.user_code_began(self._run.now)
        self._run.at(self._run.now + seconds, partial(self._end_own, seconds))
        self._look_after(self.state.policy.first_look)

    def _end_own(self, seconds: float) -> None:
        self._run.settled[0] += 1
        self._ended(seconds)

    def _end(self, owner: WorkerName, serial: int, seconds: float) -> None:
        if owner == self.state.name:  # it has come back
            self._settle(serial, seconds)
        else:
            self.state.finished(owner, (serial, seconds), self._run.now)
        self.state.learn(seconds)
        self._ended(seconds)

    def _ended(self, seconds: float) -> None:
        self.state.user_code_ended()
        self._run.executed[self.state.name] += 1
        self.cost.learn(seconds)
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
        if self.state.has_to_share():
            self.state.share()
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


@pytest.mark.parametrize("seed", range(60))
def test_no_task_waits_for_long_behind_one_that_turns_out_long(seed: int) -> None:
    chance = random.Random(seed)
    nodes, workers = chance.choice(((2, 2), (1, 3), (3, 1), (1, 2)))
    latencies = chance.choice(((0.00005, 0.002, 0.2), (0.00005, 0.0002)))
    short = chance.choice(((1e-5, 4e-4), (0.002,), (0.01, 1e-5)))
    run = Run(nodes, workers, lambda: chance.choice(latencies))
    origin = run.workers[ORIGIN]
    long = chance.sample(range(200), nodes * workers - 1)
    for number in range(200):
        seconds = 3600.0 if number in long else chance.choice(short)
        run.at(100.0 + number / 1000, partial(origin.submit, seconds))
    for worker in run.workers.values():
        worker.go_on()
    run.tick(0.5, end=300.0)
    run.until(300.0)
    assert sum(run.executed.values()) == 200 - len(long), run.executed
    run.until_quiet()
    assert sum(run.settled.values()) == 200
    assert all(times == 1 for serial, times in run.settled.items() if serial)
