"""The call of a future is taken once, whoever wants it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from scoop_hpc.worker.durations import Cost
from scoop_hpc.worker.future import Future


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Have threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_call_is_taken_by_one_of_several_threads() -> None:
    cost = Cost()
    futures = [Future(cast(Any, None), print, (n,), {}, cost) for n in range(20_000)]
    taken: list[list[Any]] = [[], [], []]
    ready = threading.Barrier(len(taken))

    def take(mine: list[Any], name: str) -> None:
        ready.wait()
        for future in futures:
            call = getattr(future, name)()
            if call is not None:
                mine.append(call)

    threads = [threading.Thread(target=take, args=pair) for pair in zip(taken, ("begin", "take", "take"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    calls = [call for each in taken for call in each]
    assert sorted(args for _, args, _ in calls) == [(n,) for n in range(20_000)]
    assert {function for function, _, _ in calls} == {print}
