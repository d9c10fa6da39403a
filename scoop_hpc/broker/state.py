"""The broker's decisions: messages in, messages out; no socket, no clock.

::

      worker --Request--> [ waiting ] <--match--> [ queue ] <--Tasks-- worker, peer
      worker <--Tasks------------------------------'  '--Tasks--> peer (answer to its Steal)

A task is in exactly one place: the worker that made it, one broker's queue, one message, or the worker that runs it.
While there are tasks in the queue nobody waits; while somebody waits the queue is empty. A broker whose workers wait
tells its busy workers so (Wanted: they may hold tasks back) and steals from the peer with the longest queue; it tells
its peers (Load) when tasks begin to wait here or workers to be idle, and at every tick while that lasts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import singledispatchmethod

from scoop_hpc.broker import balance
from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol.messages import (
    AGENT,
    Fault,
    Load,
    Message,
    Parcel,
    Peers,
    Ready,
    Request,
    Results,
    Steal,
    Stop,
    Tasks,
    Wanted,
    node_of,
)

META = "meta"  # the receiver of what is published


@dataclass(frozen=True)
class Send:
    """Send *message* to the process called *to*, or publish it if *to* is META."""

    to: str
    message: Message


class BrokerState:
    """The state machine of one broker, called *name*."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: deque[Parcel] = deque()
        self.waiting: dict[str, Request] = {}  # idle workers, and what each asked for
        self.workers: set[str] = set()
        self.peers: set[str] = set()
        self._queued: dict[str, int] = {}  # at each peer, as far as known
        self._idle: dict[str, int] = {}  # workers at each peer, as far as known
        self._granted: dict[str, int] = {}  # how many tasks a worker knows to be wanted
        self._stealing = False
        self._published = (0, 0)

    @singledispatchmethod
    def handle(self, message: Message, sender: str) -> list[Send]:
        """Take in one message; return what to send because of it."""
        raise ProtocolError(f"{sender!r} sent a broker {message!r}")

    @handle.register
    def _on_ready(self, message: Ready, sender: str) -> list[Send]:
        self.workers.add(sender)
        self._granted[sender] = 0
        return []

    @handle.register
    def _on_peers(self, message: Peers, sender: str) -> list[Send]:
        self.peers = {str(broker.node) for broker in message.brokers} - {self.name}
        return []

    @handle.register
    def _on_request(self, message: Request, sender: str) -> list[Send]:
        if message.count:
            self.waiting[sender] = message
        else:
            self.waiting.pop(sender, None)
        return self._settle()

    @handle.register
    def _on_tasks(self, message: Tasks, sender: str) -> list[Send]:
        if sender in self.peers:
            self._stealing = False
            if not message.parcels:
                self._queued[sender] = 0
        else:
            self._granted[sender] = max(0, self._granted[sender] - len(message.parcels))
        self.queue.extend(message.parcels)
        return self._settle()

    @handle.register
    def _on_results(self, message: Results, sender: str) -> list[Send]:
        parcels_to: dict[str, list[Parcel]] = {}
        for parcel in message.parcels:
            node = node_of(parcel.owner)
            parcels_to.setdefault(parcel.owner if node == self.name else node, []).append(parcel)
        return [Send(to, Results(parcels)) for to, parcels in parcels_to.items()]

    @handle.register
    def _on_steal(self, message: Steal, sender: str) -> list[Send]:
        count = balance.share(len(self.queue), message.count)
        loot = [self.queue.popleft() for _ in range(count)]
        return [Send(sender, Tasks(loot)), *self._settle()]

    @handle.register
    def _on_load(self, message: Load, sender: str) -> list[Send]:
        self._queued[message.broker] = message.queued
        self._idle[message.broker] = message.idle
        return self._settle()

    @handle.register
    def _on_fault(self, message: Fault, sender: str) -> list[Send]:
        return [Send(AGENT, message)]

    @handle.register
    def _on_stop(self, message: Stop, sender: str) -> list[Send]:
        return [Send(worker, message) for worker in sorted(self.workers)]

    def tick(self) -> list[Send]:
        """Repeat what a peer may not have heard: PUB sockets lose what is sent before a subscription arrives."""
        self._published = (0, 0)
        return self._settle()

    def _settle(self) -> list[Send]:
        sends = self._match()
        hunger = sum(request.count for request in self.waiting.values())
        if hunger and not self._stealing:
            peer = balance.victim(self._queued)
            if peer is not None:
                self._stealing = True
                sends.append(Send(peer, Steal(hunger)))
        if not self.queue:
            sends += self._want(hunger + sum(self._idle.values()))
        return sends + self._publish()

    def _match(self) -> list[Send]:
        """Give queued tasks to waiting workers: in the order of their requests, to each its share."""
        sends = []
        while self.queue and self.waiting:
            fair = max(1, len(self.queue) // len(self.waiting))
            worker = next(iter(self.waiting))
            request = self.waiting.pop(worker)
            count = min(request.count, fair, len(self.queue))
            sends.append(Send(worker, Tasks([self.queue.popleft() for _ in range(count)], request.number)))
        return sends

    def _want(self, hunger: int) -> list[Send]:
        """Tell the busy workers that *hunger* tasks more would be welcome, so far as they do not know."""
        sends = []
        for worker, granted in self._granted.items():
            if granted < hunger and worker not in self.waiting:
                self._granted[worker] = hunger
                sends.append(Send(worker, Wanted(hunger - granted)))
        return sends

    def _publish(self) -> list[Send]:
        """Tell the peers when waiting tasks or idle workers appear or are gone."""
        if not self.peers:
            return []
        before, now = self._published, (len(self.queue), len(self.waiting))
        if bool(before[0]) == bool(now[0]) and bool(before[1]) == bool(now[1]):
            return []
        self._published = now
        return [Send(META, Load(self.name, *now))]
