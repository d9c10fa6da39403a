"""The history of the live page: timelines and totals made of successive looks at a run."""

from __future__ import annotations

from typing import Literal

from scoop_hpc.jobs.snapshot import Node, Snapshot, Totals, Worker
from scoop_hpc.web.history import History, Segment

State = Literal["starting", "idle", "busy", "waiting", "dead"]
BEGAN = 1000.0


def worker(state: State, task: str | None = None, since: float = 0.0, done: int = 0, name: str = "0.1") -> Worker:
    return Worker(name, "n1", 7, state, task, since, done)


def snapshot(elapsed: float, *workers: Worker, run: str = "a", totals: Totals | None = None) -> Snapshot:
    return Snapshot(
        version=1,
        run=run,
        job=None,
        program="run.py",
        host="n1",
        pid=7,
        driver="",
        time=BEGAN + elapsed,
        started=BEGAN,
        elapsed_s=elapsed,
        walltime_left_s=None,
        state="running",
        totals=totals or Totals(),
        nodes=(Node("n1", 0, "alive", memory_bytes=5), Node("n2", 1, "alive", memory_bytes=7)),
        workers=workers,
    )


def timeline(history: History, look: int = 0, name: str = "0.1") -> list[tuple[float, float, str, str, int]]:
    """Return the segments of a worker, in seconds since the beginning."""
    segments = history.segments(look).get(name, [])
    return [(each.begin - BEGAN, each.end - BEGAN, each.state, each.task, each.tasks) for each in segments]


def test_task_that_goes_on_is_one_segment_from_its_begin() -> None:
    history = History()
    history.add(snapshot(1, worker("busy", "f", since=0.25)))
    history.add(snapshot(2, worker("busy", "f", since=1.25)))
    assert timeline(history) == [(0.75, 2, "busy", "f", 0)]


def test_next_task_of_the_same_function_begins_a_segment() -> None:
    history = History()
    history.add(snapshot(1, worker("busy", "f", since=1, done=0)))
    history.add(snapshot(2, worker("busy", "f", since=0.5, done=1)))
    history.add(snapshot(3, worker("busy", "f", since=0.25, done=3)))
    assert timeline(history) == [(0, 1.5, "busy", "f", 1), (1.5, 2.75, "busy", "f", 2), (2.75, 3, "busy", "f", 0)]


def test_many_short_tasks_are_one_segment_that_counts_them() -> None:
    history = History()
    history.add(snapshot(1, worker("busy", "f", since=0.25, done=10)))
    history.add(snapshot(2, worker("busy", "f", since=0.02, done=60)))
    history.add(snapshot(3, worker("busy", "f", since=0.01, done=110)))
    assert timeline(history) == [(0.75, 3, "busy", "f", 110)]


def test_state_that_changes_begins_when_it_says() -> None:
    history = History()
    history.add(snapshot(1, worker("busy", "f", since=1)))
    history.add(snapshot(2, worker("idle", "f", since=0.25, done=1)))
    history.add(snapshot(3, worker("waiting", "g", since=0.5, done=1)))
    assert timeline(history) == [
        (0, 1.75, "busy", "f", 1),
        (1.75, 2.5, "idle", "", 0),  # what it has executed last is nothing that it does
        (2.5, 3, "waiting", "g", 0),
    ]


def test_change_is_never_before_the_look_before() -> None:
    history = History()
    history.add(snapshot(1, worker("busy", "f", since=1)))
    history.add(snapshot(2, worker("idle", since=50)))
    assert timeline(history) == [(0, 1, "busy", "f", 0), (1, 2, "idle", "", 0)]


def test_only_what_is_new_is_told_again() -> None:
    history = History()
    history.add(snapshot(1, worker("busy", "f", since=1), worker("idle", name="0.2")))
    history.add(snapshot(2, worker("idle")))
    seen = history.look
    history.add(snapshot(3, worker("busy", "g")))
    assert timeline(history, seen) == [(2, 3, "idle", "", 0), (3, 3, "busy", "g", 0)]
    assert list(history.segments(seen)) == ["0.1"]
    assert [point.time - BEGAN for point in history.points(seen)] == [3]
    assert not history.segments(history.look)
    assert not history.points(history.look)


def test_the_same_look_changes_nothing() -> None:
    history = History()
    for _ in range(2):
        history.add(snapshot(1, worker("busy", "f")))
    assert (history.look, len(history.points(0))) == (1, 1)


def test_another_run_begins_anew() -> None:
    history = History()
    history.add(snapshot(1, worker("busy", "f", done=5)))
    history.add(snapshot(2, worker("busy", "g", done=3), run="b"))
    assert timeline(history) == [(2, 2, "busy", "g", 3)]
    assert len(history.points(0)) == 1


def test_totals_are_kept_with_the_memory_of_all_nodes() -> None:
    history = History()
    history.add(snapshot(1, totals=Totals(done=4, queued=3, failed=2, stolen=1, busy_workers=6, workers=8)))
    (point,) = history.points(0)
    assert (point.done, point.queued, point.failed, point.stolen, point.busy, point.workers) == (4, 3, 2, 1, 6, 8)
    assert point.memory == 12


def test_what_is_kept_is_bounded_and_the_newest() -> None:
    history = History(most_segments=60, most_points=10)
    for second in range(1, 200):
        state: State = "busy" if second % 2 else "idle"
        history.add(snapshot(second, *(worker(state, "f", name=f"0.{number}") for number in range(2))))
    assert {name: len(kept) for name, kept in history.segments(0).items()} == {"0.0": 30, "0.1": 30}
    assert history.segments(0)["0.0"][-1] == Segment(BEGAN + 199, BEGAN + 199, "busy", "f", 0, 199)
    assert [point.look for point in history.points(0)] == list(range(190, 200))
