"""Links between brokers that stay broken, and which node is to be given up for each.

A node that is cut off has broken links to many, the others each have one: so reports are collected for a moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from msgspec import Struct

from scoop_hpc.protocol.names import NodeIndex


class Verdict(Struct, frozen=True):
    """A node that is given up, and those that it has no connection to."""

    node: NodeIndex
    others: tuple[NodeIndex, ...]


class BrokenLinks:
    """The reports of broken links, which are judged some *seconds* after the first of them. It has no clock."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None
        self._links: set[frozenset[NodeIndex]] = set()

    def due(self) -> float | None:
        """Return when the reports are to be judged, None if there are none."""
        return None if self._since is None else self._since + self._seconds

    def report(self, node: NodeIndex, other: NodeIndex, now: float) -> None:
        """Note that one of two nodes says that it has no connection to the other."""
        if self._since is None:
            self._since = now
        self._links.add(frozenset((node, other)))

    def judge(self, living: Collection[NodeIndex]) -> list[Verdict]:
        """Return whom to give up, so that no broken link is left among the *living*; forget the reports.

        That is never the first node, else the one with the most broken links, of equals the last.
        """
        links = {link for link in self._links if link <= set(living)}
        self._links, self._since = set(), None
        verdicts = []
        while links:
            counts = Counter(node for link in links for node in link if node)
            worst = max(counts, key=lambda node: (counts[node], node))
            broken = {link for link in links if worst in link}
            others = sorted(node for link in broken for node in link if node != worst)
            verdicts.append(Verdict(worst, tuple(others)))
            links -= broken
        return verdicts
