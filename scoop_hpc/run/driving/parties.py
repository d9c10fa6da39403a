"""Nodes of other allocations join the run, and nodes leave it without being lost.

::

    joiner --Join--> <--Joined, as party 1-- driver                       then it starts its agents, which report as
                                                                          nodes that are late do: Hello, of party 1
    Leave --> the node takes no more tasks, hands back those that wait --Drained--> it has left
                  '--its time is over--> it is lost, and what ran there is executed again elsewhere

A node leaves because a user says so (`scoop-hpc drain`), because the allocation that has brought it ends, as its
joiner or its agent says, or because one worker after the other dies there. The first node never leaves, for the program
is there.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from scoop_hpc import events
from scoop_hpc.events import Observers
from scoop_hpc.hostlist import first_label, fold
from scoop_hpc.protocol.messages import (
    VERSION,
    Accepted,
    Exited,
    Hello,
    Join,
    Joined,
    Leave,
    Message,
    Peers,
    Refused,
)
from scoop_hpc.protocol.names import AgentName, NodeIndex, is_same_agent
from scoop_hpc.run.driving.actions import Action, Send, warn
from scoop_hpc.run.driving.joining import Joining
from scoop_hpc.run.driving.life import Life, Phase
from scoop_hpc.run.driving.losses import Losses
from scoop_hpc.run.driving.membership import Membership, Node
from scoop_hpc.run.placement import NodePlan
from scoop_hpc.run.policy import DriverPolicy


class Party(Struct, frozen=True):
    """An allocation whose nodes may join the run."""

    number: int  # from 1 on
    joiner: AgentName
    join: Join


class Parties:
    """The parties of a run, and the nodes that leave it."""

    def __init__(
        self,
        policy: DriverPolicy,
        membership: Membership,
        life: Life,
        joining: Joining,
        losses: Losses,
        observers: Observers,
    ) -> None:
        self._policy = policy
        self._membership = membership
        self._life = life
        self._joining = joining
        self._losses = losses
        self._observers = observers
        self._parties: list[Party] = []
        self._why: dict[int, str] = {}  # by index of a node that leaves
        self._deadly: NodeIndex | None = None  # the node on which the last workers died that did so in a task
        self._deaths = 0  # of these, in a row

    # time

    def deadline(self) -> float | None:
        """Return when to call `pass_time` at the latest; None: nothing is due."""
        if self._life.ending is not None:
            return None
        times = [node.leave_until for node in self._membership.leaving() if node.leave_until is not None]
        return min(times, default=None)

    def pass_time(self, now: float) -> list[Action]:
        """Give up the nodes that leave, and whose time is over."""
        actions: list[Action] = []
        if self._life.ending is not None:
            return actions
        for node in self._membership.leaving():
            if node.leave_until is not None and now >= node.leave_until:
                what = f"it had to leave ({self._why[node.index]}) while it had tasks to do"
                actions += self._losses.lose(node, what, f"node {node.name} is lost: {what}", now)
        return actions

    # joining

    def join(self, message: Join, sender: AgentName) -> list[Action]:
        """Let the nodes of another allocation join, or say why not."""
        party = next((each for each in self._parties if is_same_agent(each.joiner, sender)), None)
        if party is None:
            refused = self._objection(message)
            if refused is not None:
                return [Send(sender, refused)]
            party = Party(len(self._parties) + 1, sender, message)
            self._parties.append(party)
            self._life.joiners.append(sender)
            if self._observers:
                names = fold([node.name for node in message.nodes])
                self._observers.tell(events.PartyJoins(party.number, message.job, message.host, names))
        return [Send(sender, Joined(party.number))]

    def _objection(self, message: Join) -> Refused | None:
        if message.version != VERSION:
            return Refused(f"it speaks protocol {VERSION}, this is {message.version}: install the same version")
        if self._life.ending is not None:
            return Refused("it ends")
        if self._life.phase is Phase.JOINING:
            return Refused("it has not begun", is_early=True)
        if self._joining.is_alone:
            return Refused("its program is its only worker: start it with two workers, or more")
        return None

    def node_of(self, message: Hello) -> Node | None:
        """Return a new node for an agent that reports for the first time; None if its party has no such node."""
        party = next((each for each in self._parties if each.number == message.party), None)
        if party is None:
            return None
        label = first_label(message.node)
        found = next((node for node in party.join.nodes if first_label(node.name) == label), None)
        if found is None:
            return None
        node = self._membership.add(NodePlan(found.name, found.workers), party.number)
        node.has_joiner = first_label(party.join.host) == label
        return node

    # leaving

    def leave(self, message: Leave, sender: AgentName, now: float) -> list[Action]:
        """Let nodes leave, as an agent, a joiner or a user says; answer the user."""
        own = self._membership.of(sender)
        if own is not None:
            return self._let_leave([own], message, now)
        party = next((each for each in self._parties if is_same_agent(each.joiner, sender)), None)
        if party is not None:
            nodes = [node for node in self._membership.hoped_for() if node.party == party.number]
            return self._let_leave(nodes, message, now)
        return self._drain(message, sender, now)

    def _drain(self, message: Leave, sender: AgentName, now: float) -> list[Action]:
        if self._life.phase is not Phase.RUNNING:
            early = self._life.phase is Phase.JOINING
            return [Send(sender, Refused("it has not begun" if early else "it ends", is_early=early))]
        named = self._membership.all_named(message.node)
        nodes = [node for node in named if node.name == message.node] or named
        reason = self._why_not(nodes, message.node)
        if reason:
            return [Send(sender, Refused(reason))]
        workers = sum(node.workers or 0 for node in nodes)
        accepted: Message = Accepted(tuple(node.name for node in nodes), workers)
        return [*self._let_leave(nodes, message, now), Send(sender, accepted)]

    def _why_not(self, nodes: Sequence[Node], name: str) -> str:
        """Return why *nodes*, which a user calls *name*, cannot leave; empty if they can."""
        if not nodes:
            known = fold([node.name for node in self._membership.up()])
            return f"no node {name!r} takes part in it: {known}"
        if any(node.index == 0 for node in nodes):
            return f"its program runs on {name}, which cannot leave before its end"
        stay = [node for node in self._membership.up() if node not in nodes and not node.is_leaving]
        if len(stay) < self._joining.floor:
            left = f"{len(stay)} {'node' if len(stay) == 1 else 'nodes'} would be left"
            return f"{left}, fewer than the {self._joining.floor} that it takes to go on (--min-nodes)"
        if not sum((node.workers or 0) - node.dead_workers for node in stay):
            return "no worker would be left"
        return ""

    def _let_leave(self, nodes: Sequence[Node], message: Leave, now: float) -> list[Action]:
        """Tell all that *nodes* leave, those that were not told before."""
        if self._life.ending is not None:
            return []
        why = message.why or "drained"
        for node in nodes:
            if message.within is not None:
                until = now + message.within
                node.leave_until = until if node.leave_until is None else min(node.leave_until, until)
        new = [node for node in nodes if not node.is_leaving and not node.is_lost and node.index]
        if not new:
            return []
        for node in new:
            node.is_leaving = True
            self._why[node.index] = why
        names = fold([node.name for node in new])
        if self._observers:
            self._observers.tell(events.NodesLeave(names, why))
        text = f"{names} leave{'s' if len(new) == 1 else ''} the run ({why}): no more tasks go there"
        peers = Peers((), leaving=tuple(node.index for node in new))
        return [*self._losses.tell_welcome(peers), *warn(text, self._observers)]

    def judge(self, message: Exited, node: Node, now: float) -> list[Action]:
        """Leave a *node* alone on which one worker after the other dies in a task, while none does elsewhere.

        A task in which a worker has died is tried by another node next: if tasks are to blame, workers die there, too.
        """
        if not message.task or message.is_too_long:
            return []
        if not message.may_be_node:
            self._deadly, self._deaths = None, 0
            return []
        self._deaths = 1 + (self._deaths if self._deadly == node.index else 0)
        self._deadly = node.index
        if self._deaths < max(self._policy.deadly, 2 * (node.workers or 0)) or node.is_leaving:
            return []
        if self._life.phase is not Phase.RUNNING or self._why_not([node], node.name):
            return []
        why = f"its last {self._deaths} workers died in a task, and none did elsewhere"
        return self._let_leave([node], Leave(why=why), now)

    def drained(self, node: Node, now: float) -> list[Action]:
        """Take it that a node that leaves has nothing to do any more."""
        return self._losses.part(node, self._why[node.index], now) if node.is_leaving else []
