"""Three brokers in a row: what those at its ends have for each other passes the one between, also when that is lost."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from broker_node import Node, Traffic

from scoop_hpc.broker.policy import Policy
from scoop_hpc.protocol.messages import Gone, Peers
from scoop_hpc.protocol.names import NodeIndex
from scoop_hpc.transport import curve as keys
from scoop_hpc.transport import sockets

POLICY = Policy(tick=0.02, unheard=0.2, all_direct=2, branches=1)  # two others: a tree, in which each has one child
CUTS = 25

Row = tuple[Node, Node, Node]


@pytest.fixture
def make_row(tmp_path: Path) -> Iterator[Callable[[Policy], Row]]:
    with contextlib.ExitStack() as stack:
        curve = keys.make_keys()

        def make(policy: Policy) -> Row:
            first, between, last = nodes = tuple(Node(index, tmp_path, curve, policy) for index in range(3))
            for node in nodes:
                stack.callback(node.close)
            for node in nodes:
                sockets.send(node.agent, Peers(tuple(each.up for each in nodes)))
            return first, between, last

        yield make


@pytest.fixture
def row(make_row: Callable[[Policy], Row]) -> Row:
    return make_row(POLICY)


def flow_while(traffic: Traffic, chance: random.Random, most: float) -> None:
    traffic.flow(time.monotonic() + chance.uniform(0, most))


def test_outcomes_pass_the_broker_between_and_no_other_connection_is_made(row: Row) -> None:
    first, _, last = row
    traffic = Traffic((first, last), random.Random(1))
    traffic.flow(time.monotonic() + 0.5)
    traffic.settle()
    traffic.check()
    assert [node.proxy.connections() for node in row] == [1, 2, 1]


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_and_nothing_comes_twice_when_connections_are_cut(row: Row, seed: int) -> None:
    first, _, last = row
    chance = random.Random(seed)
    traffic = Traffic((first, last), chance)
    for _ in range(CUTS):
        flow_while(traffic, chance, 0.1)
        proxy = chance.choice(row).proxy
        if chance.random() < 0.5:  # what is written last disappears
            proxy.swallow(True)
            flow_while(traffic, chance, 0.02)
            proxy.cut(rudely=True)
            proxy.swallow(False)
        else:
            proxy.cut(rudely=chance.random() < 0.5)
    traffic.settle()
    traffic.check()


@pytest.mark.parametrize("seed", range(3))
def test_what_was_with_the_broker_between_goes_another_way_when_that_is_gone(row: Row, seed: int) -> None:
    first, between, last = row
    chance = random.Random(seed)
    traffic = Traffic((first, last), chance)
    flow_while(traffic, chance, 0.3)
    between.proxy.refuse(True)
    flow_while(traffic, chance, 0.3)
    first.proxy.cut(rudely=True)
    for node in (first, last):
        sockets.send(node.agent, Gone((), (NodeIndex(1),)))
    flow_while(traffic, chance, 0.3)
    traffic.settle()
    traffic.check()


def test_broker_that_joins_between_two_others_passes_their_outcomes_on(tmp_path: Path) -> None:
    curve = keys.make_keys()
    with contextlib.ExitStack() as stack:
        nodes = [Node(index, tmp_path, curve, POLICY) for index in range(3)]
        for node in nodes:
            stack.callback(node.close)
        first, between, last = nodes
        for node in (first, last):
            sockets.send(node.agent, Peers((first.up, last.up)))
        traffic = Traffic((first, last), random.Random(1))
        traffic.flow(time.monotonic() + 0.2)
        for node in nodes:
            sockets.send(node.agent, Peers(tuple(each.up for each in nodes)))
        traffic.flow(time.monotonic() + 0.3)
        traffic.settle()
        traffic.check()
