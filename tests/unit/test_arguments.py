"""What cannot be an argument of a task is refused at once, by its place."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from scoop_hpc.pickling.arguments import all_sendable, refuse_unsendable, sendable


def generator() -> Iterator[int]:
    yield 1


async def asynchronous() -> AsyncIterator[int]:
    yield 1


async def coroutine() -> int:
    return 1


@pytest.mark.parametrize(
    ("args", "kwargs", "complaint"),
    [
        ((generator(),), {}, "argument 1 is a generator.*make a list of it"),
        ((1, (n for n in "ab")), {}, "argument 2 is a generator"),
        ((), {"a": 1, "rows": generator()}, "argument 'rows' is a generator"),
        ((asynchronous(),), {}, "argument 1 is an asynchronous generator.*make a list of it"),
    ],
)
def test_generator_is_refused_by_its_place(args: tuple[Any, ...], kwargs: dict[str, Any], complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        refuse_unsendable(args, kwargs)


def test_coroutine_is_to_be_awaited() -> None:
    made = coroutine()
    assert inspect.iscoroutine(made)
    with pytest.raises(TypeError, match="coroutine.*await it"):
        refuse_unsendable((made,), {})
    made.close()


def test_all_else_is_let_through() -> None:
    refuse_unsendable((), {})
    refuse_unsendable((1, [2], iter([3]), map(abs, [4]), generator), {"key": zip("ab")})


def test_items_are_good_up_to_the_first_generator() -> None:
    items = [(1,), (2, 3), (4, generator()), (5,)]
    assert not all_sendable(items)
    assert sendable(items) == 2
    assert all_sendable(items[:2])
    assert sendable(items[:2]) == 2
