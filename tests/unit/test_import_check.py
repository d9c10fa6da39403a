"""Who says how the import of the program went: also whoever takes the place of a worker that died before it could."""

from __future__ import annotations

import pytest

from scoop_hpc.broker.shared_values import SharedValues
from scoop_hpc.protocol.messages import Message, SetShared, Shared
from scoop_hpc.protocol.names import ORIGIN, WorkerName, broker_name, worker_name
from scoop_hpc.worker.link import Unlinked
from scoop_hpc.worker.program import import_check


class Sent(Unlinked):
    """A line that keeps what is sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        self.messages.append(message)


def said(name: WorkerName, reason: str = "") -> list[Message]:
    """Return what the worker called *name* says."""
    link = Sent()
    import_check.testify(link, name, reason)
    return link.messages


@pytest.mark.parametrize("name", [worker_name(0, 1), worker_name(0, 9), worker_name(1, 0), worker_name(1, 5)])
def test_who_takes_the_place_of_a_dead_witness_is_one(name: WorkerName) -> None:
    assert said(name)


def test_not_all_nodes_tell_broker_0() -> None:
    assert not said(worker_name(2, 0))


def test_the_first_witness_is_believed() -> None:
    values = SharedValues(broker_name(0))
    for name, reason in ((worker_name(0, 1), ""), (worker_name(0, 2), import_check.ENDS)):
        for message in said(name, reason):
            assert isinstance(message, SetShared)
            values.set(message)
    [answer] = values.get(import_check.question(1), ORIGIN)
    assert isinstance(answer.message, Shared)
    assert answer.message.value == b""
