"""The search for a process among its addresses: no socket, no clock."""

from __future__ import annotations

from scoop_hpc.transport.search import Search, search_again


def started(*addresses: str) -> Search:
    search = Search(addresses, seconds=1.0)
    assert search.goes_on(10.0)
    return search


def test_first_address_is_tried_at_once() -> None:
    assert started("a", "b").address() == "a"


def test_next_address_is_tried_after_its_time_and_not_before() -> None:
    search = started("a", "b")
    assert not search.goes_on(10.9)
    assert search.goes_on(11.0)
    assert search.address() == "b"


def test_after_the_last_address_comes_the_first() -> None:
    search = started("a", "b")
    assert search.goes_on(11.0)
    assert search.goes_on(12.0)
    assert (search.address(), search.rounds()) == ("a", 1)


def test_answer_ends_the_search() -> None:
    search = started("a", "b")
    assert search.is_ended_by(0)
    assert not search.goes_on(99.0)
    assert search.address() == "a"


def test_answer_from_an_address_that_was_left_does_not_count() -> None:
    search = started("a", "b")
    assert search.goes_on(11.0)
    assert not search.is_ended_by(0)
    assert not search.is_over


def test_second_answer_is_no_end() -> None:
    search = started("a")
    assert search.is_ended_by(0)
    assert not search.is_ended_by(0)


def test_after_a_loss_others_have_their_turn_with_the_address_that_worked() -> None:
    search = search_again(["a", "b", "c"], "b", 3.0, now=10.0)
    tried = [(0.0, search.address())]
    tried += [(now, search.address()) for now in range(11, 40) if search.goes_on(now)]
    assert tried == [(0.0, "b"), (13, "a"), (16, "b"), (19, "c"), (22, "b"), (28, "a"), (34, "b")]


def test_after_a_loss_the_only_address_stays() -> None:
    search = search_again(["a"], "a", 3.0, now=0.0)
    assert search.goes_on(100.0)
    assert search.address() == "a"
