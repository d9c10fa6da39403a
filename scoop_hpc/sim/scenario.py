"""Scenarios made by a seed, and what came of a run."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from scoop_hpc.sim.faults import make_death, make_fault, make_loss, make_move
from scoop_hpc.sim.ledger import Violation
from scoop_hpc.sim.network import NetworkPlan
from scoop_hpc.sim.plan import Classes, Result, Scenario
from scoop_hpc.sim.program import make_program, make_wide_program, with_killers
from scoop_hpc.sim.world import World, line_of


@dataclass(frozen=True, slots=True)
class Sizes:
    """The bounds of a scenario; what is None is drawn by the seed."""

    nodes: int | None = None
    workers: int | None = None  # on each node
    tasks: int | None = None
    faults: int | None = None
    deaths: int | None = None  # beside the faults; else some of these are deaths
    losses: int | None = None  # of nodes and connections, beside the faults; else some of these are losses
    moves: int = 0  # of nodes into the run and out of it, beside the faults
    most_nodes: int = 8
    most_workers: int = 4
    most_tasks: int = 80
    most_faults: int = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that broke a promise."""

    scenario: Scenario
    reason: str
    trace: tuple[str, ...]  # the last events


def make_scenario(seed: int, sizes: Sizes = Sizes()) -> Scenario:
    """Return the scenario of a *seed*."""
    chance = random.Random(seed)
    nodes = sizes.nodes or chance.choice((1, 2, 2, 2, 3, 4, chance.randint(2, sizes.most_nodes)))
    nodes = nodes if sizes.nodes else min(nodes, sizes.most_nodes)
    workers = tuple(sizes.workers or chance.randint(1, sizes.most_workers) for _ in range(nodes))
    tasks = chance.randint(1, sizes.most_tasks) if sizes.tasks is None else sizes.tasks
    program = make_program(chance, tasks)
    latencies = chance.choice(((0.00005,), (0.00005, 0.0002), (0.00005, 0.002, 0.2), (0.001, 0.01)))
    local = chance.choice(((0.00002,), (0.00002, 0.002), (0.00002, 0.1)))
    network = NetworkPlan(latencies, local, cost=chance.choice((0.00001, 0.0001, 0.0)))
    faults = chance.randint(0, sizes.most_faults) if sizes.faults is None else sizes.faults
    seconds = 0.05 + program.seconds() / sum(workers)
    made = tuple(make_fault(chance, workers, seconds) for _ in range(faults))
    fate = random.Random(f"deaths of {seed}")  # another one: the rest of a seed's scenario stays what it was
    deaths = min(faults, fate.choice((0, 0, 1, 1, 2, 3, 5))) if sizes.deaths is None else sizes.deaths
    if deaths and sum(workers) > 1:  # else there is the origin alone
        kept = made if sizes.deaths is not None else made[deaths:]
        made = (*kept, *(make_death(fate, workers, seconds) for _ in range(deaths)))
        if fate.random() < 0.3:
            program = with_killers(program, fate)
    loss = random.Random(f"losses of {seed}")
    losses = min(faults, loss.choice((0, 0, 0, 1, 1, 2))) if sizes.losses is None else sizes.losses
    greed = loss.choice((0, 0, 1, 4)) if losses else 0
    if losses and nodes > 1:
        if loss.random() < 0.5:
            program = make_wide_program(loss, max(tasks, sizes.most_tasks))
            seconds = 0.05 + program.seconds() / sum(workers)
        kept = made if sizes.losses is not None else made[losses:]
        made = (*kept, *(make_loss(loss, nodes, seconds) for _ in range(losses)))
    if sizes.moves and sum(workers) > 1:  # a program that is alone takes no nodes
        move = random.Random(f"moves of {seed}")
        made = (*made, *(make_move(move, nodes, seconds) for _ in range(sizes.moves)))
    stack_depth, large = chance.choice((1, 3, 10)), fate.choice((0, 0, 1, 3))
    all_direct, branches = random.Random(f"tree of {seed}").choice(((8, 16), (8, 16), (1, 2), (2, 2), (2, 3)))
    all_connected = random.Random(f"relays of {seed}").choice((None, None, 1, 2, 3)) if nodes > 2 else None
    return Scenario(
        seed,
        workers,
        program,
        network,
        made,
        stack_depth,
        large,
        greed,
        all_direct=all_direct,
        branches=branches,
        all_connected=all_connected,
    )


def run(
    scenario: Scenario, classes: Classes = Classes(), tell: Callable[[str], object] | None = None
) -> Result | Failure:
    """Run *scenario* to its end, or to the first promise that it breaks."""
    world = World(scenario, classes, tell)
    try:
        return world.run()
    except (Violation, AssertionError, LookupError, TypeError, ValueError, AttributeError) as error:
        reason = str(error) if isinstance(error, Violation) else f"{type(error).__name__}: {error}"
        return Failure(scenario, reason, tuple(line_of(*event) for event in world.remembered))
