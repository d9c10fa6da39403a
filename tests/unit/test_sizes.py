"""How large chunks are, without a worker or a clock."""

from __future__ import annotations

import pytest

from scoop_hpc.bulk.sizes import Shares, Sizes
from scoop_hpc.worker.policy import DEFAULT


def chunks_of(sizes: Sizes, count: int, seconds: float, size: int = 0) -> list[int]:
    """Return the sizes of the chunks of *count* items, each of which takes so many *seconds*, done one by one."""
    made: list[int] = []
    left = count
    while left > 0:
        made.append(min(sizes.next(left), left))
        left -= made[-1]
        sizes.learn(made[-1], made[-1] * seconds, made[-1] * size)
    return made


def test_unknown_items_begin_alone_and_grow_fast_while_chunks_are_not_worth_a_message() -> None:
    assert chunks_of(Sizes(2), 1_000_000, 1e-6)[:6] == [1, 8, 64, 512, 4096, 8192]


def test_chunks_that_are_worth_a_message_double() -> None:
    assert chunks_of(Sizes(2), 10_000, 0.001)[:6] == [1, 2, 4, 8, 16, 32]


def test_known_items_begin_with_what_fits() -> None:
    assert Sizes(2, pace=0.0001).next(1_000_000) == 500


def test_long_items_are_alone() -> None:
    assert set(chunks_of(Sizes(2), 100, 10.0)) == {1}


def test_chunks_get_smaller_near_the_end_but_not_less_than_a_message_is_worth() -> None:
    made = chunks_of(Sizes(2, pace=0.0001), 3_000, 0.0001)
    assert made[0] == 375
    assert made[:20] == sorted(made[:20], reverse=True)
    assert 9 <= min(made[:-1]) <= 10  # a millisecond


def test_chunk_of_thousands_of_workers_lasts_as_long_as_the_owner_needs_for_one_for_each() -> None:
    made = chunks_of(Sizes(4096, pace=0.05), 4096 * 20, 0.05)
    assert made[0] == 3  # 4,096 times 38 us are 0.156 s
    assert min(made[:-1]) == 3
    assert set(chunks_of(Sizes(1024, pace=0.05), 1024 * 20, 0.05)) == {1}


def test_cost_that_rises_a_thousandfold_is_followed_at_the_next_chunk() -> None:
    sizes = Sizes(2, pace=0.00001)
    sizes.learn(5_000, 0.05, 0)
    assert sizes.next(None) == 5_000
    sizes.learn(20, 0.2, 0)  # it has used up its budget
    assert sizes.next(None) <= 5_000 // 4
    sizes.learn(20, 0.2, 0)
    sizes.learn(20, 0.2, 0)
    sizes.learn(20, 0.2, 0)
    assert sizes.next(None) < 100


def test_cost_that_falls_a_thousandfold_is_followed_in_a_few_chunks() -> None:
    sizes = Sizes(2, pace=0.01)
    made = chunks_of(sizes, 10_000, 0.00001)
    assert made[:4] == [5, 40, 320, 640]


def test_one_long_item_among_quick_ones_is_soon_forgotten() -> None:
    sizes = Sizes(2)
    chunks_of(sizes, 100_000, 0.00001)
    usual = sizes.next(None)
    sizes.learn(1, 10.0, 0)
    assert sizes.next(None) == 1
    made = [sizes.next(None)]
    while made[-1] < usual:
        sizes.learn(made[-1], made[-1] * 0.00001, 0)
        made.append(sizes.next(None))
    assert len(made) < 40


def test_map_goes_on_while_a_node_has_the_first_bundles_for_itself() -> None:
    workers = 16_384
    sizes = Sizes(workers, spreads=True)
    assert sizes.next(None) == DEFAULT.bundle_unknown  # each worker may take one, and all of it stay on its node
    assert sizes.room((DEFAULT.bundle_unknown + DEFAULT.chunks_per_worker) * workers)


def test_large_results_make_small_chunks_and_few_ahead() -> None:
    sizes = Sizes(2, pace=0.00001, weight=1_000_000)
    assert sizes.next(None) == 4
    assert sizes.room(128)
    assert not sizes.room(129)
    assert Sizes(2, pace=0.00001, weight=1e12).room(6)  # every worker has its three


@pytest.mark.parametrize(("pace", "budget"), [(None, 0.05), (0.00001, 0.05), (0.001, 0.4)])
def test_chunk_may_take_four_times_as_long_as_was_thought(pace: float | None, budget: float) -> None:
    assert Sizes(2, pace=pace).budget(100) == pytest.approx(budget)


