"""The shared values of a run, as one broker has them.

Broker 0 decides: it takes each name once. The others ask their parent in a binary tree for what they do not have, and
keep it, so that a value crosses the network once for each node, and no broker sends it more than twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from scoop_hpc.protocol.messages import GetShared, SetShared, Shared, SharedSet
from scoop_hpc.protocol.names import BrokerName, ProcessName, broker_name, is_broker, node_of

_Asked = deque[tuple[ProcessName, GetShared]]
_Answer = SetShared | SharedSet | GetShared | Shared


class SharedValues:
    """The values that broker *name* knows; answers are pairs of receiver and message."""

    def __init__(self, name: BrokerName) -> None:
        node = node_of(name)
        self._parent = broker_name((node - 1) // 2) if node else None
        self._values: dict[str, bytes] = {}
        self._given: set[tuple[ProcessName, str]] = set()  # broker, name of the value
        self._asked: dict[str, _Asked] = {}  # by name: who waits for the value, in the order of asking

    def set(self, message: SetShared) -> list[tuple[ProcessName, _Answer]]:
        """Take new values, all or none of them, or pass them on to who decides."""
        if self._parent is not None:
            return [(self._parent, message)]
        clashes = tuple(name for name in message.values if name in self._values)
        answers: list[tuple[ProcessName, _Answer]] = []
        if message.number is not None:
            answers.append((message.owner, SharedSet(message.owner, message.number, clashes)))
        if not clashes:
            for name, value in message.values.items():
                answers += self._learn(name, value)
        return answers

    def get(self, message: GetShared, sender: ProcessName) -> list[tuple[ProcessName, _Answer]]:
        """Answer *sender*, or ask the parent; who wants to wait is answered when the value is there."""
        if message.name in self._values:
            return self._give(message.name, [(sender, message)])
        if self._parent is None and not message.wait:
            return [(sender, Shared(message.name, message.number, None))]
        self._asked.setdefault(message.name, deque()).append((sender, message))
        return [] if self._parent is None else [(self._parent, GetShared(message.name, None, message.wait))]

    def heard(self, message: Shared) -> list[tuple[ProcessName, _Answer]]:
        """Take the parent's answer. It answers in the order of asking, but for who waits."""
        if message.value is not None:
            return self._learn(message.name, message.value)
        asked = self._asked.get(message.name, deque())
        for index, (sender, question) in enumerate(asked):
            if not question.wait:
                del asked[index]
                return [(sender, Shared(message.name, question.number, None))]
        return []  # it was found meanwhile

    def _learn(self, name: str, value: bytes) -> list[tuple[ProcessName, _Answer]]:
        self._values.setdefault(name, value)
        return self._give(name, self._asked.pop(name, ()))

    def _give(self, name: str, asked: Iterable[tuple[ProcessName, GetShared]]) -> list[tuple[ProcessName, _Answer]]:
        """Answer all of *asked*; a broker that has asked more than once meanwhile gets the value once."""
        answers: list[tuple[ProcessName, _Answer]] = []
        for sender, question in asked:
            if is_broker(sender):
                if (sender, name) in self._given:
                    continue
                self._given.add((sender, name))
            answers.append((sender, Shared(name, question.number, self._values[name])))
        return answers
