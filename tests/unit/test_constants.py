"""Shared constants: a tree of brokers where every message takes its time, and what a worker makes of the answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoop_hpc.broker.actions import Send
from scoop_hpc.broker.shared_values import SharedValues
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.errors import ConstantError, UnpicklableError
from scoop_hpc.pickling import pickles
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    BrokerUp,
    GetShared,
    Gone,
    Message,
    Peers,
    Ready,
    SetShared,
    Shared,
    SharedSet,
)
from scoop_hpc.protocol.names import (
    AGENT,
    ORIGIN,
    BrokerName,
    NodeIndex,
    ProcessName,
    WorkerName,
    broker_name,
    broker_of,
    worker_name,
)
from scoop_hpc.worker.shared_values import KnownValues


class Tree:
    """Brokers with a worker each; messages between two of them arrive in their order, others as the dice have it."""

    def __init__(self, brokers: int, seed: int = 0) -> None:
        self.brokers = {str(index): BrokerState(BrokerName(ProcessName(str(index)))) for index in range(brokers)}
        self.lines: dict[tuple[str, str], list[Message]] = {}
        self.answers: dict[str, list[Message]] = {}
        self.carried: list[tuple[str, str, Message]] = []
        self._dice = random.Random(seed)
        peers = Peers(tuple(BrokerUp(NodeIndex(index), ("a",)) for index in range(brokers)))
        for name, broker in self.brokers.items():
            broker.handle(Ready(), ProcessName(f"{name}.0"))
            broker.handle(peers, AGENT)

    def lose(self, node: int) -> None:
        """Let a node be lost, and all others know."""
        del self.brokers[str(node)]
        for line in [line for line in self.lines if str(node) in [broker_of(each) for each in line]]:
            del self.lines[line]
        for name in self.brokers:
            self.lines.setdefault((AGENT, name), []).append(Gone(nodes=(NodeIndex(node),)))

    def say(self, worker: str, message: Message) -> None:
        self.lines.setdefault((worker, broker_of(worker)), []).append(message)

    def settle(self) -> None:
        while self.lines:
            line = self._dice.choice(sorted(self.lines))
            message = self.lines[line].pop(0)
            if not self.lines[line]:
                del self.lines[line]
            sender, to = line
            self.carried.append((sender, to, message))
            for send in self.brokers[to].handle(codec.decode(codec.encode(message)), ProcessName(sender)):
                if send.to.isdecimal() and send.to not in self.brokers:
                    continue  # it is lost, and that is not known there yet
                if send.to in self.brokers:
                    self.lines.setdefault((to, send.to), []).append(send.message)
                else:
                    self.answers.setdefault(send.to, []).append(send.message)


def set_one(tree: Tree, worker: str, value: bytes = b"v") -> list[Message]:
    tree.say(worker, SetShared(WorkerName(ProcessName(worker)), 1, {"name": value}))
    tree.settle()
    return tree.answers.pop(worker)


@given(st.integers(1, 20), st.integers(0, 1000))
def test_constant_is_seen_everywhere_once_it_is_taken(brokers: int, seed: int) -> None:
    tree = Tree(brokers, seed)
    setter = f"{seed % brokers}.0"
    assert set_one(tree, setter) == [SharedSet(WorkerName(ProcessName(setter)), 1, ())]
    for node in range(brokers):
        tree.say(f"{node}.0", GetShared("name", 7, wait=False))
    tree.settle()
    assert tree.answers == {f"{node}.0": [Shared("name", 7, b"v")] for node in range(brokers)}


@given(st.integers(0, 1000))
def test_who_waits_hears_when_it_is_set_and_who_does_not_hears_at_once(seed: int) -> None:
    tree = Tree(7, seed)
    for number, wait in enumerate([True, False, True, False], start=1):
        tree.say("6.0", GetShared("name", number, wait))
        tree.say("2.0", GetShared("name", number, wait))
    tree.settle()
    missing = [Shared("name", 2, None), Shared("name", 4, None)]
    assert tree.answers == {"6.0": missing, "2.0": missing}
    tree.answers.clear()
    set_one(tree, "5.0")
    found = [Shared("name", 1, b"v"), Shared("name", 3, b"v")]
    assert tree.answers == {"6.0": found, "2.0": found}


def test_second_setter_of_a_name_is_refused_and_sets_nothing() -> None:
    tree = Tree(3)
    set_one(tree, "1.0")
    tree.say("2.0", SetShared(worker_name(2, 0), 4, {"other": b"x", "name": b"y"}))
    tree.settle()
    assert tree.answers.pop("2.0") == [SharedSet(worker_name(2, 0), 4, ("name",))]
    tree.say("2.0", GetShared("other", 5, wait=False))
    tree.settle()
    assert tree.answers.pop("2.0") == [Shared("other", 5, None)]


def test_constant_crosses_each_edge_of_the_tree_once() -> None:
    tree = Tree(15)
    set_one(tree, "0.0")
    tree.carried.clear()
    for _ in range(3):
        for node in range(15):
            tree.say(f"{node}.0", GetShared("name", 1, wait=False))
        tree.settle()
    between = [(sender, to) for sender, to, message in tree.carried if isinstance(message, Shared)]
    assert sorted(between) == sorted({(str((node - 1) // 2), str(node)) for node in range(1, 15)})


@given(st.integers(0, 1000), st.sampled_from([1, 2, 5]))
def test_constant_is_found_although_the_brokers_in_between_are_lost(seed: int, node: int) -> None:
    tree = Tree(15, seed)
    below = [worker_name(each, 0) for each in (11, 12)]
    for worker in below:
        tree.say(worker, GetShared("name", 1, wait=True))
    if seed % 2:
        tree.settle()
    tree.lose(node)
    tree.settle()
    tree.answers.clear()  # the workers were told, too
    set_one(tree, "14.0")
    tree.settle()
    assert tree.answers == {worker: [Shared("name", 1, b"v")] for worker in below}


class Asked:
    """A worker whose broker is alone."""

    name = ORIGIN
    serial = False

    def __init__(self) -> None:
        self.asked = 0
        self._broker = SharedValues(broker_name(0))

    def ask(self, message_of: Callable[[int], Message], deadline: Any = None, soon: bool = True) -> Any:
        self.asked += 1
        message = message_of(self.asked)
        if isinstance(message, SetShared):
            return self._broker.set(message)[0].message
        assert isinstance(message, GetShared)
        answers = self._broker.get(message, ProcessName(self.name))
        return answers[0].message if answers else None  # the deadline is over


def test_values_come_back_as_they_were_set() -> None:
    worker = Asked()
    base = 40
    KnownValues(worker).set({"table": {"a": [1, 2]}, "function": lambda x: base + x})
    other = KnownValues(worker)
    assert other.get("table", 0) == {"a": [1, 2]}
    assert other.get("function", 0)(2) == 42


def test_large_buffers_are_part_of_the_constant() -> None:
    large = bytearray(200_000)
    assert pickles.load([pickles.dump_whole([large])]) == [large]


def test_constant_is_asked_for_once() -> None:
    worker = Asked()
    KnownValues(worker).set({"name": [1]})
    constants, asked = KnownValues(worker), worker.asked
    assert constants.get("name", 0) is constants.get("name", 0)
    assert worker.asked == asked + 1


@pytest.mark.parametrize("timeout", [0, 0.1])
def test_missing_constant_is_an_error_that_says_how_to_set_it(timeout: float) -> None:
    with pytest.raises(ConstantError, match=r"set_const\(name=") as caught:
        KnownValues(Asked()).get("name", timeout)
    assert isinstance(caught.value, LookupError)


def test_constant_cannot_be_set_again_by_anybody() -> None:
    worker = Asked()
    KnownValues(worker).set({"name": 1})
    for _ in range(2):
        with pytest.raises(ConstantError, match="'name' is set already"):
            KnownValues(worker).set({"name": 1})


def test_name_that_no_message_can_have_is_refused() -> None:
    constants = KnownValues(Asked())
    for call in (lambda: constants.set({"caf\udce9": 1}), lambda: constants.get("caf\udce9", 0)):
        with pytest.raises(ConstantError, match="without lone surrogates"):
            call()


def test_constant_that_cannot_be_pickled_is_refused() -> None:
    with pytest.raises(UnpicklableError, match="generator"):
        KnownValues(Asked()).set({"name": (n for n in "")})


def test_a_broker_keeps_nothing_of_a_question_whose_answer_is_that_there_is_no_such_constant() -> None:
    values = SharedValues(broker_name(1))
    values.meet({broker_name(0)})
    asked = values.get(GetShared("a", 7, wait=False), worker_name(1, 0))
    assert asked == [Send(broker_name(0), GetShared("a", None, wait=False))]
    assert values.heard(Shared("a", None, None)) == [Send(worker_name(1, 0), Shared("a", 7, None))]
    assert not values.is_asked