def test_what_is_left_is_cut_into_a_bounded_number_of_pieces() -> None:
    sizes = Sizes(2, pace=1.0)
    assert -(-9_999 // sizes.pieces(9_999)) <= 8
    assert sizes.pieces(3) == 1


def test_chosen_size_is_kept_and_has_no_budget() -> None:
    sizes = Sizes(2, chunksize=7, pace=100.0)
    assert (sizes.next(1), sizes.next(None), sizes.budget(7)) == (7, 7, None)


def test_bounded_map_leaves_two_chunks_for_every_worker() -> None:
    sizes = Sizes(4, buffersize=80, pace=1e-6)
    assert sizes.next(None) == 10
    assert (sizes.room(80), sizes.room(81)) == (True, False)


def test_enough_is_three_chunks_for_a_worker_or_as_much_in_seconds() -> None:
    sizes = Sizes(2, pace=0.001)  # 50 items fit
    assert not sizes.enough(5, 250)
    assert sizes.enough(6, 301)
    assert not sizes.enough(30, 200)  # small ones, at the end
    assert Sizes(2).enough(6, 6)  # unknown: they may be long


def test_many_workers_get_their_items_by_bundles_of_which_the_owner_can_make_enough() -> None:
    sizes = Sizes(4096, pace=0.05, spreads=True)  # the owner needs 0.156 s for a task for each
    made = chunks_of(sizes, 4096 * 40, 0.05)
    assert made[0] == 24  # then it is busy for an eighth of the time
    assert min(made[:-1]) == 6  # and for half of it at the end
    assert (sizes.share(24), sizes.share(6)) == (1, 1)


def test_bundle_of_short_items_has_a_chunk_for_each_worker_that_it_spans() -> None:
    sizes = Sizes(4096, pace=0.01, spreads=True)
    assert (sizes.next(None), sizes.share(120)) == (120, 5)
    assert sizes.share(48) == 2  # at the end all end together
    assert Sizes(4096, pace=1e-5, spreads=True).share(100) == 12  # all it may have; 100 are a millisecond of work


def test_bundle_is_small_where_nothing_is_known_of_its_items() -> None:
    assert Sizes(4096, spreads=True).next(None) == 16
    assert Sizes(700, spreads=True).next(None) == 4
    assert Sizes(600, spreads=True).next(None) == 1  # the owner is busy for less than half of the time


def test_owner_has_soon_handed_bundles_to_all_of_many_thousands_though_nothing_is_known() -> None:
    sizes = Sizes(64_000, spreads=True)
    assert sizes.next(None) == 60  # 1,067 bundles at 38 us each are 40 ms
    assert sizes.next(64_000) == 15  # where there are few, all workers are to have some
    assert Sizes(640_000, spreads=True).next(None) == DEFAULT.bundle_chunks


@pytest.mark.parametrize(
    "sizes",
    [
        Sizes(600, pace=0.05, spreads=True),
        Sizes(4096, pace=10.0, spreads=True),
        Sizes(4096, pace=0.05),
        Sizes(4096, chunksize=40, pace=0.05, spreads=True),
        Sizes(4096, buffersize=100_000, pace=0.05, spreads=True),
    ],
    ids=["few workers", "long items", "no spreading", "chosen size", "bounded"],
)
def test_nothing_is_bundled(sizes: Sizes) -> None:
    assert sizes.span == 1
    assert sizes.share(40) == 40


def test_share_of_a_bundle_is_all_there_at_once() -> None:
    sizes = Shares(100, 12, 0.004)
    assert [sizes.next(left) for left in (100, 88, 4)] == [12, 12, 12]
    assert not sizes.enough(9, 100)
    assert sizes.room(10**9)
    assert sizes.share(12) == 12
    assert sizes.budget(12) == pytest.approx(0.192)


def test_owner_does_a_map_alone_that_others_would_not_be_done_with_before() -> None:
    sizes = Sizes(2, pace=1e-6)
    assert sizes.own(2_000, None) == 800  # to the next look at the link
    assert sizes.own(100, None) == 100
    assert Sizes(2, pace=1e-5).own(600, None) == 80
    assert Sizes(64, pace=1e-5).own(600, None) == 40  # of 6 ms others save it more than 4: it tries some
    assert Sizes(64, pace=1e-4).own(60, None) == 0


def test_owner_does_no_items_that_nobody_knows_or_that_last() -> None:
    assert Sizes(2).own(10, None) == 0
    assert Sizes(2).own(2, 0.001) == 0
    assert Sizes(2, pace=0.001).own(2, None) == 0


def test_owner_without_others_makes_usual_chunks() -> None:
    assert Sizes(1, pace=1e-6).own(100, None) == 0


def test_owner_of_chunks_of_a_chosen_size_does_none_by_itself() -> None:
    assert Sizes(2, chunksize=10, pace=1e-6).own(100, 1e-6) == 0
    assert Sizes(2, buffersize=1000, pace=1e-6).own(100, 1e-6) == 0


def test_items_that_nobody_has_counted_may_be_without_end() -> None:
    assert Sizes(2, pace=1e-6).own(None, 1e-6) == 0


def test_owner_tries_quick_items_of_a_long_map_and_then_hands_out_chunks_that_fit() -> None:
    sizes, left, tried = Sizes(2), 1_000_000, 0.0
    while own := sizes.own(left, 1e-5):
        sizes.learn(own, own * 5e-6, 0)
        left, tried = left - own, tried + own * 5e-6
    assert 0.9 * DEFAULT.own_trial < tried <= DEFAULT.own_trial
    while left > 400:  # who has got some gets the rest, too
        size = sizes.next(left)
        assert size > 50
        assert sizes.own(left, 1e-5) == 0
        sizes.learn(size, size * 5e-6, 0)
        left -= size
    assert sizes.own(left, 1e-5) == 0


def test_owner_tries_no_items_that_may_take_a_moment_each() -> None:
    assert Sizes(2).own(1_000_000, 1e-4) == 0


def test_owner_of_a_list_that_has_grown_since_does_not_count_below_zero() -> None:
    assert [Sizes(2, pace=1e-4).own(left, None) for left in (0, -1, -100)] == [0, 0, 0]
