"""The shared values of a run, as one broker has them.

Broker 0 decides: it takes each name once. The others ask their parent in a binary tree for values that they lack, and
keep them. So a value crosses the network once for each node, and no broker sends it more than twice, unless nodes are
lost: then the parent's parent takes its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

from msgspec import Struct

from scoop_hpc.broker.actions import Send
from scoop_hpc.protocol.messages import GetShared, SetShared, Shared, SharedSet
from scoop_hpc.protocol.names import BrokerName, NodeIndex, ProcessName, broker_name, is_broker, node_of


class _Asked(Struct, frozen=True):
    """A question, and its sender."""

    sender: ProcessName
    question: GetShared


class SharedValues:
    """The values that broker *name* knows. A SharedSet is for the worker that it names, which may be far away."""

    def __init__(self, name: BrokerName) -> None:
        self._name = name
        self._parent: BrokerName | None = None  # of broker 0, and until the peers are known
        self._values: dict[str, bytes] = {}
        self._given: dict[str, set[BrokerName]] = {}  # by name: the brokers that have the value from this one
        self._asked: dict[str, deque[_Asked]] = {}  # by name: questions without an answer, in their order

    @property
    def is_asked(self) -> bool:
        """Return whether there are questions without an answer."""
        return bool(self._asked)

    def meet(self, peers: Collection[BrokerName], lost: Collection[BrokerName] = ()) -> list[Send]:
        """Take it that these are the *peers* now, and that others are *lost*: ask another parent in their place."""
        self.forget(lost)
        node = node_of(self._name)
        while node:
            node = NodeIndex((node - 1) // 2)
            if not node or broker_name(node) in peers:
                before, self._parent = self._parent, broker_name(node)
                break
        else:
            return []
        if before is not None and before not in lost:
            return []  # it will answer
        return [
            Send(self._parent, GetShared(name, None, each.question.wait))
            for name, asked in self._asked.items()
            for each in asked
        ]

    def set(self, message: SetShared) -> list[Send]:
        """Set new values, all or none of them; any broker but 0 passes them on."""
        if node_of(self._name):
            return [Send(broker_name(0), message)]
        clashes = tuple(name for name in message.values if name in self._values)
        answers: list[Send] = []
        if message.number is not None:
            answers.append(Send(message.owner, SharedSet(message.owner, message.number, clashes)))
        if not clashes:
            for name, value in message.values.items():
                answers += self._learn(name, value)
        return answers

    def get(self, message: GetShared, sender: ProcessName) -> list[Send]:
        """Answer *sender*, or ask the parent; a question that waits is answered once there is a value."""
        if message.name in self._values:
            return self._give(message.name, [_Asked(sender, message)])
        if not node_of(self._name) and not message.wait:
            return [Send(sender, Shared(message.name, message.number, None))]
        self._asked.setdefault(message.name, deque()).append(_Asked(sender, message))
        return [] if self._parent is None else [Send(self._parent, GetShared(message.name, None, message.wait))]

    def heard(self, message: Shared) -> list[Send]:
        """Take the parent's answer. It answers questions in their order, except those that wait."""
        if message.value is not None:
            return self._learn(message.name, message.value)
        asked = self._asked.get(message.name, deque())
        for index, each in enumerate(asked):
            if not each.question.wait:
                del asked[index]
                if not asked:
                    del self._asked[message.name]
                return [Send(each.sender, Shared(message.name, each.question.number, None))]
        return []  # it was found meanwhile

    def forget(self, gone: Collection[ProcessName]) -> None:
        """Drop the questions of workers and brokers that are *gone*."""
        for name, asked in list(self._asked.items()):
            self._asked[name] = deque(each for each in asked if each.sender not in gone)
            if not self._asked[name]:
                del self._asked[name]

    def _learn(self, name: str, value: bytes) -> list[Send]:
        self._values.setdefault(name, value)
        return self._give(name, self._asked.pop(name, ()))

    def _give(self, name: str, asked: Iterable[_Asked]) -> list[Send]:
        """Answer all of *asked*; a broker that has asked more than once meanwhile gets the value once."""
        answers: list[Send] = []
        for each in asked:
            if is_broker(each.sender):
                if each.sender in self._given.setdefault(name, set()):
                    continue
                self._given[name].add(each.sender)
            answers.append(Send(each.sender, Shared(name, each.question.number, self._values[name])))
        return answers
