"""Nodes that say before the run begins what keeps them from taking part: the same of many nodes is told in one line.

A limit of the system, say, is the same on all nodes. So what the first of them says is kept for a moment.
"""

from __future__ import annotations

from scoop_hpc.hostlist import fold
from scoop_hpc.run.driving.actions import Action
from scoop_hpc.run.driving.life import Life, Phase
from scoop_hpc.run.driving.losses import Losses
from scoop_hpc.run.driving.membership import Membership, Node
from scoop_hpc.run.policy import DriverPolicy


class Refusals:
    """The nodes in *membership* that cannot take part, which the run cannot begin without."""

    def __init__(self, policy: DriverPolicy, membership: Membership, life: Life, losses: Losses) -> None:
        self._policy = policy
        self._membership = membership
        self._life = life
        self._losses = losses
        self._status = 1
        self._due: float | None = None
        self._latest = 0.0

    def deadline(self) -> float | None:
        """Return when to call `pass_time` at the latest; None: nothing is due."""
        return None if self._life.ending is not None else self._due

    def add(self, node: Node, what: str, status: int, now: float) -> None:
        """Note that *node* cannot take part, because of *what*; the run is to end with *status*."""
        if self._due is None:
            self._due, self._status = now + self._policy.gather_refusals, status
            self._latest = now + self._policy.longest_gathering
        node.refusal = what

    def pass_time(self, now: float) -> list[Action]:
        """End the run, when all have had the time to say the same; or go on without them, if it has begun."""
        if self._life.ending is not None or self._due is None or now < self._due:
            return []
        nodes, has_begun = self._membership.hoped_for(), self._life.phase is not Phase.JOINING
        if not has_begun and now < self._latest and not all(node.is_up or node.refusal for node in nodes):
            self._due = min(self._latest, now + self._policy.gather_refusals)
            return []
        self._due = None
        refused = [node for node in nodes if node.refusal]
        if has_begun:
            actions: list[Action] = []
            for node in refused:
                what, node.refusal = node.refusal, ""
                actions += self._losses.lose(node, what, f"node {node.name}: {what}", now, is_gone=node.has_departed)
            return actions
        names: dict[str, list[str]] = {}
        for node in refused:
            names.setdefault(node.refusal, []).append(node.name)
        said = (f"{'node' if len(same) == 1 else 'nodes'} {fold(same)}: {what}" for what, same in names.items())
        return self._life.end(self._status, "; ".join(said), now)
