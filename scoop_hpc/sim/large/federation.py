"""A federation of many nodes, from the moment when all workers have asked for tasks to the end of a program."""

from __future__ import annotations

import gc
import heapq
import itertools
from array import array
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from scoop_hpc.broker.policy import Policy
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.protocol.messages import Message, Results, Tasks
from scoop_hpc.protocol.names import (
    ORIGIN,
    BrokerName,
    NodeIndex,
    ProcessName,
    WorkerName,
    broker_name,
    is_broker,
    worker_name,
)
from scoop_hpc.sim.large.costs import Costs, Footprint
from scoop_hpc.sim.large.crew import Crew
from scoop_hpc.sim.large.programs import Source
from scoop_hpc.sim.large.workers import Worker

_SETTLING = 1.5  # seconds, in which idle workers are told of, before the program begins
_NOBODY = -1.0
_ENVELOPE = 10  # bytes


class Brokers(Collection[BrokerName]):
    """The names of all brokers of a run, without a set of them for each."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.isdecimal() and int(name) < self._count

    def __iter__(self) -> Iterator[BrokerName]:
        return map(broker_name, map(NodeIndex, range(self._count)))


@dataclass(frozen=True, slots=True)
class _Passing:
    """A message of the broker *source* for the broker *to*, which others pass on."""

    to: BrokerName
    source: BrokerName
    message: Message
    size: int  # bytes


class Broker:
    """A broker's process: it takes one message after the other, and each takes its time until it is *free*."""

    __slots__ = (
        *(
            "bytes_out",
            "free_at",
            "got",
            "index",
            "met_by",
            "most_held",
            "queue",
            "reached",
            "sent",
            "state",
            "workers",
        ),
    )

    def __init__(self, index: int, policy: Policy, takers: int) -> None:
        self.index = index
        self.state = BrokerState(broker_name(NodeIndex(index)), policy, takers=takers)
        self.workers: dict[str, Worker] = {}
        self.free_at = 0.0
        self.got = self.sent = self.bytes_out = 0  # messages, bytes to other nodes
        self.reached: dict[str, float] = {}  # peers that it has sent something, and when the last of it arrives
        self.met_by: set[str] = set()  # those that have sent it something
        self.most_held = 0  # tasks in its queue and its ledgers

    def files(self, footprint: Footprint, most: int) -> int:
        """Return how many files it has open, with *most* connections of its own."""
        out = min(most, len(self.reached))
        return footprint.files + footprint.files_out * out + footprint.files_in * len(self.met_by)

    def memory(self, footprint: Footprint, peers: int) -> int:
        """Return how much memory its process needs, in bytes."""
        links = len(self.reached) + len(self.met_by)
        per_task = footprint.bytes_task * self.most_held
        return footprint.bytes_alone + footprint.bytes_connection * links + footprint.bytes_known * peers + per_task


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run; rates are those while the program ran."""

    seconds: float
    computed: float  # seconds, by all workers
    last_node: float  # seconds until the last node began its first task, the longest way
    nodes_used: int  # that began any
    messages: int  # that brokers got
    first_rate: float  # messages per second that broker 0 got and sent
    most_rate: float  # the same, of the busiest broker beside it
    middle_rate: float  # of the one in the middle
    first_bytes: float  # per second, that broker 0 sent to other nodes
    most_bytes: float
    first_busy: float  # share of its time for which broker 0 was busy
    first_files: int
    most_files: int
    middle_files: int
    first_memory: int
    middle_memory: int
    events: int


class Federation:
    """So many *nodes* with so many *workers* each, beside the origin, which runs the program of *source*.

    Without *crews*, each worker has a state of its own from the beginning.
    """

    def __init__(
        self,
        nodes: int,
        workers: int,
        source: Source,
        costs: Costs = Costs(),
        policy: Policy = Policy(),
        make_broker: Callable[[int, Policy, int], Broker] = Broker,
        crews: bool = True,
    ) -> None:
        self.now = 0.0
        self._source = source
        self.costs = costs
        self.outbox: deque[Any] = deque()
        self._policy = policy
        self._heap: list[tuple[float, int, Callable[..., object], tuple[object, ...]]] = []
        self._order = itertools.count()
        self._events = 0
        self._first_tasks = array("d", [_NOBODY] * nodes)
        self._began_at = self._ended_at = _NOBODY
        self._busy_before = 0.0
        self.brokers = [make_broker(index, policy, workers) for index in range(nodes)]
        everyone = Brokers(nodes)
        self._everybody = size = nodes * workers + 1
        self.origin = Worker(self, ORIGIN, 0, size)
        self.workers = [self.origin]
        self._crews = [Crew(self, node, workers) for node in range(nodes)] if crews else []
        for broker in self.brokers:
            broker.state.peers = everyone  # type: ignore[assignment]
            broker.state.neighbours.meet(_near(broker.index, nodes, policy))
            if not crews:
                names = [worker_name(NodeIndex(broker.index), place) for place in range(1, workers + 1)]
                self.workers += [Worker(self, name, broker.index, size) for name in names]
        for worker in self.workers:
            self.brokers[worker.node].workers[worker.name] = worker

    def at(self, time: float, act: Callable[..., object], *arguments: object) -> None:
        """Plan what is to happen."""
        heapq.heappush(self._heap, (time, next(self._order), act, arguments))

    def run(self) -> Outcome:
        """Let everything happen."""
        for number, worker in enumerate(self.workers):
            self.at(0.2 * number / self._everybody, worker.ready)
        for node, crew in enumerate(self._crews):
            self.at(0.2 * node / len(self._crews), crew.ready)
        for broker in self.brokers:
            self.at(self._policy.tick * (1 + broker.index / len(self.brokers)), self._tick, broker)
        self.at(_SETTLING, self._begin)
        collects = gc.isenabled()
        gc.disable()  # else it looks at some ten million objects again and again, among which there is nothing to find
        try:
            self._go()
        finally:
            if collects:
                gc.enable()
        return self._outcome()

    def _go(self) -> None:
        heap, pop = self._heap, heapq.heappop
        while self._ended_at < 0.0:
            self.now, _, act, arguments = pop(heap)
            self._events += 1
            act(*arguments)

    def _begin(self) -> None:
        self._began_at = self.now
        for broker in self.brokers:
            broker.got = broker.sent = broker.bytes_out = 0
        self.origin.begin_program(self._source)

    def begins(self, node: int, time: float) -> None:
        """Note that a worker of a node begins a task."""
        if self._first_tasks[node] < 0.0:
            self._first_tasks[node] = time

    def promote(self, node: int, name: WorkerName, begun: int, message: Tasks, time: float) -> None:
        """Let a worker that has *begun* so many tasks have a state of its own, and get *message* at that *time*."""
        worker = Worker(self, name, node, self._everybody)
        self.workers.append(worker)
        self.brokers[node].workers[name] = worker
        worker.go_on_after(begun)
        self.at(time, worker.arrive, message)

    def program_ended(self) -> None:
        """Note that the origin's program has come to its end."""
        self._ended_at = self.now

    # messages

    def send_from(self, node: int, name: WorkerName, message: Message, time: float) -> None:
        """Send *message* of a worker to the broker of its node."""
        self.at(time + self.costs.local, self._hear, self.brokers[node], message, name)

    def hear_from(self, node: int, name: WorkerName, message: Message) -> None:
        """Let the broker of a node hear *message* of a worker now."""
        self._hear(self.brokers[node], message, name)

    def _hear(self, broker: Broker, message: Message | _Passing, sender: ProcessName) -> None:
        """Let a broker take a message, now or when it is done with those before: it decides the same."""
        time = max(self.now, broker.free_at)
        state = broker.state
        broker.got += 1
        if isinstance(message, _Passing):
            if message.to != state.name:
                self._pass_on(broker, message, time)
                return
            sender = message.source
            message = message.message
        sends = state.handle(message, sender)
        if time >= state._next_tick:
            sends += state.tick(time)
        if type(message) is Tasks:
            broker.most_held = max(broker.most_held, len(state.queue) + len(state._home))
        self._send_all(broker, sends, time + self.costs.broker_in)

    def _send_all(self, broker: Broker, sends: Sequence[Any], time: float) -> None:
        costs = self.costs
        for send in sends:
            to, message = send.to, send.message
            time += costs.broker_out
            broker.sent += 1
            if "." in to:
                worker = broker.workers.get(to)
                if worker is not None:
                    self.at(time + costs.local, worker.arrive, message)
                else:
                    self._crews[broker.index].get(int(to[to.index(".") + 1 :]) - 1, message, time + costs.local)
            else:
                assert is_broker(to)
                size, by = self._size(message), broker.state.neighbours.way_to(to)
                if by == to:
                    self._carry(broker, to, message, size, time)
                else:
                    passing = _Passing(to, broker.state.name, message, size + _ENVELOPE)
                    self._carry(broker, by, passing, passing.size, time)
        if time > broker.free_at:
            broker.free_at = time

    def _pass_on(self, broker: Broker, passing: _Passing, time: float) -> None:
        """Send what is for another broker to the next one on the way there."""
        time = broker.free_at = time + self.costs.broker_in + self.costs.broker_out
        broker.sent += 1
        self._carry(broker, broker.state.neighbours.next_hop(passing.to), passing, passing.size, time)

    def _carry(self, broker: Broker, to: BrokerName, message: Message | _Passing, size: int, time: float) -> None:
        """Have a message of so many bytes arrive at a peer."""
        broker.bytes_out += size
        costs = self.costs
        arrival = max(time + costs.latency + size / costs.bandwidth, broker.reached.get(to, 0.0))
        broker.reached[to] = arrival
        peer = self.brokers[int(to)]
        peer.met_by.add(broker.state.name)
        self.at(arrival, self._hear, peer, message, broker.state.name)

    def _size(self, message: Message) -> int:
        if isinstance(message, Tasks):
            return 25 + (25 + self.costs.call) * len(message.batches)
        if isinstance(message, Results):
            return 25 + sum(20 + (6 + self.costs.result) * len(batch.done) for batch in message.batches)
        return 40

    def _tick(self, broker: Broker) -> None:
        state = broker.state
        sends = state.tick(self.now)
        if sends:
            self._send_all(broker, sends, max(self.now, broker.free_at))
        self.at(self.now + (self._policy.rest if state.is_at_rest else self._policy.tick), self._tick, broker)

    # what came of it

    def _outcome(self) -> Outcome:
        seconds = self._ended_at - self._began_at
        nodes, footprint, most = len(self.brokers), Footprint(), self._policy.most_links
        first, others = self.brokers[0], self.brokers[1:] or self.brokers
        rates = sorted((broker.got + broker.sent) / seconds for broker in others)
        files = sorted(broker.files(footprint, most) for broker in others)
        memory = sorted(broker.memory(footprint, nodes) for broker in others)
        begun = [time - self._began_at for time in self._first_tasks if time >= 0.0]
        busy = first.got * self.costs.broker_in + first.sent * self.costs.broker_out
        return Outcome(
            seconds,
            sum(worker.computed for worker in self.workers) + sum(crew.computed for crew in self._crews),
            max(begun),
            len(begun),
            sum(broker.got for broker in self.brokers),
            (first.got + first.sent) / seconds,
            rates[-1],
            rates[len(rates) // 2],
            first.bytes_out / seconds,
            max(broker.bytes_out for broker in others) / seconds,
            busy / seconds,
            first.files(footprint, most),
            files[-1],
            files[len(files) // 2],
            first.memory(footprint, nodes),
            memory[len(memory) // 2],
            self._events,
        )


def _near(index: int, nodes: int, policy: Policy) -> Collection[BrokerName]:
    """Return the brokers among which the neighbours of one are; with them it is as if it met all."""
    if nodes <= policy.all_direct:
        return [broker_name(NodeIndex(each)) for each in range(nodes) if each != index]
    branches = policy.branches
    near = {0, (index - 1) // branches, nodes - 1, *range(min(nodes, policy.all_direct + 2))}
    near.update(range(branches * index + 1, min(branches * (index + 1), nodes - 1) + 1))
    return [broker_name(NodeIndex(each)) for each in near if 0 <= each != index]


__all__ = ["Broker", "Federation", "Outcome", "WorkerName"]
