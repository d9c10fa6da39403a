"""An Executor's maps in a run: the map's future of a chunk gets the outcome of a future of this worker.

::

    PoolMap --submit--> chunk's future  <--outcome--  future of this worker, perhaps after its turn within the limit
"""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Callable, Iterable
from typing import Any

from scoop_hpc.errors import BrokenPoolError, RunEndedError
from scoop_hpc.pool.future import PoolFuture, QuestionKind
from scoop_hpc.pool.on_run import OnRun
from scoop_hpc.pool.pool_map import Pool
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.loop_timing import LoopTimings


class RunAsPool(Pool):
    """The workers of a run, as a map of the Executor whose futures are *on_run* uses them."""

    def __init__(self, on_run: OnRun, controller: Controller) -> None:
        from scoop_hpc.bulk.maps import run_bundle  # noqa: PLC0415  loaded in a run, and only there

        super().__init__()
        self._on_run = on_run
        self._controller = controller
        self._inner: dict[Future, Future] = {}  # this worker's futures, by those of the chunks
        self.policy = controller.policy
        self.bundle = run_bundle if on_run.is_plain else None

    @property
    def workers(self) -> int:
        return self._on_run.most_at_once

    @property
    def loop_timings(self) -> LoopTimings:
        return self._controller.loop_timings

    def when_open(self, callback: Callable[[], object]) -> None:
        callback()

    def submit(self, future: PoolFuture) -> None:
        call = future.take()
        if call is None:  # it was cancelled
            return
        task, args, kwargs = call
        cost = self._controller.cost_of(task, args[0])  # what chunks of other functions take says nothing
        inner = self._inner[future] = self._on_run.submit(task, args, kwargs, cost, future.terms)
        self._on_run.add(future)
        pass_on = functools.partial(self._pass_on, future)
        if self._controller.size > 1:
            inner.add_done_callback(pass_on)
        else:  # no other worker is to get more while the program is busy, nor another thread to run tasks meanwhile
            concurrent.futures.Future.add_done_callback(inner, pass_on)

    def submit_more(self, future: PoolFuture) -> None:
        try:
            self.submit(future)
        except (BrokenPoolError, RunEndedError) as error:  # this is a callback: who waits for the result hears of it
            future.settle(None, error)

    def cancel(self, futures: Iterable[PoolFuture]) -> None:
        self._on_run.cancel([self._inner[future] for future in futures if future in self._inner])

    def _pass_on(self, future: Future, inner: Any) -> None:
        """Give the outcome of *inner*, a future of this worker, to *future*, which the map has."""
        self._inner.pop(future, None)
        if inner.cancelled():
            future.drop()
        elif not future.settled:
            error = inner.exception()
            future.settle(inner.result() if error is None else None, error)

    # the worker gets on with the chunks; what waits for one waits for this worker's future

    def wait_for(self, future: Future, deadline: float | None) -> None:
        self._controller.wait_for(future, deadline)

    def withdraw(self, future: Future) -> bool:
        inner = self._inner.get(future)
        return inner is not None and inner.cancel()

    def begun(self, future: Future) -> bool:
        inner = self._inner.get(future)
        return inner is not None and inner.running()

    def ask(self, future: PoolFuture, kind: QuestionKind) -> bool | None:
        return None

    def glance(self, future: Future) -> None:
        self._controller.glance(future)

    def attend(self, future: Future) -> None:
        self._controller.attend(future)

    def equip(self, waiter: Any) -> None:
        self._controller.equip(waiter)
