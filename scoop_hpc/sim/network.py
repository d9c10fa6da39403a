"""The network: when a message arrives. Each connection keeps the order of what it carries."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """The numbers of a network. Times are in seconds."""

    latencies: tuple[float, ...] = (0.00005,)  # between nodes: each message draws one
    local: tuple[float, ...] = (0.00002,)  # inside a node
    bandwidth: float = 1e9  # bytes per second of one connection
    cost: float = 0.00001  # of one message, for whoever takes it in


@dataclass(frozen=True, slots=True)
class Hold:
    """A time in which nothing arrives of what one process sends to another."""

    sender: str
    to: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Hush:
    """A time in which nothing arrives of what a node sends to others, nor of what they send to it."""

    names: frozenset[str]  # of the node's broker and agent
    begin: float
    end: float


class Network:
    """The connections of a run, and what *chance* makes of them."""

    def __init__(self, plan: NetworkPlan, chance: random.Random) -> None:
        self.plan = plan
        self.sent = 0  # messages
        self.extra: dict[tuple[str, str], float] = {}  # seconds, by the nodes of a link that is slow
        self.holds: list[Hold] = []
        self.hushes: list[Hush] = []
        self._chance = chance
        self._free: dict[tuple[str, str], float] = {}  # when a connection has sent what it was given
        self._last: dict[tuple[str, str], float] = {}  # when the last message on it arrives

    def is_hushed(self, one: str, other: str, now: float) -> bool:
        """Return whether nothing arrives *now* of what one process sends to another."""
        here, there = one.partition(".")[0], other.partition(".")[0]
        return any(
            (here in each.names) != (there in each.names) and each.begin <= now < each.end for each in self.hushes
        )

    def arrival(self, sender: str, to: str, size: int, now: float) -> float:
        """Return when a message of *size* bytes arrives that is sent *now*."""
        self.sent += 1
        plan, way = self.plan, (sender, to)
        here, there = sender.partition(".")[0], to.partition(".")[0]
        latencies = plan.local if here == there else plan.latencies
        latency = latencies[0] if len(latencies) == 1 else self._chance.choice(latencies)
        free = max(now, self._free.get(way, 0.0)) + size / plan.bandwidth
        self._free[way] = free
        time = max(free + latency, self._last.get(way, 0.0))
        if self.extra:
            time = max(time, free + latency + self.extra.get((here, there), 0.0))
        for hold in self.holds:
            if hold.sender == sender and hold.to == to and hold.begin <= now < hold.end:
                time = max(time, hold.end)
        for hush in self.hushes:
            if (here in hush.names) != (there in hush.names) and hush.begin <= now < hush.end:
                time = max(time, hush.end)
        self._last[way] = time
        return time
