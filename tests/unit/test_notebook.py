"""What a notebook shows of futures, Executors and maps that run, in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_pool_client import Pool
from test_pool_map import FakePool

from scoop_hpc import Executor
from scoop_hpc.bulk.chunks import Chunk
from scoop_hpc.errors import InputError, WorkerLostError
from scoop_hpc.pickling import pickles
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.pool.notebook import Shown, _settled, _Takes, in_notebook, watch
from scoop_hpc.pool.pool_map import PoolMap
from scoop_hpc.pool.status import Counted, ExecutorStatus
from scoop_hpc.worker.watched.shown import bar_html, future_html, table_html

EVIL = "<script>alert(1)</script>"


class Rude:
    """A value that cannot say what it is."""

    def __repr__(self) -> str:
        raise SystemExit


class Notebook:
    """A notebook, and the clock beside it; a map that is *looks* at it, one after the other."""

    def __init__(self, looks: list[Counted], leaves_at: float = 1e9) -> None:
        self.now = 0.0
        self.shown: list[str] = []
        self._looks = looks
        self._leaves_at = leaves_at

    def counted(self) -> Counted:
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.now >= self._leaves_at

    def show(self, shown: Shown) -> Notebook:
        self.update(shown)
        return self

    def update(self, shown: object) -> None:
        self.shown.append(repr(shown))

    def watch(self, label: str = "simulate") -> list[str]:
        watch(label, self.counted, self.show, self.wait, lambda: self.now)
        return self.shown


def half(done: int, failed: int = 0) -> Counted:
    return Counted(100, done, failed, done == 100)


def test_map_that_lasts_is_shown_until_it_is_over() -> None:
    shown = Notebook([half(10), half(60, failed=1), half(100)]).watch()
    assert [text.partition(",")[0] for text in shown] == [
        "simulate: 10 of 100 done (10 %)",
        "simulate: 60 of 100 done (60 %)",
        "simulate: 100 of 100 done (100 %)",
    ]
    assert "1 failed" in shown[1]


def test_results_that_are_computed_as_they_are_taken_are_counted() -> None:
    takes = _Takes(iter("abc"), 3)
    taken = iter(takes)
    assert takes.counted() == Counted(3, 0, 0, False)
    assert next(taken) + next(taken) == "ab"
    assert takes.counted() == Counted(3, 2, 0, False)
    assert (list(taken), takes.counted()) == (["c"], Counted(3, 3, 0, True))
    failing = _Takes(map(int, ["1", "no", "3"]), None)
    with pytest.raises(ValueError, match="no"):
        list(failing)
    assert failing.counted() == Counted(None, 2, 1, True)


def test_last_look_waits_for_what_is_taken_and_not_counted_yet() -> None:
    looks = [half(90), half(90), half(100)]
    taken = threading.Event()
    assert _settled(lambda: looks[0], taken) == half(90)
    taken.set()
    assert _settled(lambda: looks.pop(0), taken) == half(100)


def test_map_that_is_over_soon_is_not_shown() -> None:
    assert Notebook([half(100)]).watch() == []


def test_map_whose_results_nobody_takes_any_more_is_shown_once_more() -> None:
    shown = Notebook([half(10), half(20)], leaves_at=1.5).watch()
    assert len(shown) == 3
    assert shown[1:] == [
        "simulate: 20 of 100 done (20 %), 20/s, about 0:00:04 left",
        "simulate: 20 of 100 done (20 %), in 0:00:02",
    ]
    assert Notebook([half(10)], leaves_at=0.5).watch() == []


@pytest.mark.parametrize("total", [None, 100])
def test_map_that_ends_early_has_no_time_left(total: int | None) -> None:
    shown = Notebook([Counted(total, 7, 0, False), Counted(total, 20, 1, True)]).watch()
    assert shown[-1].endswith(", 1 failed, in 0:00:01")


def test_length_that_is_not_known_has_no_measure() -> None:
    assert Notebook([Counted(None, 7, 0, False)], leaves_at=1.0).watch("")[0].startswith("map: 7 done")
    assert bar_html("map: 7 done", 7, None) == "<div><progress></progress> map: 7 done</div>"


@pytest.mark.parametrize(
    "shown",
    [
        future_html(EVIL, "pending"),
        future_html("f", "finished", EVIL, finished=True),
        future_html("f", "finished", error=ValueError(EVIL), finished=True),
        table_html(EVIL, {EVIL: EVIL}),
        bar_html(EVIL, 1, 2),
        Shown(EVIL, bar_html(EVIL, 1, 2))._repr_html_(),
    ],
)
def test_text_of_the_program_is_no_markup(shown: str) -> None:
    assert EVIL not in shown
    assert "&lt;script&gt;" in shown


def test_value_that_cannot_be_written_down_is_shown_by_its_class() -> None:
    assert "&lt;Rude&gt;" in future_html("f", "finished", Rude(), finished=True)
    assert len(future_html("f", "finished", "x" * 10_000, finished=True)) < 300


def test_future_of_a_pool_is_shown_with_its_function_and_outcome() -> None:
    def simulate(number: int) -> int:
        return 10 // number

    pool = Pool()
    pool.name_of = lambda cost: pool.client.names.get(cost, "")  # type: ignore[method-assign]
    good, bad = pool.submit(simulate, 5), pool.submit(simulate, 0)
    assert "not done yet" in good._repr_html_()
    pool.pump()
    pool.work(2)
    pool.pump()
    assert good._repr_html_().endswith("simulate(): 2</div>")
    assert "failed: ZeroDivisionError" in bad._repr_html_()
    assert "simulate()" in repr(bad)


def test_calls_of_a_client_are_counted_until_they_have_ended() -> None:
    pool = Pool()

    def counts() -> tuple[int, int, int, int]:
        client = pool.client
        return client.queued, client.under_way, client.done, client.failed

    futures = [pool.submit(divmod, 7, number) for number in range(4)]
    assert counts() == (4, 0, 0, 0)
    pool.pump()
    assert counts() == (2, 2, 0, 0)
    pool.work(2)
    pool.pump()
    assert counts() == (0, 2, 2, 1)
    assert futures[3].cancel()
    assert counts() == (0, 1, 2, 1)
    unsendable = pool.submit(print, (each for each in "ab"))
    pool.pump()
    assert unsendable.exception() is not None
    assert counts() == (0, 1, 3, 2)


def test_client_that_fails_has_failed_all_that_was_not_done() -> None:
    pool = Pool()
    for number in range(4):
        pool.submit(abs, number)
    pool.pump()
    pool.client.fail(RuntimeError)
    assert (pool.client.done, pool.client.failed, pool.client.under_way) == (4, 4, 0)


def mapped(items: int) -> tuple[FakePool, PoolMap]:
    pool = FakePool()
    one = PoolMap(pool, abs, [(-item,) for item in range(items)])
    one.start()
    return pool, one


def test_items_of_a_pool_s_map_are_counted_as_their_chunks_end() -> None:
    pool, one = mapped(1_000)
    assert one.counted() == Counted(1_000, 0, 0, False)
    pool.work(1)
    assert 0 < one.counted().done < 1_000
    pool.work()
    assert one.counted() == Counted(1_000, 1_000, 0, True)


def test_item_that_fails_is_counted_and_one_that_was_cut_off_is_not() -> None:
    pool, one = mapped(10)
    future = pool.offered.popleft()
    future.take()
    error = pickles.dump_outcome(Outcome(error=ValueError("no")))
    future.set_result(Chunk([], error))
    assert one.counted() == Counted(10, 1, 1, False)
    lost = (
        next(each for each in pool.offered if len(each.items) > 1)
        if any(len(each.items) > 1 for each in pool.offered)
        else pool.offered[0]
    )
    size = len(lost.items)
    lost.take()
    lost.set_exception(WorkerLostError("the task was lost", ()))
    assert one.counted().done == (1 if size > 1 else 2)
    one.close()
    assert one.counted().is_over


def test_executor_says_how_it_stands() -> None:
    executor = Executor(2)
    assert executor.status() == ExecutorStatus("idle", 0)
    assert repr(executor) == "<scoop_hpc.Executor: idle, 0 workers: 0 queued, 0 under way, 0 done, 0 failed>"
    assert "<th>under way</th><td>0</td>" in executor._repr_html_()
    executor.shutdown()
    assert executor.status().state == "shut down"


def test_no_progress_where_no_notebook_is() -> None:
    assert not in_notebook()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [({"progress": "bar"}, "progress is 'bar': it must be 'auto' or 'none'")],
)
def test_wrong_options_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Executor(2, **options)


def test_report_that_cannot_be_written_is_refused_before_anything_starts(tmp_path: Path) -> None:
    executor = Executor(2, report=tmp_path / "missing" / "report.json")
    submit: Callable[..., object] = executor.submit
    with pytest.raises(InputError, match="cannot write the report '.*/missing/report.json': No such file"):
        submit(abs, 1)
    executor.shutdown()
