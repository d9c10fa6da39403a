"""What the processes of a run write into its trace."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scoop_hpc.events import (
    Event,
    Exported,
    Observers,
    PeersKnown,
    RunBegan,
    Stole,
    TaskRan,
    TasksQueuedAgain,
    WorkerLost,
)
from scoop_hpc.protocol.names import ORIGIN, NodeIndex, worker_name
from scoop_hpc.run.watching import trace
from scoop_hpc.run.watching.trace import TraceFile, TraceWriter, Track, broker_track, worker_track
from scoop_hpc.worker.watched.slices import Slices

NODE = NodeIndex(3)
TRACK = worker_track(NODE, "n3", worker_name(NODE, 1), 8, is_origin=False)


class Traced:
    """A process that is traced, and the agent's end of its pipe."""

    def __init__(self, track: Track = TRACK) -> None:
        self.now = 50.0
        self.read, write = os.pipe()
        os.set_blocking(self.read, False)
        self.writer = TraceWriter(write, track, began=1000.0, clock=lambda: self.now, wall=lambda: self.now + 1000)
        self._write = write

    def close(self) -> list[dict[str, Any]]:
        """End the process; return all that it has written."""
        text = b""
        while True:  # more than a pipe holds
            self.writer.close()
            try:
                text += os.read(self.read, 1 << 20)
            except BlockingIOError:
                break
        os.close(self.read)
        os.close(self._write)
        events: list[dict[str, Any]] = json.loads(b"[" + text.rstrip(b",\n") + b"]")
        return events


def shown(events: list[dict[str, Any]], phase: str) -> list[str]:
    return [event["name"] for event in events if event["ph"] == phase]


def ran(number: int, name: str = "simulate") -> TaskRan:
    return TaskRan(name, 50.0 + number / 1000, 50.0005 + number / 1000)


def test_track_of_a_worker_has_its_tasks() -> None:
    traced = Traced()
    traced.writer(TaskRan('a "name"', 51.0, 51.25, calls=20, owner=ORIGIN, serial=7))
    process, thread, flow, task = traced.close()
    assert process["args"] == {"name": "node 3: n3"}
    assert thread["args"] == {"name": "worker 3.1"}
    assert (task["name"], task["ts"], task["dur"], task["args"]) == ('a "name"', 51e6, 250e3, {"calls": 20})
    assert len({(event["pid"], event["tid"]) for event in (thread, flow, task)}) == 1


def test_arrow_leads_from_where_a_task_was_made_to_where_it_is_executed() -> None:
    owner, executor = Traced(), Traced(worker_track(NODE, "n3", worker_name(NODE, 2), 8, is_origin=False))
    owner.writer(Exported(worker_name(NODE, 1), 5, 3))
    for serial in (5, 6, 7):
        executor.writer(TaskRan("f", 51.0, 52.0, owner=worker_name(NODE, 1), serial=serial))
    begun = [event["id"] for event in owner.close() if event["ph"] == "s"]
    ended = [event["id"] for event in executor.close() if event["ph"] == "f"]
    assert begun == ended
    assert len(set(begun)) == 3


def test_program_has_the_track_of_the_origin() -> None:
    traced = Traced(worker_track(NodeIndex(0), "n0", ORIGIN, 8, is_origin=True))
    traced.now = 60.0
    events = traced.close()
    assert [(event["ph"], event["ts"]) for event in events if event["ph"] in "BE"][:2] == [("B", 50e6), ("E", 60e6)]


def test_steals_and_losses_are_on_the_track_of_the_broker_and_nothing_else() -> None:
    traced = Traced(broker_track(NODE, "n3"))
    for event in (Stole("3", "1", 12), TasksQueuedAgain("3.1", 4, 1), PeersKnown("3", 3)):
        traced.writer(event)
    assert shown(traced.close(), "i") == [
        "broker 3 stole 12 tasks from broker 1",
        "4 tasks of worker 3.1 are queued again, 1 have failed",
    ]


@pytest.mark.parametrize("tasks", [50, 100, 1000, 10_000])
def test_more_tasks_than_a_viewer_can_show_are_sampled(tasks: int) -> None:
    traced = Traced(Track(NODE, "n3", 5, "worker 3.1", tasks=100))
    for number in range(tasks):
        traced.writer(ran(number))
    events = traced.close()
    count = len(shown(events, "X"))
    assert count == tasks if tasks <= 100 else 100 < count < 205
    assert bool(shown(events, "i")) == (tasks > 100)


