"""Which agents relay for which, so that the driver of many nodes has connections to few of them.

::

    BrokerUp --> relay:  Relay --> RelayUp --> in use             about the square root of the number of nodes
             --> others: wait for a relay with room --UseRelay--> assigned --Resume by it--> moved

The first node, whose agent passes on what the program prints, keeps its own connection. So does who finds no relay, or
came back from several. A relay without a connection to the driver is none any more: those behind it come back by
themselves (see `transport.line`), and get others.
"""

from __future__ import annotations

import math

from msgspec import Struct, field

from scoop_hpc.protocol.messages import Relay, UseRelay
from scoop_hpc.protocol.names import NodeIndex
from scoop_hpc.run.driving.actions import Action, Send
from scoop_hpc.run.driving.membership import Membership, Node
from scoop_hpc.run.policy import DriverPolicy


class _Relay(Struct):
    """An agent that relays."""

    address: str = ""  # empty: it has not told yet
    assigned: dict[NodeIndex, Node] = field(default_factory=dict)  # who has to go by it


class Relays:
    """The relays among the agents of *membership*."""

    def __init__(self, policy: DriverPolicy, membership: Membership) -> None:
        self._policy = policy
        self._membership = membership
        self._relays: dict[NodeIndex, _Relay] = {}
        self._relay_of: dict[NodeIndex, NodeIndex] = {}  # of those that are assigned
        self._moved: set[NodeIndex] = set()  # who goes by a relay
        self._returns: dict[NodeIndex, int] = {}
        self._waiting: dict[NodeIndex, Node] = {}  # for a relay with room

    def wanted(self) -> int:
        """Return how many relays there should be."""
        nodes = len(self._membership.nodes)
        return 0 if nodes <= self._policy.all_connected else math.ceil(math.sqrt(nodes))

    def place(self, node: Node) -> list[Action]:
        """Let the agent on *node*, which has a connection of its own, be a relay, or go by one, if there are many."""
        if node.agent is None or not node.is_up or node.index == 0 or self._has_place(node.index):
            return []
        if self._returns.get(node.index, 0) > self._policy.relay_returns:
            return []
        wanted = self.wanted()
        if len(self._relays) < wanted:
            self._relays[node.index] = _Relay()
            return [Send(node.agent, Relay())]
        if not wanted:
            return []
        self._waiting[node.index] = node
        return self._assign()

    def _has_place(self, index: NodeIndex) -> bool:
        return index in self._relays or index in self._relay_of or index in self._waiting

    def _assign(self) -> list[Action]:
        """Give those that wait to the relays that have room for them."""
        actions: list[Action] = []
        wanted = max(1, self.wanted())
        room = math.ceil((len(self._membership.nodes) - 1 - wanted) / wanted)
        for index, node in list(self._waiting.items()):
            usable = [each for each in self._relays.items() if each[1].address and len(each[1].assigned) < room]
            if not usable:
                break
            del self._waiting[index]
            if node.agent is None or not node.is_up:
                continue
            number, relay = min(usable, key=lambda each: len(each[1].assigned))
            relay.assigned[index] = node
            self._relay_of[index] = number
            actions.append(Send(node.agent, UseRelay(relay.address)))
        return actions

    def up(self, node: Node, address: str) -> list[Action]:
        """Take it that the agent on *node* may be reached as a relay."""
        relay = self._relays.get(node.index)
        if relay is None:  # it has lost its connection since it was asked
            return []
        relay.address = address
        return self._assign()

    def has_way(self, node: Node, by_relay: bool) -> list[Action]:
        """Take it that there is a way to the agent on *node* again, or a new one."""
        index = node.index
        if by_relay:
            self._moved.add(index)
            return []
        if index in self._moved:
            self._moved.discard(index)
            self._returns[index] = self._returns.get(index, 0) + 1
            self._relays.pop(self._drop(index), None)  # if it is connected, it serves only those that it has
        return self.place(node)

    def _drop(self, index: NodeIndex) -> NodeIndex:
        """Assign a node to no relay any more; return the one that it had, or its own index."""
        self._waiting.pop(index, None)
        relay = self._relay_of.pop(index, index)
        if relay in self._relays:
            self._relays[relay].assigned.pop(index, None)
        return relay

    def begin_anew(self) -> None:
        """Take it that no agent is there any more, nor has any done anything for others."""
        for kept in (self._relays, self._relay_of, self._returns, self._waiting):
            kept.clear()
        self._moved.clear()

    def lost(self, node: Node) -> list[Action]:
        """Take it that there is no connection to the agent on *node*: it is no relay any more."""
        relay = self._relays.pop(node.index, None)
        if node.is_lost:
            self._drop(node.index)
            self._moved.discard(node.index)
        actions: list[Action] = []
        for index, child in ({} if relay is None else relay.assigned).items():
            self._relay_of.pop(index, None)
            if index not in self._moved:
                actions += self.place(child)
        return actions
