"""Whether the stack has room for a task as deep as what is on it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from greenlet import greenlet

from scoop_hpc.worker.threads import stack


def at_depth(calls: int, function: Callable[[], bool]) -> bool:
    return at_depth(calls - 1, function) if calls else function()


def depth() -> int:
    return sum(1 for _ in frames())


def frames() -> Iterator[object]:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]


@pytest.fixture(params=[1000, 3000])
def limit(request: pytest.FixtureRequest) -> Iterator[int]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(request.param)
    yield request.param
    sys.setrecursionlimit(before)


@pytest.mark.parametrize("measured", [True, False])
def test_third_of_the_stack_is_shallow(limit: int, measured: bool) -> None:
    is_shallow = stack.measure() if measured else stack.is_shallow
    left = limit // 3 - depth()
    assert at_depth(left - 20, is_shallow)
    assert not at_depth(left + 20, is_shallow)


def test_limit_may_change_after_the_depth_was_found() -> None:
    is_shallow, before = stack.measure(), sys.getrecursionlimit()
    assert not at_depth(before // 3, is_shallow)
    try:
        sys.setrecursionlimit(2 * before)
        assert at_depth(before // 3, is_shallow)
    finally:
        sys.setrecursionlimit(before)


def test_greenlet_has_a_depth_of_its_own() -> None:
    is_shallow, limit = stack.measure(), sys.getrecursionlimit()
    deep = greenlet(lambda: at_depth(limit // 2, lambda: bool(deep.parent.switch()) or is_shallow()))
    deep.switch()
    assert is_shallow()
    assert deep.switch() is False


def test_depth_is_found_where_the_interpreter_counts_down() -> None:
    assert (stack._calls_left() is None) == (sys.version_info < (3, 11))
