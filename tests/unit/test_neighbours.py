"""What brokers tell each other of their load: few of them, little, and nothing at rest."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

import pytest

from scoop_hpc.broker.neighbours import Neighbours
from scoop_hpc.broker.policy import Policy
from scoop_hpc.protocol.messages import Load
from scoop_hpc.protocol.names import BrokerName, broker_name

POLICY = Policy(all_direct=4, branches=3)


def named(nodes: Iterable[int]) -> set[BrokerName]:
    return set(map(broker_name, nodes))


class Federation:
    """The neighbours of each of *size* brokers, and the messages between them."""

    def __init__(self, size: int, policy: Policy = POLICY) -> None:
        self.names = named(range(size))
        self.all = {name: Neighbours(name, policy) for name in sorted(self.names)}
        self.loads = dict.fromkeys(self.names, (0, 0, 0))  # queued, of these for any worker, idle workers
        self.told: Counter[BrokerName] = Counter()  # messages to each
        self.meet()

    def meet(self) -> None:
        for name, each in self.all.items():
            each.meet(self.names - {name})
        self.settle()

    def lose(self, *nodes: int) -> None:
        self.names -= named(nodes)
        for name in named(nodes):
            del self.all[name]
        self.meet()

    def settle(self, *, tick: bool = False) -> None:
        """Deliver all that is to be told."""
        under_way = deque(self.all)
        for name in self.all if tick else ():
            under_way += self._say(name, tick=True)
        while under_way:
            under_way += self._say(under_way.popleft(), tick=False)

    def _say(self, name: BrokerName, tick: bool) -> list[BrokerName]:
        said = self.all[name].tick if tick else self.all[name].news
        sends = said(*self.loads[name])
        for send in sends:
            assert isinstance(send.message, Load)
            to = BrokerName(send.to)
            self.told[to] += 1
            if to in self.all:
                self.all[to].hear(send.message, name)
        return [BrokerName(send.to) for send in sends if send.to in self.all]

    def set_idle(self, node: int, idle: int) -> None:
        self.loads[broker_name(node)] = (0, 0, idle)
        self.settle()

    def set_queued(self, node: int, queued: int) -> None:
        self.loads[broker_name(node)] = (queued, queued, 0)
        self.settle()

    def with_victims(self) -> list[str]:
        """Return who knows of somebody to steal from."""
        return sorted(name for name, each in self.all.items() if each.victim(own_hunger=True))

    def idle_at(self, node: int) -> int:
        return self.all[broker_name(node)].idle


@pytest.mark.parametrize("size", [2, 4, 5, 14, 60])
def test_all_hear_at_once_that_a_worker_is_idle_anywhere(size: int) -> None:
    federation = Federation(size)
    federation.set_idle(size - 1, 2)
    assert {federation.idle_at(node) for node in range(size - 1)} == {2}
    assert federation.idle_at(size - 1) == 0  # elsewhere


@pytest.mark.parametrize("size", [4, 14, 60])
def test_idle_workers_that_are_no_more_are_forgotten_by_the_next_ticks(size: int) -> None:
    federation = Federation(size)
    federation.set_idle(size - 1, 2)
    federation.set_idle(size - 1, 0)
    for _ in range(10):  # at each the word goes a step further
        federation.settle(tick=True)
    assert {each.idle for each in federation.all.values()} == {0}


def test_where_all_tell_all_what_is_gone_is_told_at_once() -> None:
    federation = Federation(4)
    federation.set_idle(3, 2)
    federation.set_idle(3, 0)
    assert {each.idle for each in federation.all.values()} == {0}


def test_idle_workers_of_all_are_added_up() -> None:
    federation = Federation(40)
    for node in range(40):
        federation.set_idle(node, 3)
    for _ in range(10):
        federation.settle(tick=True)
    for node in range(40):
        assert (
            39 * 3 / 2**3 <= federation.idle_at(node) <= 39 * 3
        )  # told again at each of the steps once it has doubled


def test_broker_tells_few_others() -> None:
    federation = Federation(1000, Policy())
    assert max(map(len, federation.all.values())) == 17
    assert sum(map(len, federation.all.values())) == 2 * 999


def test_nothing_is_said_at_rest() -> None:
    federation = Federation(60)
    for node in range(60):
        federation.set_idle(node, 4)
    for _ in range(10):
        federation.settle(tick=True)
    federation.told.clear()
    for _ in range(10):
        federation.settle(tick=True)
    assert not federation.told


def test_who_comes_and_goes_between_two_ticks_is_told_once() -> None:
    federation = Federation(60)
    federation.settle(tick=True)
    federation.told.clear()
    for _ in range(100):
        federation.set_idle(59, 1)
        federation.set_idle(59, 0)
    assert max(federation.told.values()) == 1


def test_queue_that_suffices_hides_idle_workers_from_those_behind_it() -> None:
    federation = Federation(14)
    federation.set_queued(1, 5)
    federation.set_idle(4, 3)  # whose parent is 1
    assert federation.idle_at(1) == 3
    assert federation.idle_at(0) == 0


def test_own_queue_is_told_to_neighbours_only() -> None:
    federation = Federation(14)
    federation.set_queued(4, 5)
    assert federation.with_victims() == []  # nobody is hungry
    federation.settle(tick=True)
    assert federation.with_victims() == ["1", "13"]


def test_hungry_neighbour_hears_of_a_queue_at_once() -> None:
    federation = Federation(14)
    federation.set_queued(4, 5)
    federation.set_idle(1, 1)
    assert federation.with_victims() == ["1"]


def test_no_more_neighbours_than_there_are_tasks_hear_of_them_at_once_the_hungriest_first() -> None:
    federation = Federation(14)
    federation.set_idle(2, 1)
    federation.set_idle(3, 3)
    federation.set_idle(1, 2)
    federation.set_queued(0, 2)
    assert federation.with_victims() == ["1", "3"]
    federation.set_queued(0, 5)
    assert federation.with_victims() == ["1", "2", "3"]


def test_neighbour_of_the_hungry_steals_for_them() -> None:
    federation = Federation(14)
    federation.set_idle(4, 3)
    federation.set_queued(2, 5)
    root = federation.all[broker_name(0)]
    assert root.victim(own_hunger=False) == "2"
    assert root.beyond(broker_name(2)) == 3
    federation.set_idle(4, 0)
    for _ in range(10):
        federation.settle(tick=True)
    assert root.victim(own_hunger=False) is None


def test_giver_of_tasks_for_others_is_not_told_of_them_however_hungry_it_is() -> None:
    federation = Federation(14)
    federation.set_idle(4, 1)
    federation.set_idle(2, 9)
    one = federation.all[broker_name(1)]  # between 0, behind which are nine idle workers, and 4, where there is one
    one.helped(broker_name(0))
    federation.set_queued(1, 1)
    assert federation.with_victims() == ["4"]
    federation.set_queued(1, 3)
    federation.settle(tick=True)
    assert federation.all[broker_name(0)].victim(own_hunger=True) == "1"  # two more than others take


def test_giver_hears_of_its_tasks_when_nobody_else_wants_them_any_more() -> None:
    federation = Federation(14)
    federation.set_idle(4, 1)
    federation.set_idle(2, 9)
    federation.all[broker_name(1)].helped(broker_name(0))
    federation.set_queued(1, 1)
    federation.set_idle(4, 0)
    federation.settle(tick=True)
    assert federation.all[broker_name(0)].victim(own_hunger=False) == "1"


def test_where_all_tell_all_nobody_steals_for_others() -> None:
    federation = Federation(4)
    federation.set_idle(1, 3)
    federation.set_queued(2, 5)
    assert federation.all[broker_name(0)].victim(own_hunger=False) is None


def test_children_of_a_lost_broker_turn_to_its_parent() -> None:
    federation = Federation(40)
    federation.set_idle(39, 2)  # 39 -> 12 -> 3 -> 0
    federation.lose(12, 3)
    assert broker_name(39) in set(federation.all[broker_name(0)])
    assert list(federation.all[broker_name(39)]) == ["0"]
    assert federation.idle_at(1) == 2


def test_lost_broker_is_not_counted_on() -> None:
    federation = Federation(40)
    federation.set_idle(39, 2)
    federation.set_queued(38, 2)
    federation.lose(39, 38)
    for _ in range(10):
        federation.settle(tick=True)
    assert {each.idle for each in federation.all.values()} == {0}
    assert {each.victim(own_hunger=True) for each in federation.all.values()} == {None}


@pytest.mark.parametrize("losses", [(), (4,), (1, 4, 13)])
def test_all_are_connected(losses: tuple[int, ...]) -> None:
    federation = Federation(40)
    federation.lose(*losses)
    for name, each in federation.all.items():
        assert all(name in set(federation.all[peer]) for peer in each)
    reached, todo = set(), [broker_name(0)]
    while todo:
        name = todo.pop()
        reached.add(name)
        todo += set(federation.all[name]) - reached
    assert reached == federation.names


def test_who_joins_a_small_run_makes_it_a_tree_and_all_still_hear_of_the_idle() -> None:
    federation = Federation(4)
    federation.set_idle(3, 2)
    federation.names.add(broker_name(4))
    federation.all[broker_name(4)] = Neighbours(broker_name(4), POLICY)
    federation.loads[broker_name(4)] = (0, 0, 0)
    federation.meet()
    assert {federation.idle_at(node) for node in (0, 1, 2, 4)} == {2}


def test_word_of_one_who_knows_first_that_it_is_a_neighbour_counts_later() -> None:
    child = Neighbours(broker_name(4), POLICY)
    child.hear(Load(0, 7), broker_name(1))
    assert child.idle == 0
    child.meet(named((0, 1, 2, 3, 5)))
    assert child.idle == 7


def test_thief_that_got_nothing_is_told_of_what_it_may_not_have_at_the_next_tick() -> None:
    victim = Neighbours(broker_name(0), POLICY)
    victim.meet(named((1,)))
    assert [send.message for send in victim.news(1, 0, 0)] == [Load(1, 0)]
    victim.got_nothing(broker_name(1), 1)
    assert victim.news(1, 0, 0) == []
    assert [send.message for send in victim.tick(1, 0, 0)] == [Load(1, 0)]
    assert victim.tick(1, 0, 0) == []
    victim.got_nothing(broker_name(1), 0)
    assert [send.message for send in victim.news(1, 1, 0)] == [Load(1, 0)]


def test_tasks_that_are_on_their_way_make_both_ends_count_fewer_idle_workers_until_the_next_tick() -> None:
    federation = Federation(14)
    federation.set_idle(1, 3)
    giver, taker = federation.all[broker_name(0)], federation.all[broker_name(1)]
    assert giver.hungry(broker_name(2)) == [(broker_name(1), 3)]
    assert giver.hungry(broker_name(1)) == []
    giver.gave(broker_name(1), 2)
    assert giver.hungry(broker_name(2)) == [(broker_name(1), 1)]
    taker.got(broker_name(0), 2)
    federation.settle(tick=True)  # one more worker is idle there by now
    assert giver.hungry(broker_name(2)) == [(broker_name(1), 3)]


def test_who_has_given_tasks_has_fewer_and_another_is_asked_next() -> None:
    federation = Federation(13)
    thief, first, second = federation.all[broker_name(1)], *map(broker_name, (4, 5))
    thief.hear(Load(100, 0), first)
    thief.hear(Load(60, 0), second)
    victims = []
    for _ in range(3):
        victim = thief.victim(own_hunger=True)
        assert victim is not None
        victims.append(victim)
        thief.got(victim, 50)
    assert victims == [first, second, first]
    thief.got(first, 1000)
    thief.got(second, 1000)
    assert thief.victim(own_hunger=True) in (first, second)  # they may have got more


def test_hungriest_neighbour_is_the_first_and_the_parent_the_last() -> None:
    federation = Federation(14)
    federation.set_idle(4, 1)
    federation.set_idle(5, 3)
    federation.set_idle(2, 9)
    hungry = federation.all[broker_name(1)].hungry(broker_name(6))
    assert hungry == [(broker_name(5), 3), (broker_name(4), 1), (broker_name(0), 9)]


def test_nobody_is_hungry_behind_a_neighbour_where_all_tell_all() -> None:
    federation = Federation(3)
    federation.set_idle(1, 1)
    assert federation.all[broker_name(0)].hungry(broker_name(2)) == []


def way(federation: Federation, source: BrokerName, to: BrokerName) -> list[BrokerName]:
    """Return who has a message in turn on its way."""
    at = federation.all[source].way_to(to)
    passed = [at]
    while at != to:
        at = federation.all[at].next_hop(to)
        passed.append(at)
    return passed


def test_the_way_to_broker_0_and_from_it_leads_along_the_tree() -> None:
    federation = Federation(40)
    assert way(federation, broker_name(39), broker_name(0)) == ["12", "3", "0"]
    assert way(federation, broker_name(0), broker_name(39)) == ["3", "12", "39"]
    assert way(federation, broker_name(38), broker_name(39)) == ["39"]


def test_every_broker_is_reached_when_some_are_gone() -> None:
    federation = Federation(40)
    federation.lose(3, 12, 5, 2)
    for name in federation.names - {broker_name(0)}:
        up, down = way(federation, name, broker_name(0)), way(federation, broker_name(0), name)
        assert up[:-1] == down[-2::-1]
        assert len(up) <= 3


def test_few_brokers_reach_each_other_at_once() -> None:
    federation = Federation(4)
    assert way(federation, broker_name(3), broker_name(0)) == ["0"]


def test_way_that_led_over_a_lost_broker_is_known() -> None:
    federation = Federation(40)
    last, first = federation.all[broker_name(39)], federation.all[broker_name(0)]
    for node, is_above in ((12, True), (3, True), (13, False), (39, False)):
        assert last.leads_over(broker_name(0), named((node,))) == is_above
        assert first.leads_over(broker_name(39), named((node,))) == is_above


def test_part_of_the_nodes_that_is_behind_a_neighbour_is_that_of_its_branch() -> None:
    first, middle, last = (Federation(15).all[broker_name(node)] for node in (0, 1, 14))
    assert [first.part_behind(broker_name(child)) for child in (1, 2, 3)] == pytest.approx([6 / 15, 4 / 15, 4 / 15])
    assert middle.part_behind(broker_name(0)) == pytest.approx(9 / 15)
    assert [middle.part_behind(broker_name(child)) for child in (4, 5)] == pytest.approx([3 / 15, 1 / 15])
    assert last.part_behind(broker_name(4)) == pytest.approx(14 / 15)


def test_neighbours_that_tell_each_other_all_have_a_part_each() -> None:
    assert Federation(4).all[broker_name(0)].part_behind(broker_name(3)) == 1 / 4
