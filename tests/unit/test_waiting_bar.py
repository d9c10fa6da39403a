"""The bar of `submit --wait`: what it takes from the looks at a job, in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs
from test_snapshots import FIRST

from scoop_hpc.cli.look.waiting_bar import WaitingBar
from scoop_hpc.events import Event, NodeJoined, Waits, WorkersBusy
from scoop_hpc.jobs import look
from scoop_hpc.jobs.look import Requests
from scoop_hpc.jobs.snapshot import Snapshot, Totals, Wait

RUNNING = structs.replace(FIRST, state="running", totals=Totals(busy_workers=3, workers=4))


class FakeBar:
    """A bar that shows what it was told."""

    interval = 0.25
    is_drawn = True

    def __init__(self, streams: tuple[int, ...] = (1, 2)) -> None:
        self.streams = streams
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def deadline(self) -> float | None:
        return None

    def show(self) -> bytes:
        return b"[bar]"

    def above(self, text: bytes) -> bytes:
        return b"[gone]" + text

    def close(self) -> bytes:
        return b"[closed]"


class Waiting:
    """A bar for the look at a file, the clock beside it, and what it writes."""

    def __init__(self, path: Path, streams: tuple[int, ...] = (1, 2)) -> None:
        self.now = 0.0
        self.written: list[tuple[int, bytes]] = []
        self.fake = FakeBar(streams)
        self.bar = WaitingBar(str(path), self.fake, lambda: self.now, lambda *each: self.written.append(each))
        self._path = str(path)

    def see(self, *waits: Wait, seen: Snapshot = RUNNING) -> list[Event]:
        """Look at what the driver has written just now; return the events of that."""
        self.now += 1
        look.write(self._path, structs.replace(seen, time=1000 + self.now, waits=waits))
        before = len(self.fake.events)
        self.bar.look()
        return self.fake.events[before:]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Requests(str(tmp_path / "look.json")).open()
    return tmp_path / "look.json"


def wait(done: int, label: str = "simulate", total: int | None = 10) -> Wait:
    return Wait(label, total, done, 1, 0.5, None)


def test_looks_become_the_events_that_a_bar_knows(path: Path) -> None:
    waiting = Waiting(path)
    waiting.bar.look()  # before there is one
    assert waiting.see(wait(2), wait(1, "", None)) == [
        NodeJoined("all nodes", "", 0, 0, 4),
        WorkersBusy("all nodes", 3),
        Waits(1, "simulate", 10, 2, 1),
        Waits(2, "", None, 1, 1),
    ]
    assert waiting.written == [(2, b"[bar]")] * 2


def test_what_begins_anew_has_another_number(path: Path) -> None:
    waiting = Waiting(path)
    waiting.bar.look()
    numbers = [
        [event.number for event in waiting.see(wait(done)) if isinstance(event, Waits)] for done in (0, 10, 3, 5)
    ]
    assert numbers == [[1], [1], [2], [2]]


def test_look_from_before_is_not_taken_for_an_answer(path: Path) -> None:
    assert Waiting(path).see(wait(2)) == []


def test_driver_is_not_asked_more_often_than_it_answers(path: Path) -> None:
    waiting = Waiting(path)
    waiting.bar.look()
    waiting.see(wait(1))
    waiting.now += 0.5
    before = list(waiting.fake.events)
    waiting.bar.look()
    assert waiting.fake.events == before


def test_bar_is_closed_at_the_end_and_where_the_look_cannot_be_read(path: Path) -> None:
    waiting = Waiting(path)
    waiting.see(wait(1), seen=structs.replace(RUNNING, state="ended"))
    assert (2, b"[closed]") in waiting.written
    path.write_text("{}")
    waiting = Waiting(path)
    waiting.bar.look()
    assert waiting.written[0] == (2, b"[closed]")


def test_what_is_printed_elsewhere_leaves_the_bar_alone(path: Path) -> None:
    redirected, both = Waiting(path, (2,)), Waiting(path)
    for each in (redirected, both):
        each.bar.print(b"text")
        each.bar.say("warning")
    assert redirected.written == [(1, b"text"), (2, b"[gone]warning\n")]
    assert both.written == [(1, b"[gone]text"), (2, b"[gone]warning\n")]
