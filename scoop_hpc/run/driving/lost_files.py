"""Files of the user's, such as the log, that nodes cannot write: the same of many nodes is told in one line.

A full file system, say, is the same on all nodes, but each notices it at its next line. So what the first says is kept
for a moment, what later ones say for longer, and the rest is told at the end.
"""

from __future__ import annotations

from scoop_hpc.events import Observers
from scoop_hpc.hostlist import fold
from scoop_hpc.run.driving.actions import Action, warn
from scoop_hpc.run.driving.membership import Node
from scoop_hpc.run.policy import DriverPolicy


class LostFiles:
    """The files that are lost on nodes; these need no names where they are all *one machine*."""

    def __init__(self, policy: DriverPolicy, one_machine: bool, observers: Observers) -> None:
        self._policy = policy
        self._one_machine = one_machine
        self._observers = observers
        self._nodes: dict[str, list[Node]] = {}  # by what is to be told of them
        self._has_told = False
        self._due: float | None = None

    def deadline(self) -> float | None:
        """Return when to call `pass_time` at the latest; None: nothing is due."""
        return self._due

    def add(self, node: Node, what: str, now: float) -> None:
        """Note *what* file cannot be written on *node*, and why."""
        self._nodes.setdefault(what, []).append(node)
        if self._due is None:
            self._due = now + (self._policy.gather_more_losses if self._has_told else self._policy.gather_losses)

    def pass_time(self, now: float) -> list[Action]:
        """Tell what is known, when others have had the time to say the same."""
        return [] if self._due is None or now < self._due else self.tell()

    def tell(self) -> list[Action]:
        """Tell what was not told yet."""
        actions: list[Action] = []
        for what, nodes in self._nodes.items():
            names = list(dict.fromkeys(node.name for node in sorted(nodes, key=lambda node: node.index)))
            where = "" if self._one_machine else f"{'node' if len(names) == 1 else 'nodes'} {fold(names)}: "
            actions += warn(f"{where}{what}", self._observers)
        self._has_told = self._has_told or bool(actions)
        self._nodes, self._due = {}, None
        return actions
