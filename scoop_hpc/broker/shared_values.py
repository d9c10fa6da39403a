"""The shared constants of a run, as one broker has them.

Broker 0 decides: it takes each name once. The others ask their parent in a binary tree for what they do not have, and
keep it, so that a constant crosses the network once for each node, and no broker sends it more than twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from scoop_hpc.protocol.messages import Constant, ConstantsTaken, GetConstant, SetConstants
from scoop_hpc.protocol.names import broker_of

_Asked = deque[tuple[str, GetConstant]]
_Answer = SetConstants | ConstantsTaken | GetConstant | Constant


class Constants:
    """What broker *name* knows of the constants; answers are pairs of receiver and message."""

    def __init__(self, name: str) -> None:
        self._parent = "" if name == "0" else str((int(name) - 1) // 2)
        self._values: dict[str, bytes] = {}
        self._given: set[tuple[str, str]] = set()  # broker, constant
        self._asked: dict[str, _Asked] = {}  # by constant: who waits for it, in the order of asking

    def set(self, message: SetConstants) -> list[tuple[str, _Answer]]:
        """Take new constants, all or none of them, or pass them on to who decides."""
        if self._parent:
            return [(self._parent, message)]
        clashes = tuple(name for name in message.values if name in self._values)
        answers: list[tuple[str, _Answer]] = []
        if not clashes:
            for name, value in message.values.items():
                answers += self._learn(name, value)
        return [(message.owner, ConstantsTaken(message.owner, message.number, clashes)), *answers]

    def get(self, message: GetConstant, sender: str) -> list[tuple[str, _Answer]]:
        """Answer *sender*, or ask the parent; who wants to wait is answered when the constant is there."""
        value = self._values.get(message.name)
        if value is not None:
            return self._give(message.name, [(sender, message)])
        if not self._parent and not message.wait:
            return [(sender, Constant(message.name, message.number, b"", False))]
        self._asked.setdefault(message.name, deque()).append((sender, message))
        return [(self._parent, GetConstant(message.name, 0, message.wait))] if self._parent else []

    def heard(self, message: Constant) -> list[tuple[str, _Answer]]:
        """Take the parent's answer. It answers in the order of asking, but for who waits."""
        if message.found:
            return self._learn(message.name, message.value)
        asked = self._asked.get(message.name, deque())
        for index, (sender, question) in enumerate(asked):
            if not question.wait:
                del asked[index]
                return [(sender, Constant(message.name, question.number, b"", False))]
        return []  # it was found meanwhile

    def _learn(self, name: str, value: bytes) -> list[tuple[str, _Answer]]:
        self._values.setdefault(name, value)
        return self._give(name, self._asked.pop(name, ()))

    def _give(self, name: str, asked: Iterable[tuple[str, GetConstant]]) -> list[tuple[str, _Answer]]:
        """Answer all of *asked*; a broker that has asked more than once meanwhile gets the constant once."""
        answers: list[tuple[str, _Answer]] = []
        for sender, question in asked:
            if broker_of(sender) == sender:
                if (sender, name) in self._given:
                    continue
                self._given.add((sender, name))
            answers.append((sender, Constant(name, question.number, self._values[name], True)))
        return answers
