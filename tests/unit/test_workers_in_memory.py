"""Workers of several nodes, and their brokers, through whole runs under a virtual clock: who does what, and when."""

from __future__ import annotations

import random

import pytest

from scoop_hpc.protocol.names import ORIGIN, worker_name
from scoop_hpc.sim.network import NetworkPlan
from scoop_hpc.sim.plan import Result, Scenario
from scoop_hpc.sim.program import Call, Compute, Program, Submit, Wait
from scoop_hpc.sim.scenario import Failure, run


def program(lengths: list[float], pause: float = 0.0) -> Program:
    """Return a program whose origin submits a task of each of *lengths*, in seconds, and waits for all."""
    numbers = range(1, len(lengths) + 1)
    calls = {number: Call("f", (Compute(seconds),)) for number, seconds in zip(numbers, lengths)}
    submits = [step for number in numbers for step in (Submit(number), Compute(pause))]
    return Program({0: Call("main", (*submits, *map(Wait, numbers))), **calls})


def kept(scenario: Scenario) -> Result:
    """Run *scenario*, which keeps every promise."""
    result = run(scenario)
    assert not isinstance(result, Failure), result.reason
    return result


@pytest.mark.parametrize(("nodes", "workers"), [(1, 1), (1, 3), (2, 2), (5, 1)])
@pytest.mark.parametrize("seconds", [0.0002, 0.01, 1.0, 20.0])
def test_every_task_is_settled_once_and_all_workers_have_their_share(nodes: int, workers: int, seconds: float) -> None:
    result = kept(Scenario(1, (workers,) * nodes, program([seconds] * 80)))
    assert result.executed == 80
    if seconds >= 1.0:
        share = 80 // (nodes * workers)
        is_alone = nodes * workers == 1  # else the origin is beside the workers of its node
        names = [
            worker_name(node, index + (node == 0 and not is_alone)) for node in range(nodes) for index in range(workers)
        ]
        tasks = {name: round(result.computed[name] / seconds) for name in names}
        assert is_alone or result.computed[ORIGIN] < seconds
        assert all(share - 1 <= tasks[name] <= share + 2 for name in names), tasks
        assert result.seconds == pytest.approx(seconds * -(-80 // len(names)), rel=0.05)


@pytest.mark.parametrize("seed", range(10))
def test_no_task_waits_for_long_behind_one_that_turns_out_long(seed: int) -> None:
    chance = random.Random(seed)
    nodes = chance.choice(((2, 2), (3,), (1, 1, 1), (2,)))
    latencies = chance.choice(((0.00005, 0.002, 0.2), (0.00005, 0.0002)))
    short = chance.choice(((1e-5, 4e-4), (0.002,), (0.01, 1e-5)))
    lengths = [chance.choice(short) for _ in range(200)]
    for number in chance.sample(range(200), sum(nodes) - 1):
        lengths[number] = 20.0
    result = kept(Scenario(seed, nodes, program(lengths, pause=0.001), NetworkPlan(latencies, latencies)))
    assert result.executed == 200
