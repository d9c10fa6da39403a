"""Whole runs under a virtual clock in which agents relay for others, and are lost; and a bug about that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from test_simulated_losses import thirty_tasks

from scoop_hpc.sim.faults import Fault, NodeLoss, Silence, Stall
from scoop_hpc.sim.plan import Scenario
from scoop_hpc.sim.scenario import Failure, Sizes, make_scenario, run
from scoop_hpc.sim.world import World
from scoop_hpc.transport.line import DriverEnd, Envelope

NODES = 9  # of which the first has its own connection, three relay, and five go by them
LOSSY = Sizes(nodes=NODES, most_workers=2, tasks=60, faults=1, deaths=0, losses=3)


def run_of(*faults: Fault, seconds: float = 5.0) -> World:
    """Run some tasks on many nodes, one of some *seconds* among them."""
    scenario = Scenario(1, (1,) * NODES, thirty_tasks(seconds), faults=faults, all_connected=2)
    world = World(scenario)
    world.run()
    return world


def moves(world: World) -> int:
    assert world.lines is not None
    return world.lines.moves


def relays(world: World) -> list[int]:
    """Return the nodes that have relayed, in the order in which they began."""
    assert world.lines is not None
    return world.lines.relays


def test_all_but_the_first_node_and_the_relays_go_by_relays() -> None:
    world = run_of()
    assert len(relays(world)) == 3
    assert moves(world) == NODES - 1 - 3


@pytest.mark.parametrize("what", ["node", "agent"])
def test_those_behind_a_lost_relay_go_on_by_another(what: str) -> None:
    lost = relays(run_of())[0]
    world = run_of(NodeLoss(lost, what, 2.0, noticed=0.5), seconds=20.0)
    assert world.losses.count == 1
    assert len(relays(world)) == 4
    assert moves(world) > NODES - 1 - 3


@pytest.mark.parametrize("is_stopped", [False, True])
def test_relay_that_is_silent_for_a_while_costs_nobody_behind_it(is_stopped: bool) -> None:
    silent = relays(run_of())[1]
    world = run_of(Silence(silent, 2.0, 2.5, 0.5, is_stopped), seconds=20.0)
    assert world.losses.count == 0
    assert moves(world) > NODES - 1 - 3


def test_relay_that_hangs_is_left_and_its_node_is_not_lost() -> None:
    hangs = relays(run_of())[0]
    world = run_of(Stall(f"agent {hangs}", 2.0, 30.0), seconds=60.0)
    assert world.losses.count == 0
    assert moves(world) > NODES - 1 - 3


@pytest.mark.parametrize("seed", range(9))
def test_promises_are_kept_when_any_nodes_are_lost(seed: int) -> None:
    result = run(replace(make_scenario(seed, LOSSY), all_connected=1 + seed % 3))
    assert not isinstance(result, Failure), result.reason


def test_word_to_an_agent_that_is_not_sent_again_after_its_way_has_changed_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def resume_nothing(*_: object) -> Sequence[Envelope]:
        return []

    monkeypatch.setattr(DriverEnd, "_resume", resume_nothing)
    lossy = Sizes(nodes=10, faults=0, deaths=0, losses=4)
    found = [run(replace(make_scenario(seed, lossy), all_connected=1)) for seed in (71, 72, 78, 90)]
    assert any(isinstance(each, Failure) for each in found)
