"""Calls of one function are packed together, and one that cannot be pickled spoils no other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from scoop_hpc.errors import UnpicklableError
from scoop_hpc.pickling import batching

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def unpickled(frames: Any) -> tuple[Callable[..., Any], list[Arguments]]:
    function, items = batching.load_calls([bytes(frame) for frame in frames])
    return function, [batching.unpack_item(item) for item in items]


@pytest.mark.parametrize("calls", [[((2, 5), {})], [((2, 5), {}), ((2,), {"exp": 3}), (([1],), {})]])
def test_calls_arrive_as_they_were_packed(calls: list[Arguments]) -> None:
    packed = batching.pack_calls(pow, calls)
    assert unpickled(packed.frames) == (pow, calls)
    assert packed.refused == {}


def test_call_that_cannot_be_pickled_is_refused_by_its_place() -> None:
    packed = batching.pack_calls(abs, [((-1,), {}), ((threading.Lock(),), {}), ((-2,), {})])
    assert list(packed.refused) == [1]
    assert isinstance(packed.refused[1], UnpicklableError)
    assert unpickled(packed.frames) == (abs, [((-1,), {}), ((-2,), {})])


@pytest.mark.parametrize("count", [1, 2])
def test_nothing_is_sent_of_calls_that_cannot_be_pickled(count: int) -> None:
    packed = batching.pack_calls(abs, [((threading.Lock(),), {})] * count)
    assert (packed.frames, list(packed.refused)) == ([], list(range(count)))


def test_function_that_cannot_be_pickled_refuses_all_its_calls() -> None:
    packed = batching.pack_calls(threading.Lock().__enter__, [((1,), {}), ((2,), {})])
    assert (packed.frames, list(packed.refused)) == ([], [0, 1])
