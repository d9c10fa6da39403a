"""The efficiency of large federations, as the simulator predicts it: a table over the number of nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scoop_hpc.sim.network import NetworkPlan
from scoop_hpc.sim.plan import Scenario
from scoop_hpc.sim.program import ROOT, Call, Compute, Program, Submit, Wait
from scoop_hpc.sim.world import World

WORKERS = 4  # on each node
TASKS = 20  # for each worker
SECONDS = 0.1  # that a task takes
BRANCHES = 20  # tasks that one task submits, in the second row of figures
NETWORK = NetworkPlan(latencies=(0.00003,), local=(0.00002,), bandwidth=1e9, cost=0.00001)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    nodes: int
    workers: int
    tasks: int
    seconds: float
    efficiency: float  # what all workers have computed, of what they could have
    messages: float  # for each task


def flat(tasks: int) -> Program:
    """Return a program whose origin submits all *tasks*, and waits for each."""
    numbers = range(1, tasks + 1)
    calls = {number: Call("f", (Compute(SECONDS),)) for number in numbers}
    return Program({ROOT: Call("main", (*map(Submit, numbers), *map(Wait, numbers))), **calls})


def nested(tasks: int) -> Program:
    """Return a program whose origin submits tasks that submit the others, `BRANCHES` each."""
    calls: dict[int, Call] = {}
    outer = range(1, tasks // BRANCHES + 1)
    last = len(outer)
    for number in outer:
        inner = range(last + 1, last + BRANCHES + 1)
        last += BRANCHES
        calls[number] = Call("g", (*map(Submit, inner), *map(Wait, inner)))
        calls |= {each: Call("f", (Compute(SECONDS),)) for each in inner}
    return Program({ROOT: Call("main", (*map(Submit, outer), *map(Wait, outer))), **calls})


def rows(most_nodes: int, kind: str) -> Iterator[Row]:
    """Yield a row for 1, 2, 4, ... nodes."""
    nodes = 1
    while nodes <= most_nodes:
        workers = nodes * WORKERS
        tasks = workers * TASKS
        program = flat(tasks) if kind == "flat" else nested(tasks)
        scenario = Scenario(0, (WORKERS,) * nodes, program, NETWORK)
        result = World(scenario, checks=False).run()
        used = sum(result.computed.values()) / (result.seconds * workers)
        yield Row(nodes, workers, result.executed, result.seconds, used, result.task_messages / result.executed)
        nodes *= 2
