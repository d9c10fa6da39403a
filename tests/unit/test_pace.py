"""How a loop notices that others could help, under a clock of the test's."""

from __future__ import annotations

from functools import partial

import pytest

from scoop_hpc.worker.loop_timing import LoopTiming, LoopTimings


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(pace: LoopTiming, clock: Clock, each: float, groups: int) -> list[int]:
    """Let items of *each* so many seconds go by, in groups; return how many were in each group."""
    sizes = []
    pace.start()
    for _ in range(groups):
        sizes.append(pace.group)
        clock.now += each * pace.group
        pace.note(pace.group)
    return sizes


def test_first_item_is_a_group_of_its_own_and_quick_ones_double_it() -> None:
    clock = Clock()
    assert run(LoopTiming(clock), clock, 1e-7, 8) == [1, 2, 4, 8, 16, 32, 32, 32]


def test_group_takes_a_twentieth_of_a_millisecond() -> None:
    clock = Clock()
    assert run(LoopTiming(clock), clock, 1e-5, 5)[-1] in (4, 5)


@pytest.mark.parametrize("each", [1e-4, 1.0])
def test_long_items_are_alone(each: float) -> None:
    clock = Clock()
    assert run(LoopTiming(clock), clock, each, 4) == [1, 1, 1, 1]


def test_one_long_item_makes_the_next_groups_small() -> None:
    clock = Clock()
    pace = LoopTiming(clock)
    run(pace, clock, 1e-7, 8)
    run(pace, clock, 1.0, 1)
    assert pace.group == 1


def test_items_too_quick_for_the_clock_are_no_trouble() -> None:
    clock = Clock()
    assert run(LoopTiming(clock), clock, 0.0, 7)[-1] == 32


def test_look_is_due_at_first_and_then_once_in_a_millisecond() -> None:
    clock = Clock()
    pace = LoopTiming(clock)
    looks = 0
    for _ in range(1000):
        looks += pace.due()
        run(pace, clock, 1e-5, 1)
    assert looks == pytest.approx((clock.now - 100) / 0.001, rel=0.2)


def test_what_is_unknown_is_worth_sharing() -> None:
    assert LoopTiming(Clock()).worth_sharing(2)


def test_last_item_is_not_shared() -> None:
    assert not LoopTiming(Clock()).worth_sharing(1)
    assert not LoopTiming(Clock(), 60.0).worth_sharing(1)


@pytest.mark.parametrize(("each", "count", "worth"), [(1e-5, 10, False), (1e-5, 200, True), (1e-7, 10**6, False)])
def test_what_is_known_is_shared_if_it_lasts(each: float, count: int, worth: bool) -> None:
    assert LoopTiming(Clock(), each).worth_sharing(count) is worth


def test_items_that_take_longer_to_pickle_than_to_do_stay() -> None:
    pace = LoopTiming(Clock(), 0.01)
    pace.pickled(10, 0.02)
    assert pace.worth_sharing(10)
    pace.pickled(10, 0.2)
    assert not pace.worth_sharing(10)


def test_pace_is_remembered_for_all_copies_of_a_function() -> None:
    paces = LoopTimings()
    paces.learn(2.0, lambda: 1, max)
    for _ in range(2):
        paces.learn(1e-6, partial(run, LoopTiming(Clock())), max)
    assert paces.of(run, max) == 1e-6
    assert paces.of(run, min) is None
    assert paces.of(run) is None


def test_slow_loop_is_remembered_for_a_while() -> None:
    paces = LoopTimings()
    for each in (1.0, 1e-6):
        paces.learn(each, run)
    assert paces.of(run) == 0.5


def test_loop_over_nothing_teaches_nothing() -> None:
    paces = LoopTimings()
    paces.learn(None, run)
    assert paces.of(run) is None
