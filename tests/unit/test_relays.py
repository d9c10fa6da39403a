"""Which agents relay for which, as the driver decides it."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace
from test_driver_state import PLAN, Run, commands

from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol.messages import BrokerUp, Bye, Message, Relay, RelayUp, UseRelay
from scoop_hpc.protocol.names import AgentName, NodeIndex
from scoop_hpc.run.driving.actions import Action, Send
from scoop_hpc.run.placement import NodePlan
from scoop_hpc.run.policy import DriverPolicy

NODES = 25
MANY = replace(PLAN, nodes=tuple(NodePlan(f"n{number}", 1) for number in range(NODES)))
POLICY = DriverPolicy(all_connected=4)


def agent(index: int) -> AgentName:
    return AgentName(f"n{index}/0")


class Relayed:
    """A run of many nodes, and where each agent was told to go."""

    def __init__(self, policy: DriverPolicy = POLICY, nodes: int = NODES) -> None:
        self.run = Run(replace(MANY, nodes=MANY.nodes[:nodes]), policy)
        self.run.do(self.run.state.start(commands(nodes), 0.0))
        self.relays: list[int] = []  # as they were asked
        self.told: dict[int, list[int]] = {}  # by agents: the relays that they were sent to
        for index in range(nodes):
            self.run.hello(f"n{index}")
            self.take(self.run.say(BrokerUp(NodeIndex(index), (f"main{index}",)), agent(index)))

    def take(self, actions: list[Action] | list[Send]) -> None:
        for send in actions:
            if isinstance(send, Send):
                index = int(send.to.partition("/")[0][1:])
                if isinstance(send.message, Relay):
                    self.relays.append(index)
                elif isinstance(send.message, UseRelay):
                    self.told.setdefault(index, []).append(int(send.message.address))

    def up(self, *relays: int) -> None:
        for index in relays:
            self.take(self.run.say(RelayUp(str(index)), agent(index)))

    def move(self, *indices: int) -> None:
        for index in indices:
            self.take(self.run.state.has_way(agent(index), by_relay=True))

    def come_back(self, *indices: int) -> None:
        for index in indices:
            self.take(self.run.state.has_way(agent(index), by_relay=False))

    def lose(self, index: int) -> None:
        self.take(self.run.state.disconnected(agent(index), self.run.now))

    def behind(self, relay: int) -> list[int]:
        return [index for index, told in self.told.items() if told[-1] == relay]


def test_few_nodes_have_connections_of_their_own() -> None:
    run = Relayed(DriverPolicy(all_connected=NODES))
    assert (run.relays, run.told) == ([], {})


def test_as_many_relays_as_the_square_root_of_the_nodes_share_the_others_evenly() -> None:
    run = Relayed()
    assert run.relays == [1, 2, 3, 4, 5]
    assert run.told == {}  # until they are there
    run.up(*run.relays)
    assert sorted(run.told) == list(range(6, NODES))  # the first node has its own connection
    assert [len(run.behind(relay)) for relay in run.relays] == [4, 4, 4, 4, 3]


@pytest.mark.parametrize("nodes", [5, 12, 25])
def test_driver_has_a_connection_to_the_first_node_and_the_relays_only(nodes: int) -> None:
    run = Relayed(nodes=nodes)
    run.up(*run.relays)
    assert nodes - len(run.told) == 1 + len(run.relays) == 1 + math.ceil(math.sqrt(nodes))


def test_relay_that_comes_late_takes_those_that_wait() -> None:
    run = Relayed()
    run.up(1, 2, 3, 4)
    assert sorted(run.told) == list(range(6, 22))
    run.up(5)
    assert run.behind(5) == [22, 23, 24]


def test_those_behind_a_lost_relay_get_others_as_they_come_back() -> None:
    run = Relayed()
    run.up(*run.relays)
    behind = run.behind(2)
    run.move(*behind)
    run.lose(2)
    assert run.behind(2) == behind  # they see it by themselves
    run.come_back(*behind)
    assert run.relays == [1, 2, 3, 4, 5, behind[0]]  # one in the place of the lost one
    run.up(behind[0])
    assert run.behind(2) == [behind[0]]
    assert all(run.told[index][-1] in run.relays for index in behind[1:])


def test_those_that_have_not_moved_yet_are_told_of_another_relay_at_once() -> None:
    run = Relayed()
    run.up(*run.relays)
    behind = run.behind(2)
    run.lose(2)
    assert run.relays[-1] == behind[0]
    assert len(run.behind(5)) == 4  # it had room for one more
    run.up(behind[0])
    assert run.behind(2) == [behind[0]]


def test_relay_that_somebody_came_back_from_serves_only_those_that_it_has() -> None:
    run = Relayed()
    run.up(*run.relays)
    first, *others = run.behind(3)
    run.move(first, *others)
    run.come_back(first)
    assert run.relays[-1] == first  # instead of it
    assert run.behind(3) == [first, *others]
    run.move(others[0])
    run.come_back(others[0])
    assert run.told[others[0]][-1] != 3


def test_agent_that_came_back_too_often_keeps_its_own_connection() -> None:
    run = Relayed()
    run.up(*run.relays)
    node = run.behind(1)[-1]
    for _ in range(3):
        run.up(*run.relays)
        run.move(node)
        told = len(run.told[node])
        run.come_back(node)
        if node in run.relays:  # it was asked to be one itself
            break
    run.come_back(node)
    assert len(run.told[node]) == told


def test_way_of_a_relayed_agent_is_a_connection() -> None:
    run = Relayed()
    run.up(*run.relays)
    node = run.behind(1)[0]
    run.lose(node)
    run.move(node)
    run.run.wait(60)
    assert not run.run.state.is_given_up(agent(node))


def test_lost_nodes_make_room() -> None:
    run = Relayed()
    run.up(*run.relays)
    node = run.behind(1)[0]
    run.move(node)
    run.run.say(Bye(), agent(node))
    run.lose(node)
    assert run.run.state.is_given_up(agent(node))
    run.come_back(node)
    assert len(run.told[node]) == 1


@pytest.mark.parametrize("message", [Relay(), UseRelay("a")])
def test_agents_have_nothing_to_say_of_what_the_driver_decides(message: Message) -> None:
    with pytest.raises(ProtocolError):
        Relayed().run.say(message, agent(1))


def test_stranger_is_no_relay() -> None:
    with pytest.raises(ProtocolError, match="no agent of this run"):
        Relayed().run.say(RelayUp("a"), "x/0")
