"""What a worker decides: events and the time go in, actions come out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from msgspec.structs import replace
from test_controller import Home

from scoop_hpc.errors import ProtocolError, UnpicklableError
from scoop_hpc.events import Event, Exported, GaveBack, LateOutcome, Observers
from scoop_hpc.pickling import batching
from scoop_hpc.protocol.messages import (
    Batch,
    Cancel,
    CancelAnswer,
    Demand,
    Gone,
    Hello,
    Loss,
    Query,
    QueryAnswer,
    Request,
    Results,
    Shared,
    Stop,
    Tasks,
    Terms,
    Withdraw,
)
from scoop_hpc.protocol.names import ORIGIN, NodeIndex, WorkerName, worker_name
from scoop_hpc.worker.durations import Cost, Leaving, Unforeseeable
from scoop_hpc.worker.exchange import Exchange
from scoop_hpc.worker.future import Future, Waits
from scoop_hpc.worker.policy import Policy
from scoop_hpc.worker.state import Action, Export, GiveBack, Reply, SendOutcomes, WorkerState
from scoop_hpc.worker.tasks import Task, opened
from scoop_hpc.worker.threads.progress_thread import ProgressThread

WORKER = worker_name(1, 0)
NOBODY_WAITS = cast(Waits, None)


def worker(size: int = 4, name: WorkerName = WORKER, **options: Any) -> WorkerState:
    """Return a worker at the time 100, whom nobody wants anything of."""
    state = WorkerState(name, size, 100.0, **options)
    state.wanted = 0
    return state


def cost_of(seconds: float | None = None) -> Cost:
    cost = Cost()
    if seconds is not None:
        cost.learn(seconds)
    return cost


def submit(
    state: WorkerState, cost: Cost, count: int = 1, now: float = 100.0, function: Callable[..., Any] = abs
) -> list[Future]:
    futures = [Future(NOBODY_WAITS, function, (n,), {}, cost) for n in range(count)]
    for future in futures:
        state.submitted(future, now)
    return futures


def done(state: WorkerState) -> list[Action]:
    """Return what the state wants done, as a shell does it: what is exported is under way then."""
    actions = list(state.outbox)
    state.outbox.clear()
    return actions


def groups(state: WorkerState) -> list[int]:
    """Return how many calls travel together in each batch that is exported."""
    return [len(group) for action in done(state) if isinstance(action, Export) for group in action.groups]


def calls(first: int, *values: Any) -> Batch:
    items = [batching.pack_item((value,), {}) for value in values]
    return Batch(ORIGIN, first, batching.dump_calls(abs, items), len(values))


def no_cost(_: object) -> Cost:
    return Cost()


def open_next(state: WorkerState) -> None:
    batch = state.next_task()
    assert isinstance(batch, Batch)
    state.opened(batch, opened(batch, no_cost))


def begin_next(state: WorkerState) -> int:
    task = state.next_task()
    assert isinstance(task, Task)
    return task.serial


def given_back(state: WorkerState) -> list[int]:
    """Return the serials of the tasks that are given back."""
    serials: list[int] = []
    for action in done(state):
        if isinstance(action, GiveBack):
            for given in action.given:
                every = range(given.serial, given.serial + given.count)
                serials += [serial for serial in every if serial not in given.dropped]
    return serials


# what leaves


def test_tasks_that_last_leave_at_once_whatever_is_in_front_of_them() -> None:
    state = worker()
    submit(state, cost_of(4e-6), 2)  # too short for a journey
    submit(state, cost_of(0.5))
    assert groups(state) == [1]
    assert len(state.local) == 2


@pytest.mark.parametrize(("known", "is_spared"), [(None, True), (0.005, False)])
def test_tasks_that_may_be_brief_leave_together_while_nobody_is_idle(known: float | None, is_spared: bool) -> None:
    state = worker(is_spared=is_spared)
    submit(state, cost_of(known), 100)
    assert groups(state) == []
    state.before_poll(100.0, waits=False)
    assert groups(state) == [1] * 100


@pytest.mark.parametrize("known", [None, 0.005])
def test_tasks_that_may_be_brief_leave_at_once_while_others_want_them(known: float | None) -> None:
    state = worker()
    state.receive(Demand(1))
    submit(state, cost_of(known))
    assert groups(state) == [1]


def test_tasks_of_a_new_function_stay_with_the_task_that_submits_them_until_others_want_them() -> None:
    state, cost = worker(), cost_of()
    futures = submit(state, cost, 10)
    state.before_poll(100.0, waits=True)
    assert groups(state) == []
    assert not state.has_to_share()
    state.receive(Demand(2))
    assert state.has_to_share()
    state.share()
    assert groups(state) == [1, 1]
    assert list(state.local) == futures[2:]
    cost.learn(1.0)  # one was tried
    state.share()
    assert groups(state) == [1] * 8


@pytest.mark.parametrize("cost", [Unforeseeable(), Leaving()])
def test_tasks_of_which_a_first_tells_nothing_or_may_take_the_worker_down_leave(cost: Cost) -> None:
    state = worker()
    submit(state, cost, 2)
    assert not state.local
    state.before_poll(100.0, waits=False)
    assert groups(state) == [1, 1]


@pytest.mark.parametrize(("is_spared", "leaves"), [(True, True), (False, False)])
def test_arguments_that_the_program_may_change_leave_at_once_if_the_function_is_new(
    is_spared: bool, leaves: bool
) -> None:
    state = worker(is_spared=is_spared)
    state.submitted(Future(NOBODY_WAITS, len, ([],), {}, cost_of()), 100.0)
    assert groups(state) == [1] * leaves


def test_tasks_that_turn_out_to_be_short_stay() -> None:
    state, cost = worker(is_spared=True), cost_of()
    (first,) = submit(state, cost)
    state.before_poll(100.0, waits=False)
    done(state)
    state.exported([first], [b""])
    submit(state, cost, 3)
    outcome = Batch(state.name, 0, [b""], done=(first.serial,))
    assert state.is_new(outcome)
    state.learn_of(first.serial, 2e-6)
    assert not state.is_new(outcome)
    state.before_poll(100.0, waits=False)
    assert groups(state) == []
    assert len(state.local) == 3


def test_link_is_looked_at_a_millisecond_after_the_last_time() -> None:
    state = worker()
    future = Future(NOBODY_WAITS, abs, (1,), {}, cost_of(4e-6))
    assert not state.submitted(future, 100.0009)
    assert state.submitted(future, 100.0011)


def test_wanted_tasks_are_exported_oldest_first_and_at_most_half_of_them() -> None:
    state = worker()
    futures = submit(state, cost_of(1.1e-5), 200)
    assert groups(state) == []
    state.receive(Demand(1))
    assert state.has_to_share()
    state.share()
    (export,) = done(state)
    assert isinstance(export, Export)
    (group,) = export.groups
    assert list(group) == futures[: len(group)]
    assert list(state.local) == futures[len(group) :]
    assert 80 < len(group) <= 101  # a batch takes 2 ms, 181 of them


def test_a_few_short_tasks_are_not_worth_a_journey() -> None:
    state = worker()
    submit(state, cost_of(4e-6), 3)
    state.receive(Demand(2))
    state.share()
    assert groups(state) == []


def test_tasks_shorter_than_their_journey_stay() -> None:
    state = worker()
    submit(state, cost_of(1e-6), 1000)
    state.receive(Demand(2))
    state.share()
    assert groups(state) == []


def test_tasks_that_spawn_leave_one_by_one() -> None:
    state = worker()
    cost = cost_of(4e-6)
    cost.spawns = True
    futures = submit(state, cost, 3)
    state.receive(Demand(2))
    state.share()
    assert groups(state) == [1, 1]
    assert list(state.local) == futures[2:]


def test_one_call_that_takes_long_for_once_does_not_send_all_others_away() -> None:
    state = worker()
    cost = cost_of(1e-6)
    futures = submit(state, cost, 3000)
    cost.learn(0.05)
    assert state.has_to_share()
    state.share()
    most = state.policy.share_batches
    assert groups(state) == [1] * most
    assert list(state.local) == futures[most:]
    for _ in range(20):
        cost.learn(1e-6)
    assert not state.has_to_share()
    state.share()
    assert groups(state) == []


def test_all_that_may_last_leave_between_looks_at_the_link() -> None:
    state = worker()
    cost = cost_of(1e-6)
    futures = submit(state, cost, 2500)
    cost.learn(0.05)
    gone: list[Future] = []
    while state.has_to_share():
        state.share()
        (export,) = done(state)
        assert isinstance(export, Export)
        gone += [future for group in export.groups for future in group]
    assert gone == futures


def test_what_is_waited_for_leaves_first_wherever_it_is() -> None:
    home = Home(WORKER)
    exchange = Exchange(home, WORKER, 4)
    cost = cost_of(1e-6)
    futures = submit(exchange.state, cost, 3000)
    cost.learn(0.05)
    exchange.send_away(futures[2900])
    assert futures[2900].serial == 1
    most = exchange.state.policy.share_batches
    assert [future.serial for future in futures[:most]] == list(range(2, most + 2))
    assert [future for future in futures if future.function is not None] == futures[most:2900] + futures[2901:]


def test_quick_calls_that_are_handed_out_travel_together() -> None:
    state = worker()
    submit(state, cost_of(1e-5), 1000)
    state.give_back()
    assert sum(sizes := groups(state)) == 1000
    assert len(sizes) <= 6


def test_calls_of_different_functions_leave_apart() -> None:
    state = worker()
    cost = cost_of(0.0005)
    submit(state, cost, 2, function=abs)
    submit(state, cost, 2, function=len)
    state.receive(Demand(1))
    state.share(however_short=True)
    assert groups(state) == [2]


def test_worker_alone_keeps_everything() -> None:
    state = worker(size=1)
    submit(state, cost_of(4e-6), 10)
    assert not state.has_to_share()
    state.share(however_short=True)
    assert done(state) == []


def test_exported_tasks_have_serials_of_their_own_and_fewer_are_wanted() -> None:
    state = worker()
    state.receive(Demand(2))
    first, second = submit(state, cost_of(1.0), 2)
    assert state.exported([first], [b"1"]) == Batch(WORKER, 1, [b"1"], 1)
    assert state.exported([second], [b"2"]) == Batch(WORKER, 2, [b"2"], 1)
    assert (state.wanted, state.sent) == (0, {1: first, 2: second})


def test_outcome_is_claimed_once() -> None:
    told: list[Event] = []
    state = worker(observers=Observers([told.append]))
    (future,) = submit(state, cost_of(1.0))
    state.exported([future], [])
    assert state.claim(1, 0.5) is future
    assert state.claim(1, 0.5) is None
    assert state.late == 1
    assert told == [Exported(WORKER, 1, 1), LateOutcome(WORKER, 1)]


def test_abandoned_future_is_cancelled_wherever_it_is() -> None:
    state = worker()
    (future,) = submit(state, cost_of(1.0))
    done(state)
    state.exported([future], [])
    state.abandon(future)
    state.abandon(future)
    assert done(state) == [Cancel(WORKER, 1)]


# what is asked for


def test_idle_worker_asks_for_tasks_once() -> None:
    state = worker()
    for _ in range(3):
        state.want()
        state.flush()
    assert done(state) == [Request(1, 1, idle=True, begun=0)]


def test_answered_worker_asks_again() -> None:
    state = worker()
    state.want()
    state.flush()
    state.receive(Tasks([calls(1, -1)], answer=1))
    open_next(state)
    begin_next(state)
    done(state)
    state.want()
    state.flush()
    (request,) = done(state)
    assert isinstance(request, Request)
    assert (request.number, request.idle, request.begun) == (2, True, 1)


def test_quick_tasks_are_asked_for_many_at_once() -> None:
    state, slow = worker(), worker()
    for _ in range(100):
        state.finished(ORIGIN, (1, 1, 1e-6), now=100.0)
        slow.finished(ORIGIN, (1, 1, 10.0), now=100.0)
    for each in (state, slow):
        each.want()
        each.flush()
    asked = [action.request for each in (state, slow) for action in done(each) if isinstance(action, SendOutcomes)]
    assert asked == [Request(512), Request(1)]


def test_what_was_asked_for_is_withdrawn_by_who_goes_on_with_its_own() -> None:
    state = worker()
    state.want()
    state.flush()
    state.withdraw()
    assert done(state) == [Request(1), Withdraw(0)]


def test_more_is_asked_for_before_the_end_of_the_last_task() -> None:
    state = worker()
    state.receive(Tasks([calls(1, -1)]))
    batch = state.next_task()
    assert isinstance(batch, Batch)
    state.opened(batch, opened(batch, lambda function: cost_of(0.01)))
    begin_next(state)
    state.flush()
    (request,) = done(state)
    assert isinstance(request, Request)
    assert not request.idle


# outcomes


def test_outcomes_wait_for_others_while_nobody_is_idle() -> None:
    state = worker()
    state.finished(ORIGIN, (1, 1, 0.0), now=100.0)
    state.before_poll(100.001, waits=False)
    assert done(state) == []
    state.receive(Demand(1, idle=1))
    state.before_poll(100.002, waits=False)
    assert done(state) == [SendOutcomes({ORIGIN: [(1, 1, 0.0)]}, None)]


def test_outcomes_are_not_held_back_for_long() -> None:
    state = worker()
    state.finished(ORIGIN, (1, 1, 0.0), now=100.0)
    state.finished(ORIGIN, (2, 2, 0.0), now=100.02)
    assert not state.is_urgent(100.029)
    assert state.is_urgent(100.031)


def test_outcomes_and_a_request_travel_together() -> None:
    state = worker()
    state.finished(ORIGIN, (1, 1, 0.0), now=100.0)
    state.want()
    state.before_poll(100.0, waits=True)
    assert done(state) == [SendOutcomes({ORIGIN: [(1, 1, 0.0)]}, Request(1))]


def test_before_a_long_call_outcomes_go_and_what_would_wait_is_given_back() -> None:
    told: list[Event] = []
    state = worker(observers=Observers([told.append]))
    state.receive(Tasks([calls(1, -1, -2)]))
    state.finished(ORIGIN, (9, 1, 0.0), now=100.0)
    state.prepare(cost_of(1.0), 100.0)
    back, outcomes = done(state)
    assert isinstance(back, GiveBack)
    assert isinstance(outcomes, SendOutcomes)
    assert told == [GaveBack(WORKER, 2)]


# the inbox


@pytest.mark.parametrize("gone", [Gone(workers=(ORIGIN,)), Gone(nodes=(NodeIndex(0),))])
def test_batch_whose_owner_goes_while_it_is_opened_is_dropped(gone: Gone) -> None:
    state = worker()
    state.receive(Tasks([calls(1, -1, -2)]))
    batch = state.next_task()
    assert isinstance(batch, Batch)
    tasks = opened(batch, no_cost)  # which takes a while, in which another thread looks at the link
    state.receive(gone)
    state.opened(batch, tasks)
    assert state.next_task() is None


def begun_batch(batch: Batch, cost: Cost) -> tuple[WorkerState, Task]:
    """Return a worker that has opened *batch*, of calls of this *cost*, and begun the first of these."""
    state = worker()
    state.receive(Tasks([batch]))
    given = state.next_task()
    assert isinstance(given, Batch)
    state.opened(given, opened(given, lambda _: cost))
    task = state.next_task()
    assert isinstance(task, Task)
    state.flush()
    done(state)
    return state, task


def test_quick_tasks_of_a_batch_follow_each_other_until_it_is_time_to_look_around() -> None:
    state, task = begun_batch(calls(1, 10, 20, 30, 40), cost_of(0.00001))
    serials = []
    for now in (100.0001, 100.0005, 100.0011):
        following = state.next_alike(task, now)
        if following is not None:
            serials.append((following.serial, state.busy_since))
    assert serials == [(2, 100.0001), (3, 100.0005)]
    assert [given.serial for given in state.inbox] == [4]


@pytest.mark.parametrize(
    ("other", "seconds"),
    [
        ({}, None),
        ({}, 0.002),
        ({"owner": worker_name(7, 7)}, 0.00001),
        ({"losses": (Loss("n2: killed by SIGKILL"),)}, 0.00001),
        ({"terms": Terms(5)}, 0.00001),
        ({"frames": batching.dump_calls(len, [("ab",), ("cd",)])}, 0.00001),
    ],
)
def test_other_tasks_do_not_follow_each_other(other: dict[str, Any], seconds: float | None) -> None:
    cost = cost_of(seconds)
    state, task = begun_batch(calls(1, 10), cost)
    state.receive(Tasks([replace(calls(2, 20, 30), **other)]))
    open_next(state)
    assert state.next_alike(task, 100.0001) is None
    assert [given.serial for given in state.inbox] == [2, 3]


def test_task_with_a_time_limit_is_followed_by_none() -> None:
    state, task = begun_batch(replace(calls(1, 10, 20), terms=Terms(time_limit=5.0)), cost_of(0.00001))
    assert state.next_alike(task, 100.0001) is None


def test_no_task_follows_after_the_end() -> None:
    state, task = begun_batch(calls(1, 10, 20), cost_of(0.00001))
    state.receive(Stop())
    assert state.next_alike(task, 100.0001) is None


def test_what_a_task_has_submitted_comes_first() -> None:
    cost = cost_of(0.00001)
    state, task = begun_batch(calls(1, 10, 20), cost)
    submit(state, cost)
    assert state.next_alike(task, 100.0001) is None


def test_opened_batch_is_given_back_as_the_same_calls() -> None:
    state = worker()
    state.receive(Tasks([calls(1, -1, [2], "three"), calls(4, -4)]))
    open_next(state)
    assert begin_next(state) == 1
    state.give_back_inbox()
    assert given_back(state) == [2, 3, 4]
    assert not state.inbox


@pytest.mark.parametrize("open_first", [False, True])
def test_cancelled_call_is_dropped_and_found_no_more(open_first: bool) -> None:
    state = worker()
    state.receive(Tasks([calls(1, 10, 20, 30)]))
    if open_first:
        open_next(state)
    stranger = worker_name(7, 7)
    state.receive(Query(ORIGIN, 2, 1))
    state.receive(Cancel(ORIGIN, 2, 2))
    state.receive(Cancel(ORIGIN, 2, 3))
    state.receive(Query(ORIGIN, 2, 4))
    state.receive(Cancel(stranger, 1))
    assert done(state) == [
        QueryAnswer(ORIGIN, 2, 1, is_queued=True),
        CancelAnswer(ORIGIN, 2, 2, is_dropped=True),
        CancelAnswer(ORIGIN, 2, 3, is_dropped=False),
        QueryAnswer(ORIGIN, 2, 4, is_queued=False),
        CancelAnswer(stranger, 1, None, is_dropped=False),
    ]
    state.give_back_inbox()
    assert given_back(state) == [1, 3]


def test_batch_whose_calls_are_all_cancelled_is_gone() -> None:
    state = worker()
    state.receive(Tasks([calls(1, 10, 20)]))
    state.receive(Cancel(ORIGIN, 1))
    state.receive(Cancel(ORIGIN, 2))
    assert not state.inbox
    done(state)
    state.want()
    state.flush()
    (request,) = done(state)
    assert isinstance(request, Request)
    assert request.begun == 2  # none of them can be cancelled any more


def test_call_dropped_on_the_way_is_not_opened() -> None:
    state = worker()
    batch = calls(1, 10, 20)
    state.receive(Tasks([Batch(batch.owner, 1, batch.frames, 2, (1,))]))
    open_next(state)
    assert begin_next(state) == 2
    assert not state.inbox


def test_call_that_cannot_be_pickled_again_is_refused_and_the_others_go() -> None:
    home = Home(WORKER)
    exchange = Exchange(home, WORKER, 4)
    bad = Task(calls(1, 1), 1, threading.Lock().acquire, (1,), Cost())
    exchange.state.receive(Tasks([calls(2, 5)]))
    exchange.state.opened(calls(1, 1), [bad])
    exchange.give_back()
    exchange.flush()
    tasks, results = [message for message in home.sent if isinstance(message, (Tasks, Results))]
    assert isinstance(tasks, Tasks)
    assert [(batch.serial, batch.count) for batch in tasks.batches] == [(2, 1)]
    assert isinstance(results, Results)
    ((serial, item, _),) = batching.load_outcomes(results.batches[0].frames)
    assert serial == 1
    assert isinstance(batching.value_of(item)[1], UnpicklableError)


@pytest.mark.parametrize("batch", [Batch(ORIGIN, 7, batching.dump_call(abs, ([1],), {})), calls(7, [1])])
def test_call_that_came_alone_goes_on_alone(batch: Batch) -> None:
    home = Home(WORKER)
    exchange = Exchange(home, WORKER, 4)
    exchange.state.receive(Tasks([batch]))
    open_next(exchange.state)
    exchange.give_back()
    (again,) = [message for message in home.sent if isinstance(message, Tasks)]
    (task,) = opened(again.batches[0], no_cost)
    assert (task.serial, task.arguments()) == (7, (([1],), {}))


# questions


def test_answer_goes_to_who_asked() -> None:
    state = worker()
    answers: list[Any] = []
    number = state.question(lambda number: Query(WORKER, 5, number), answers.append)
    answer = QueryAnswer(WORKER, 5, number, is_queued=True)
    state.receive(answer)
    assert done(state) == [Query(WORKER, 5, number), Reply(answers.append, answer)]


def test_answer_that_nobody_waits_for_is_dropped() -> None:
    state = worker()
    number = state.question(lambda number: Query(WORKER, 5, number), pytest.fail)
    state.forget(number)
    done(state)
    state.receive(QueryAnswer(WORKER, 5, number, is_queued=True))
    state.receive(Shared("x", None, None))
    assert done(state) == []


def test_task_found_late_in_a_queue_is_cancelled_all_the_same() -> None:
    state = worker()
    (future,) = submit(state, cost_of(1.0))
    state.exported([future], [])
    state.receive(CancelAnswer(WORKER, 1, None, is_dropped=True))
    assert [each for each, _ in state.failed] == [future]
    assert not state.sent


def test_foreign_message_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        worker().receive(Hello(1, "3.11", "n", "h", 1, 1))


def test_stop_ends_it() -> None:
    state = worker()
    state.receive(Stop())
    assert state.stopped


# while the main thread is busy


def test_somebody_else_looks_once_the_users_code_lasts() -> None:
    state = worker()
    assert not state.is_neglected(200.0)
    state.busy_since = 200.0
    assert not state.is_neglected(200.002)
    assert state.is_neglected(200.004)
    state.busy_since = 0.0
    assert not state.is_neglected(300.0)


def test_queued_tasks_leave_a_busy_worker_however_short_they_are() -> None:
    state = worker()
    submit(state, cost_of(4e-6), 2)
    state.receive(Demand(1))
    state.busy_since = 100.0
    state.look(100.01)
    assert groups(state) == [2]


def test_busy_worker_gives_back_what_it_will_not_come_to_soon() -> None:
    state = worker()
    state.busy_since = 100.0
    state.receive(Tasks([calls(1, -1)]))
    state.look(100.09)
    assert given_back(state) == []
    state.look(100.11)
    assert given_back(state) == [1]


def test_busy_worker_gives_back_at_once_what_others_are_idle_for() -> None:
    state = worker()
    state.busy_since = 100.0
    state.receive(Tasks([calls(1, -1)]))
    state.receive(Demand(1, idle=1))
    state.look(100.01)
    assert given_back(state) == [1]


def test_busy_worker_finds_out_what_comes_after_it_wanted_no_more() -> None:
    state = worker()
    state.want()
    state.flush()
    state.withdraw()  # which the broker gets when it has already sent what was asked for
    state.busy_since = 100.0
    assert done(state) == [Request(1), Withdraw(0)]
    assert state.next_look(is_watched=False) is not None
    state.look(100.1)
    state.look(100.2)
    assert done(state) == [Withdraw(0, number=2)]
    state.receive(Tasks([calls(1, -1)], answer=1))
    state.look(100.3)
    assert given_back(state) == [1]
    state.receive(Tasks([], answer=2))
    assert state.next_look(is_watched=False) is None


def test_nothing_is_in_doubt_once_the_last_request_is_answered() -> None:
    state = worker()
    state.want()
    state.flush()
    state.withdraw()
    state.receive(Tasks([calls(1, -1)], answer=1))
    open_next(state)
    begin_next(state)
    state.withdraw()
    done(state)
    state.busy_since = 100.0
    state.look(100.1)
    state.receive(Tasks([], answer=2))
    assert not [action for action in done(state) if isinstance(action, Withdraw) and action.number]
    assert state.next_look(is_watched=False) is None


def test_worker_that_has_begun_something_is_not_idle_any_more() -> None:
    state = worker()
    state.want()
    state.flush()
    state.busy_since = 100.0
    assert done(state) == [Request(1)]
    state.look(100.01, is_served=True)  # in its place, another thread waits for tasks
    assert done(state) == []
    state.look(100.02)
    assert done(state) == [Request(1, 2, idle=False)]


def test_substitute_that_has_just_begun_keeps_what_waits_for_it() -> None:
    state = worker()
    state.busy_since = 100.0
    state.receive(Tasks([calls(1, -1)]))
    state.substituted_since = 100.1
    state.look(100.19)
    assert given_back(state) == []


def test_looks_get_rarer_and_end_when_nothing_waits() -> None:
    state = worker(policy=Policy(first_look=1.0, longest_look=3.0))
    assert state.next_look(is_watched=False) is None
    submit(state, cost_of(4e-6))
    assert [state.next_look(is_watched=False) for _ in range(3)] == [2.0, 3.0, 3.0]
    state.local.clear()
    assert state.next_look(is_watched=True) == 3.0
    assert state.next_look(is_watched=False) is None


def test_futures_that_are_gathered_leave_together() -> None:
    state = worker()
    state.gathers = True
    submit(state, cost_of(0.5), count=2)
    assert done(state) == []
    assert state.is_due
    state.share()
    (action,) = done(state)
    assert isinstance(action, Export)
    assert len(action.groups) == 2


def test_what_the_main_thread_waits_for_at_the_link_needs_no_look() -> None:
    state = worker()
    state.want()
    state.flush()
    assert state.next_look(is_watched=False, main_waits=True) is None
    assert state.next_look(is_watched=False) is not None
    submit(state, cost_of(4e-6))
    assert state.next_look(is_watched=False, main_waits=True) is not None


def test_failure_of_the_progress_thread_is_kept_for_the_main_thread() -> None:
    failed = threading.Event()

    def look() -> float | None:
        failed.set()
        raise OSError("no more")

    progress_thread = ProgressThread(look, 0.001)
    progress_thread.arm()
    failed.wait()
    thread = progress_thread._thread
    assert thread is not None
    thread.join()
    assert isinstance(progress_thread.error, OSError)


class BackMeanwhile:
    """A lock that the main thread holds until it is done with its task: then it looks after the queues itself."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        self._exchange.state.busy_since = 0.0

    def __exit__(self, *exc_info: object) -> None:
        pass


def test_other_thread_does_not_take_what_the_main_thread_is_about_to_wait_for() -> None:
    home = Home()
    exchange = Exchange(home, ORIGIN, 4)
    exchange.state.receive(Tasks([calls(1, 10)]))
    exchange.state.busy_since = 1e-9  # for as long as the machine is up
    exchange.lock = BackMeanwhile(exchange)  # type: ignore[assignment]
    assert exchange._progress() is not None
    assert len(exchange.state.inbox) == 1
    assert home.sent == []
    exchange.lock = threading.RLock()
    exchange.state.busy_since = 1e-9
    exchange._progress()
    assert len(exchange.state.inbox) == 0
    assert isinstance(home.sent[0], Tasks)


def test_opened_tasks_are_looked_after_even_if_it_took_long_to_open_them() -> None:
    exchange = Exchange(Home(), ORIGIN, 4)
    exchange.state.receive(Tasks([calls(1, -1, -2, -3)]))
    batch = exchange.next_task()
    assert isinstance(batch, Batch)
    exchange.progress_thread.armed = False  # it has found nothing that waits

    assert exchange.open(batch, no_cost) is not None
    assert exchange.progress_thread.armed