def test_agent_is_not_woken_for_each_of_many_short_tasks() -> None:
    """A piece costs the agent and the driver as much as hundreds of tasks cost their worker."""
    traced = Traced()
    os.read(traced.read, 1 << 20)  # its track
    pieces = 0
    for number in range(1000):
        traced.now = 50.0005 + number / 1000
        traced.writer(ran(number))
        with contextlib.suppress(BlockingIOError):
            pieces += bool(os.read(traced.read, 1 << 20))
    assert 2 <= pieces <= 8
    assert len(shown(traced.close(), "X")) < 300  # of the last quarter of a second, nothing was taken


def test_what_nobody_takes_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_LAST", 0.0)  # it would wait for a reader, each time
    traced = Traced()
    for number in range(20_000):
        traced.writer(ran(number))
    while True:
        try:
            os.read(traced.read, 1 << 20)
        except BlockingIOError:
            break
        traced.writer.close()
    traced.writer(ran(20_001))
    assert [name for name in shown(traced.close(), "i") if name.endswith("events are left out here")]


def test_file_of_the_program_in_the_place_of_the_pipe_stays_as_it_is(tmp_path: Path) -> None:
    traced = Traced()
    with open(tmp_path / "file", "wb") as file:
        os.dup2(file.fileno(), traced._write)
        traced.writer(ran(1))
        traced.writer.close()
    assert (tmp_path / "file").read_bytes() == b""


def test_slices_end_where_a_task_waits_and_go_on_after_it() -> None:
    told: list[Event] = []
    slices = Slices(Observers([told.append]), in_main=True)
    slices.expect(ORIGIN, 7)
    slices.begin(shown, (), 1.0)
    slices.begin(ran, (), 2.0)
    waits = slices.suspend()
    slices.begin(len, (), 3.0)
    slices.end(4.0)
    slices.resume(waits)
    slices.end(1e9)
    slices.end(1e9)
    found = [(event.name, event.goes_on, event.owner) for event in told if isinstance(event, TaskRan)]
    assert found == [
        ("ran", True, ""),
        ("shown", True, ORIGIN),
        ("len", False, ""),
        ("ran", False, ""),
        ("shown", False, ""),
    ]


def test_slice_of_a_chunk_is_named_by_the_function_of_the_user() -> None:
    from scoop_hpc.bulk.chunks import run_chunk  # noqa: PLC0415  its room is above that of workers

    told: list[Event] = []
    slices = Slices(Observers([told.append]), in_main=True)
    slices.begin(run_chunk, (shown, [(1,), (2,)], None, 1), 1.0)
    slices.end(2.0)
    assert [(event.name, event.calls) for event in told if isinstance(event, TaskRan)] == [("shown", 2)]


def test_file_is_json_from_its_beginning_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = TraceFile(str(tmp_path / "trace.json"))
    file(RunBegan(1, 2))
    file(WorkerLost("worker 0.1 died"))
    file.add(b'{"name":"f","ph":"X","ts":1.0,"dur":2.0,"pid":2,"tid":3},\n')
    file.close()
    events = json.loads((tmp_path / "trace.json").read_bytes())
    assert Counter(event["ph"] for event in events) == {"M": 1, "i": 3, "X": 1}
    assert "worker 0.1 died" in shown(events, "i")
    assert capsys.readouterr().err == ""


def test_it_is_said_that_a_trace_does_not_show_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = TraceFile(str(tmp_path / "trace.json"))
    traced = Traced(Track(NODE, "n3", 5, "worker 3.1", tasks=1))
    traced.writer(ran(1))
    traced.writer(ran(2))
    traced.writer.close()
    file.add(os.read(traced.read, 1 << 20))
    traced.close()
    file.close()
    assert "does not show all tasks" in capsys.readouterr().err


def test_full_disk_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    file = TraceFile("/dev/full")
    for _ in range(10):
        file.add(b"x" * 100_000)
    file.close()
    assert (
        capsys.readouterr().err == "scoop-hpc: warning: cannot write the trace '/dev/full': No space left on device\n"
    )
