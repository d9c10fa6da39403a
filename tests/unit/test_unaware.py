"""Whom a broker tells how much is welcome: those whom a look at every worker would find, and no others."""

from __future__ import annotations

import random

import pytest

from scoop_hpc.broker.workers import Unaware, Worker
from scoop_hpc.protocol.messages import Batch, Demand
from scoop_hpc.protocol.names import NodeIndex, WorkerName, worker_name

NAMES = [worker_name(NodeIndex(0), place) for place in range(1, 25)]  # more than so few that each is looked at
BATCH = Batch(NAMES[0], 1, [b"call"])


class Node:
    """Workers of one node, and what is noted of them."""

    def __init__(self) -> None:
        self.workers = {name: Worker() for name in NAMES}
        self.waiting: set[WorkerName] = set()
        self.unaware = Unaware()
        for name in NAMES:
            self.unaware.add(name)

    def told(self, batches: int, idle: int) -> dict[WorkerName, Demand]:
        return self.unaware.demands(self.workers, self.waiting, batches, idle)

    def told_by_a_look_at_each(self, batches: int, idle: int) -> dict[WorkerName, Demand]:
        found = (
            (name, worker.demand(batches, idle)) for name, worker in self.workers.items() if name not in self.waiting
        )
        return {name: demand for name, demand in found if demand is not None}

    def happen(self, what: str, name: WorkerName) -> None:
        if what == "waits":
            self.waiting.add(name)
            return
        self.waiting.discard(name)
        if what == "gets a task":
            self.workers[name].give([BATCH], name)
        elif what == "gives tasks":
            self.workers[name].took_back([BATCH, BATCH])
        self.unaware.add(name)


@pytest.mark.parametrize("seed", range(50))
def test_those_are_told_whom_a_look_at_each_worker_would_find(seed: int) -> None:
    chance, node, other = random.Random(seed), Node(), Node()
    for _ in range(200):
        what, name = chance.choice(("waits", "gets a task", "gives tasks", "begins")), chance.choice(NAMES)
        node.happen(what, name)
        other.happen(what, name)
        idle = chance.choice((0, 1, len(node.waiting), 20))
        batches = idle + chance.randint(0, 4)
        if batches:
            assert list(node.told(batches, idle).items()) == list(other.told_by_a_look_at_each(batches, idle).items())


def test_worker_that_was_told_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    assert len(node.told(4, 4)) == len(NAMES)
    looked_at: list[Worker] = []
    monkeypatch.setattr(Worker, "demand", lambda worker, batches, idle: looked_at.append(worker))
    node.happen("gets a task", NAMES[3])
    assert not node.told(5, 5)
    assert looked_at == [node.workers[NAMES[3]]]
