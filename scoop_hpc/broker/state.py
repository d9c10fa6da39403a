"""The broker's decisions: messages in, messages out; no socket, no clock.

::

      worker --Request--> [ waiting ] <--match--> [ queue ] <--Tasks-- worker, peer
      worker <--Tasks------------------------------'  '--Tasks--> peer (answer to its Steal)

A task is in exactly one place: the worker that made it, one broker's queue, one message, or the worker that runs it.
While there are tasks in the queue nobody waits; while somebody waits the queue is empty. A worker waits because it is
idle, or ahead of time; the idle come first. A broker whose workers wait tells its busy workers so (Demand: they may
hold tasks back) and steals from the peer with the longest queue; it tells its peers (Load) when tasks begin to wait
here or workers to be idle, and at every tick while that lasts.

Find looks for a task in the queue, then at the workers here that may not have begun it, then in all peers' queues.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from scoop_hpc.broker import policy
from scoop_hpc.broker.queue import Queue
from scoop_hpc.broker.shared_values import Constants
from scoop_hpc.errors import ProtocolError
from scoop_hpc.protocol.messages import (
    Batch,
    Constant,
    ConstantsTaken,
    Demand,
    Fault,
    Find,
    Found,
    GetConstant,
    Load,
    Message,
    Peers,
    Ready,
    Request,
    Results,
    SetConstants,
    Steal,
    Stop,
    Tasks,
)
from scoop_hpc.protocol.names import AGENT, broker_of

META = "meta"  # the receiver of what is published


@dataclass(frozen=True, slots=True)
class Send:
    """Send *message* to the process called *to*, or publish it if *to* is META."""

    to: str
    message: Message


class _Worker:
    """What a broker knows of one of its workers."""

    def __init__(self) -> None:
        self.granted = 0  # batches that it knows to be wanted
        self.granted_idle = 0  # of these for the idle
        self.given: deque[Batch] = deque()  # what it may not have begun
        self.begun = 0  # tasks given before those
        self.asked: list[Find] = []  # about what it was given

    def has_begun(self, count: int) -> None:
        """Forget what was given, so far as that is among the first *count* tasks."""
        while self.given and self.begun + policy.tasks_in(self.given[0]) <= count:
            self.begun += policy.tasks_in(self.given.popleft())

    def may_hold(self, find: Find) -> bool:
        """Whether what *find* looks for was given, and may not have begun."""
        return any(_holds(batch, find) for batch in self.given)

    def disclaims(self, find: Find) -> None:
        """Forget that this was given: it has begun, or was given back."""
        self.begun += sum(policy.tasks_in(batch) for batch in self.given if _holds(batch, find))
        self.given = deque(batch for batch in self.given if not _holds(batch, find))


def _holds(batch: Batch, find: Find) -> bool:
    return batch.owner == find.owner and batch.serial <= find.serial < batch.serial + batch.count


def _demand(allowed: bool, message: Message, sender: str) -> None:
    """Raise ProtocolError unless it is *allowed* that *sender* sent this."""
    if not allowed:
        raise ProtocolError(f"{sender!r} may not send a broker {message!r}")


class BrokerState:
    """The state machine of one broker, called *name*."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue = Queue()
        self.waiting: dict[str, Request] = {}  # idle workers, and what each asked for
        self.ahead: dict[str, Request] = {}  # those that will soon be
        self.workers: dict[str, _Worker] = {}
        self.peers: set[str] = set()
        self._queued: dict[str, int] = {}  # at each peer, as far as known
        self._idle: dict[str, int] = {}  # workers at each peer, as far as known
        self._stealing = False
        self._published = (0, 0)
        self._constants = Constants(name)
        self._searches: dict[tuple[str, int], int] = {}  # owner, number of the question: peers that have to answer

    def knows(self, name: str) -> bool:
        """Return whether *name* belongs to the run, as far as known: its agent, a worker here, a peer."""
        return name == AGENT or name in self.workers or name in self.peers

    def handle(self, message: Message, sender: str) -> list[Send]:
        """Take in one message; return what to send because of it. Raises ProtocolError, before anything has changed."""
        handler = _HANDLERS.get(type(message))
        if handler is None:
            raise ProtocolError(f"{sender!r} sent a broker {message!r}")
        return handler(self, message, sender)

    def _on_ready(self, message: Ready, sender: str) -> list[Send]:
        if broker_of(sender) != self.name or not sender.partition(".")[2].isdecimal():
            raise ProtocolError(f"{sender!r} cannot be a worker of broker {self.name}")
        self.workers[sender] = _Worker()
        return []

    def _on_peers(self, message: Peers, sender: str) -> list[Send]:
        _demand(sender == AGENT, message, sender)
        self.peers = {str(broker.node) for broker in message.brokers} - {self.name}
        return []

    def _on_request(self, message: Request, sender: str) -> list[Send]:
        _demand(sender in self.workers, message, sender)
        self.waiting.pop(sender, None)
        self.ahead.pop(sender, None)
        if message.count:
            (self.waiting if message.idle else self.ahead)[sender] = message
        worker = self.workers[sender]
        worker.has_begun(message.begun)
        sends = []
        if worker.asked:
            begun = [find for find in worker.asked if not worker.may_hold(find)]
            worker.asked = [find for find in worker.asked if worker.may_hold(find)]
            for find in begun:
                sends += self._seek(find)
        return sends + self._settle()

    def _on_tasks(self, message: Tasks, sender: str) -> list[Send]:
        if sender in self.peers:
            self._stealing = False
            if not message.batches:
                self._queued[sender] = 0
        elif sender in self.workers:
            worker = self.workers[sender]
            worker.granted = max(0, worker.granted - len(message.batches))
            worker.granted_idle = max(0, worker.granted_idle - len(message.batches))
        self.queue.extend(message.batches, sender)
        return self._settle()

    def _on_results(self, message: Results, sender: str) -> list[Send]:
        batches_to: dict[str, list[Batch]] = {}
        for batch in message.batches:
            batches_to.setdefault(self._way_to(batch.owner), []).append(batch)
        more = [] if message.request is None else self._on_request(message.request, sender)
        wanted = {send.to: send.message for send in more if type(send.message) is Demand and send.to in batches_to}
        sends = [Send(to, Results(batches, None, wanted.get(to))) for to, batches in batches_to.items()]
        return sends + [send for send in more if send.message is not wanted.get(send.to)]

    def _on_steal(self, message: Steal, sender: str) -> list[Send]:
        count = policy.share(len(self.queue), message.count)
        loot = [self.queue.pop() for _ in range(count)]
        return [Send(sender, Tasks(loot)), *self._settle()]

    def _on_load(self, message: Load, sender: str) -> list[Send]:
        _demand(sender == message.broker and sender in self.peers, message, sender)
        self._queued[message.broker] = message.queued
        self._idle[message.broker] = message.idle
        return self._settle()

    def _on_find(self, message: Find, sender: str) -> list[Send]:
        return self._seek(message)

    def _seek(self, find: Find) -> list[Send]:
        """Look for a task in the queue, then at the workers, then, if it is one of theirs, at the peers."""
        queued = self.queue.find(find.owner, find.serial, find.cancel)
        if queued:
            return self._answer(Found(find.owner, find.serial, find.number, queued, find.cancel))
        for name, worker in self.workers.items():
            if worker.may_hold(find):
                worker.asked.append(find)
                return [Send(name, find)]
        if broker_of(find.owner) != self.name or not self.peers:
            return self._answer(Found(find.owner, find.serial, find.number, False))
        if find.number:
            self._searches[find.owner, find.number] = len(self.peers)
        return [Send(peer, find) for peer in sorted(self.peers)]

    def _on_found(self, message: Found, sender: str) -> list[Send]:
        if sender in self.workers:
            worker = self.workers[sender]
            asked = [find for find in worker.asked if (find.owner, find.number) == (message.owner, message.number)]
            worker.asked = [find for find in worker.asked if find not in asked]
            if asked and not message.queued:
                worker.disclaims(asked[0])
                return self._seek(asked[0])  # it may have given the task back
            return self._answer(message) if asked or message.dropped else []
        left = self._searches.pop((message.owner, message.number), 0) - 1
        if left > 0 and not message.queued:
            self._searches[message.owner, message.number] = left
            return []
        return [Send(message.owner, message)] if left >= 0 else []

    def _answer(self, found: Found) -> list[Send]:
        """Return the way of an answer to who asked, if anybody waits for it."""
        return [Send(self._way_to(found.owner), found)] if found.number else []

    def _on_set_constants(self, message: SetConstants, sender: str) -> list[Send]:
        return [Send(self._way_to(to), answer) for to, answer in self._constants.set(message)]

    def _on_constants_taken(self, message: ConstantsTaken, sender: str) -> list[Send]:
        return [Send(self._way_to(message.owner), message)]

    def _on_get_constant(self, message: GetConstant, sender: str) -> list[Send]:
        return [Send(to, answer) for to, answer in self._constants.get(message, sender)]

    def _on_constant(self, message: Constant, sender: str) -> list[Send]:
        return [Send(to, answer) for to, answer in self._constants.heard(message)]

    def _way_to(self, name: str) -> str:
        """Return the next stop on the way to a worker or broker."""
        node = broker_of(name)
        return name if node == self.name else node

    def _on_fault(self, message: Fault, sender: str) -> list[Send]:
        _demand(sender in self.workers, message, sender)
        return [Send(AGENT, message)]

    def _on_stop(self, message: Stop, sender: str) -> list[Send]:
        _demand(sender == AGENT, message, sender)
        return [Send(worker, message) for worker in sorted(self.workers)]

    def tick(self) -> list[Send]:
        """Repeat what a peer may not have heard: PUB sockets lose what is sent before a subscription arrives."""
        self._published = (0, 0)
        return self._settle()

    def _settle(self) -> list[Send]:
        sends = self._match() if self.queue else []
        peer = policy.victim(self._queued)
        if peer is not None and not self._stealing and (self.waiting or self.ahead):
            self._stealing = True
            requests = [*self.waiting.values(), *self.ahead.values()]
            sends.append(Send(peer, Steal(sum(request.count for request in requests))))
        if not self.queue:
            sends += self._want()
        return sends + self._publish() if self.peers else sends

    def _match(self) -> list[Send]:
        """Give queued tasks to workers: to the idle first, in the order of their requests.

        Nobody gets more than its share of the queue, for the others will ask, too: so all end at about the same time
        [guided self-scheduling: Polychronopoulos and Kuck, IEEE Trans. Computers C-36 (1987) 1425].
        """
        sends = []
        fair = -(-len(self.queue) // max(1, len(self.workers)))
        for requests in (self.waiting, self.ahead):
            while self.queue and requests:
                name = next(iter(requests))
                request = requests.pop(name)
                batches: list[Batch] = []
                count = 0
                while self.queue and len(batches) < fair and count < request.count:
                    batches.append(self.queue.pop())
                    count += policy.tasks_in(batches[-1])
                worker = self.workers[name]
                worker.granted_idle = 0  # it takes what it gets as a sign that nobody is idle
                worker.given.extend(batches)
                sends.append(Send(name, Tasks(batches, request.number)))
        return sends

    def _want(self) -> list[Send]:
        """Tell the busy workers how many batches more would be welcome, so far as they do not know."""
        idle = len(self.waiting) + sum(self._idle.values())
        hunger = idle + len(self.ahead)
        sends = []
        if hunger:
            for name, worker in self.workers.items():
                if (worker.granted < hunger or worker.granted_idle < idle) and name not in self.waiting:
                    more = Demand(max(0, hunger - worker.granted), max(0, idle - worker.granted_idle))
                    worker.granted, worker.granted_idle = max(hunger, worker.granted), max(idle, worker.granted_idle)
                    sends.append(Send(name, more))
        return sends

    def _publish(self) -> list[Send]:
        """Tell the peers when waiting tasks or idle workers appear or are gone."""
        before, now = self._published, (len(self.queue), len(self.waiting))
        if bool(before[0]) == bool(now[0]) and bool(before[1]) == bool(now[1]):
            return []
        self._published = now
        return [Send(META, Load(self.name, *now))]


_HANDLERS: dict[type[Message], Callable[..., list[Send]]] = {  # singledispatchmethod takes 0.7 us more for a message
    Ready: BrokerState._on_ready,
    Peers: BrokerState._on_peers,
    Request: BrokerState._on_request,
    Tasks: BrokerState._on_tasks,
    Results: BrokerState._on_results,
    Steal: BrokerState._on_steal,
    Find: BrokerState._on_find,
    Found: BrokerState._on_found,
    SetConstants: BrokerState._on_set_constants,
    ConstantsTaken: BrokerState._on_constants_taken,
    GetConstant: BrokerState._on_get_constant,
    Constant: BrokerState._on_constant,
    Load: BrokerState._on_load,
    Fault: BrokerState._on_fault,
    Stop: BrokerState._on_stop,
}
