"""Which brokers tell each other how much work waits and how many workers are idle, and what each knows by that.

::

    up to `Policy.all_direct` brokers            beyond

        0 --- 1                                            0                 the parent of broker n is
        |  X  |    each tells all others               /   |   \\             (n - 1) // `Policy.branches`,
        3 --- 2    of its own workers                1     2     3           or the nearest ancestor that lives
                                                   / | \\

In the tree a broker tells each neighbour how many workers are idle at its own node and behind its other neighbours, as
far as its own queue does not suffice for them. So each knows how much work is wanted in all directions, and whoever has
work is asked for it by the neighbour that is on the way. Each broker tells few others, not all, and work travels in
bulk, to N nodes in log N steps. [Sums over a tree: Kumar, Grama and Vempaty, J. Parallel Distrib. Comput. 22 (1994) 60.
Thieves that leave word with few neighbours: Saraswat et al., Lifeline-based global load balancing, PPoPP 2011, 201.]
Who has asked for others sends them what comes, without being asked again: else two brokers, each with idle workers
behind it, take a task from each other until one of those happens to be quicker. Both ends of an edge count the tasks
that pass it against the idle workers there, and the one that got them says at the next tick how many are left.

What appears, or has doubled, is told at once: of a queue in the tree, no more neighbours than there are tasks, the
hungriest. What has gone, or has halved, is told at once where all tell all, so that busy workers do not export tasks
for those that are idle no more. In the tree it is told at the next tick, so what comes and goes with each task costs a
neighbour a few messages per tick. The neighbour that gave tasks for idle workers elsewhere is not told of these: what
lies behind it may be hungrier than all others together, and they would go back and forth. Links lose nothing (see
`transport.numbered`), so nothing is repeated, and a federation at rest sends nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from scoop_hpc.broker.actions import Send
from scoop_hpc.broker.policy import Policy
from scoop_hpc.protocol.messages import Load
from scoop_hpc.protocol.names import BrokerName, NodeIndex, broker_name, node_of

_NOTHING = Load(0, 0)
_FIRST = broker_name(NodeIndex(0))


def ancestor(node: int, living: Collection[BrokerName], branches: int) -> BrokerName | None:
    """Return the nearest ancestor of *node* in the tree that is *living*; broker 0 is; None for node 0.

    >>> ancestor(9, {broker_name(1)}, 2), ancestor(9, {broker_name(1), broker_name(4)}, 2), ancestor(0, (), 2)
    ('1', '4', None)
    """
    while node:
        node = (node - 1) // branches
        if not node or broker_name(node) in living:
            return broker_name(node)
    return None


def _upwards(name: BrokerName, branches: int) -> Iterator[BrokerName]:
    """Yield *name*, the parent of that in the tree, and so on, whether they live or not.

    >>> list(_upwards(broker_name(9), 2))
    ['9', '4', '1', '0']
    """
    node = node_of(name)
    while node:
        yield broker_name(node)
        node = NodeIndex((node - 1) // branches)
    yield _FIRST


def _children(node: int, living: Collection[BrokerName], branches: int, last: int) -> Iterator[BrokerName]:
    """Yield the children of *node* that are *living*, and in the place of each other one its children."""
    for child in range(branches * node + 1, min(branches * (node + 1), last) + 1):
        if broker_name(child) in living:
            yield broker_name(child)
        else:
            yield from _children(child, living, branches, last)


def _subtree(node: int, branches: int, last: int) -> int:
    """Return how many nodes up to the *last* are in the tree below *node*, itself among them.

    >>> _subtree(0, 16, 255), _subtree(15, 16, 255), _subtree(16, 16, 255)
    (256, 16, 1)
    """
    total, low, high = 0, node, node
    while low <= last:
        total += min(high, last) - low + 1
        low, high = branches * low + 1, branches * (high + 1)
    return total


class Neighbours:
    """The brokers that broker *name* tells of its load, and what they have told."""

    def __init__(self, name: BrokerName, policy: Policy) -> None:
        self._name = name
        self._policy = policy
        self._passes_on = False  # what it has heard: in a tree
        self._parent: BrokerName | None = None  # in the tree
        self._heard: dict[BrokerName, Load] = {}  # also from peers that know first that they are neighbours
        self._said: dict[BrokerName, Load | None] = {}  # to each neighbour; None: nothing yet
        self._behind: dict[BrokerName, float] = {}  # each neighbour, of all nodes; in a tree, where those lost count
        self.idle = 0  # workers in all directions, as far as told
        self.idle_beyond = 0  # of these, those for which tasks pass through here: all, or in a small run none
        self._offered = 0  # tasks of the queue here, as far as neighbours were told at once
        self._again: set[BrokerName] = set()  # to whom all is to be said again at the next tick
        self._giver: BrokerName | None = None  # who gave tasks last, for workers here or behind others
        self._examined = -1  # idle workers, up to which nobody is to be told of more before the next tick

    def __len__(self) -> int:
        return len(self._said)

    def __iter__(self) -> Iterator[BrokerName]:
        return iter(self._said)

    def meet(self, peers: Collection[BrokerName]) -> None:
        """Take it that these are the other brokers of the run."""
        self._passes_on = len(peers) >= self._policy.all_direct
        if self._passes_on:
            branches, own = self._policy.branches, node_of(self._name)
            last = max(own, *map(node_of, peers))
            parent = ancestor(own, peers, branches)
            neighbours = [*_children(own, peers, branches, last), *([] if parent is None else [parent])]
            self._parent = parent
            below = {peer: _subtree(node_of(peer), branches, last) / (last + 1) for peer in neighbours}
            if parent is not None:
                below[parent] = 1.0 - _subtree(own, branches, last) / (last + 1)
            self._behind = below
        else:
            neighbours = sorted(peers)
            self._parent = None
            self._behind = {}
        self._said = {peer: self._said.get(peer) for peer in neighbours}
        self._heard = {peer: load for peer, load in self._heard.items() if peer in peers}
        self._count()

    def way_to(self, peer: BrokerName) -> BrokerName:
        """Return by whom to send what is for a *peer*: itself, or, to and from broker 0, a neighbour in the tree."""
        ends = (self._name, peer)
        return self.next_hop(peer) if self._passes_on and _FIRST in ends else peer

    def next_hop(self, peer: BrokerName) -> BrokerName:
        """Return which neighbour in the tree is next on the way to a *peer*; that itself if none is known to be."""
        for name in _upwards(peer, self._policy.branches):
            if name in self._said:
                return name
        return peer if self._parent is None else self._parent

    def leads_over(self, peer: BrokerName, others: Collection[BrokerName]) -> bool:
        """Return whether one of *others* may be, or have been, on the way along the tree to a *peer*.

        One of the two is broker 0. Nobody takes the place of a node that was lost but those above it.
        """
        lower = peer if self._name == _FIRST else self._name
        return any(name in others for name in _upwards(lower, self._policy.branches) if name != lower)

    def hear(self, load: Load, peer: BrokerName) -> None:
        """Note what a *peer* has told."""
        self._heard[peer] = load
        self._count()

    def _count(self) -> None:
        self.idle = sum(self._heard.get(peer, _NOTHING).idle for peer in self._said)
        self.idle_beyond = self.idle if self._passes_on else 0
        self._offered = 0
        self._examined = -1

    def helped(self, victim: BrokerName) -> None:
        """Note that a peer that was asked for tasks has given some."""
        self._giver = victim

    def gave_nothing(self, victim: BrokerName) -> None:
        """Note that a peer that was asked for tasks has none."""
        if victim in self._heard:
            self._heard[victim] = Load(0, self._heard[victim].idle)

    def got_nothing(self, thief: BrokerName, queued: int) -> None:
        """Note that a peer has learnt that there are no tasks here, although there may be some that it may not have."""
        said = self._said.get(thief)
        if queued:
            self._again.add(thief)  # later: else it would ask at once, and get nothing again
        elif said is not None and said.queued:
            self._said[thief] = Load(0, said.idle)
            self._offered = 0

    def gave(self, taker: BrokerName, tasks: int) -> None:
        """Note that a neighbour in the tree gets so many tasks, so that fewer of its workers are idle."""
        load = self._heard.get(taker)
        if self._passes_on and load is not None and load.idle:
            self._heard[taker] = Load(load.queued, max(0, load.idle - tasks))
            self._count()

    def got(self, giver: BrokerName, tasks: int) -> None:
        """Note that a neighbour in the tree has given so many tasks, and takes fewer workers for idle than it was told.

        It may have heard of others meanwhile. So it is told at the next tick how many there are. What it has given is
        not there any more: another neighbour may have more now, and is asked next.
        """
        heard = self._heard.get(giver)
        if self._passes_on and heard is not None and heard.queued:
            self._heard[giver] = Load(max(1, heard.queued - tasks), heard.idle)
        said = self._said.get(giver)
        if self._passes_on and said is not None and said.idle:
            self._said[giver] = Load(said.queued, max(0, said.idle - tasks))
            self._again.add(giver)
            self._examined = -1

    def hungry(self, source: BrokerName) -> list[tuple[BrokerName, int]]:
        """Return the neighbours in the tree that idle workers are behind, and how many, but for the *source*.

        The parent comes last: behind it are most, who have other ways to tasks.
        """
        if not self.idle_beyond:
            return []
        heard = ((peer, self._heard.get(peer, _NOTHING).idle) for peer in self._said if peer != source)
        return sorted(
            ((peer, idle) for peer, idle in heard if idle), key=lambda each: (each[0] == self._parent, -each[1])
        )

    def elsewhere(self, peer: BrokerName) -> int:
        """Return how many workers are idle in other directions than that of *peer*."""
        return self.idle - self._heard.get(peer, _NOTHING).idle if peer in self._said else self.idle

    def part_behind(self, peer: BrokerName) -> float:
        """Return what part of all nodes tasks may go to that go to this *peer*."""
        return self._behind.get(peer, 1 / (1 + len(self._said)))

    @property
    def is_tree(self) -> bool:
        """True if neighbours ask for workers behind them, too."""
        return self._passes_on

    def beyond(self, peer: BrokerName) -> int:
        """Return for how many workers in other directions than that of *peer* tasks pass through here."""
        return self.elsewhere(peer) if self._passes_on else 0

    def victim(self, own_hunger: bool) -> BrokerName | None:
        """Return the neighbour to steal from: the one with the longest queue; None if nobody has or wants any."""
        best, most = None, 0
        for peer in self._said:
            queued = self._heard.get(peer, _NOTHING).queued
            if queued > most and (own_hunger or self.beyond(peer)):
                best, most = peer, queued
        return best

    def least_busy(self) -> BrokerName | None:
        """Return the neighbour with the most idle workers, or else the shortest queue; None if there is no other."""
        loads = ((peer, self._heard.get(peer, _NOTHING)) for peer in self._said)
        return min(loads, key=lambda each: (-each[1].idle, each[1].queued, each[0]), default=(None, _NOTHING))[0]

    def _load_for(self, peer: BrokerName, queued: int, spare: int, idle: int) -> Load:
        beyond = self.beyond(peer)
        if peer == self._giver and beyond:
            queued = max(0, queued - beyond)
        return Load(queued, max(0, idle + beyond - spare))

    def news(self, queued: int, spare: int, idle: int) -> list[Send]:
        """Return what neighbours are to be told at once.

        So many tasks are *queued* here, *spare* of them for any worker, and so many workers are *idle* here.
        """
        hunger = idle + self.idle_beyond - spare
        if not self._passes_on and hunger <= 0 < self._examined:
            return self.tick(queued, spare, idle)
        is_offered = queued <= 2 * self._offered
        if is_offered and hunger <= self._examined:
            return []
        takers = () if is_offered else self._takers(queued)
        self._examined = max(hunger, 0)
        self._offered = max(queued, self._offered)
        sends = []
        for peer, said in self._said.items():
            load = self._load_for(peer, queued, spare, idle)
            if said is None or peer in takers or load.idle >= max(1, 2 * said.idle):
                self._said[peer] = load
                sends.append(Send(peer, load))
        return sends

    def _takers(self, queued: int) -> Collection[BrokerName]:
        """Return who is to learn at once that so many tasks are queued here, and does not know that there are any.

        In the tree these are the hungriest neighbours, and no more of them than there are tasks.
        """
        ignorant = [peer for peer, said in self._said.items() if said is None or not said.queued]
        if not self._passes_on:
            return ignorant
        hungry = [peer for peer in ignorant if self._heard.get(peer, _NOTHING).idle and self._is_for(peer, queued)]
        hungry.sort(key=lambda peer: self._heard[peer].idle, reverse=True)
        return hungry[:queued]

    def _is_for(self, peer: BrokerName, queued: int) -> bool:
        """Return whether so many queued tasks are more than others take, if they may have come from this *peer*."""
        return peer != self._giver or queued > self.beyond(peer)

    def all_know(self, queued: int, spare: int, idle: int) -> bool:
        """Return whether the neighbours know all this, so that the next tick has nothing for them."""
        return not self._again and all(
            said == self._load_for(peer, queued, spare, idle) for peer, said in self._said.items()
        )

    def tick(self, queued: int, spare: int, idle: int) -> list[Send]:
        """Return what neighbours are to be told from time to time: what has gone, or has become much more or less."""
        self._offered, self._examined = 0, -1
        sends = []
        for peer, said in self._said.items():
            load = self._load_for(peer, queued, spare, idle)
            if (
                said is None
                or peer in self._again
                or _differs(load.queued, said.queued)
                or _differs(load.idle, said.idle)
            ):
                self._said[peer] = load
                sends.append(Send(peer, load))
        self._again.clear()
        return sends


def _differs(count: int, told: int) -> bool:
    """Return whether a *count* is so far from what was *told* that it is to be told again.

    >>> _differs(0, 0), _differs(0, 1), _differs(3, 2), _differs(4, 2), _differs(1, 2)
    (False, True, False, True, True)
    """
    return count != told and (count >= 2 * told or 2 * count <= told)
