"""A worker's line to its broker: to wait there is not to miss a signal."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scoop_hpc.protocol.names import ORIGIN
from scoop_hpc.worker.link import BrokerLink


class Signalling:
    """A poll that a signal precedes, when it is too late for a handler to run before it."""

    def __init__(self, poll: Any) -> None:
        self._poll = poll
        self.found: list[Any] = []

    def poll(self, timeout: float | None) -> list[Any]:
        signal.raise_signal(signal.SIGUSR1)
        self.found = self._poll.poll(30_000)
        return self.found


@pytest.fixture
def link(tmp_path: Path) -> Iterator[BrokerLink]:
    link = BrokerLink(f"ipc://{tmp_path}/main", ORIGIN)
    yield link
    link.close()


@contextlib.contextmanager
def heeded() -> Iterator[list[int]]:
    numbers: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: numbers.append(number))
    try:
        yield numbers
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_signal_that_comes_just_before_the_wait_ends_it(link: BrokerLink) -> None:
    link._poll = poll = Signalling(link._poll)  # type: ignore[assignment]
    with heeded() as numbers:
        link.wait(None)
    assert numbers == [signal.SIGUSR1]
    assert poll.found


def test_descriptor_that_an_event_loop_is_woken_by_is_put_back(link: BrokerLink) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write)
    try:
        link.wake()
        link.wait(None)
        assert signal.set_wakeup_fd(before) == write
    finally:
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)
