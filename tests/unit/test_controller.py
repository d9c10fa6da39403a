"""Futures on one worker, whose broker is played by the test."""

from __future__ import annotations

import concurrent.futures
import operator
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from scoop_hpc import futures
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.errors import InputError, ProgramError, TaskError
from scoop_hpc.pickling import batching, pickles
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import (
    Batch,
    Message,
    Ready,
    Request,
    Results,
    Tasks,
)
from scoop_hpc.protocol.names import ORIGIN, ProcessName, broker_of, worker_name
from scoop_hpc.worker import current
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.durations import Cost, Durations
from scoop_hpc.worker.policy import DEFAULT, Policy
from scoop_hpc.worker.program.process_state import ProcessState
from scoop_hpc.worker.state import Export


class Home:
    """A broker in memory, which has this worker only: what is exported comes back when the worker asks for tasks."""

    def __init__(self, name: str = "0.0", hands_out: bool = True) -> None:
        self.name = name
        self.sent: list[Message] = []
        self.arriving: list[Message] = []
        self.woken = threading.Event()
        self.exported = 0
        self.hands_out = hands_out
        self.broker = BrokerState(broker_of(name))
        self.broker.handle(Ready(), ProcessName(name))

    def send(self, message: Message) -> None:
        message = codec.decode(codec.encode(message))
        self.sent.append(message)
        self.exported += len(message.batches) if isinstance(message, Tasks) else 0
        if self.hands_out or not isinstance(message, Request):
            self.arriving += [send.message for send in self.broker.handle(message, ProcessName(self.name))]

    def wake(self) -> None:
        self.woken.set()

    def descriptor(self) -> int | None:
        return None

    def receive(self) -> list[Message]:
        arrived, self.arriving = self.arriving, []
        return arrived

    def wait(self, timeout: float | None) -> None:
        assert self.woken.wait(5 if timeout is None else min(timeout, 0.001)) or timeout is not None, "for ever"
        self.woken.clear()


Run = Callable[..., Any]


@pytest.fixture(params=[1, 4], ids=["alone", "among others"])
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a function as the origin's program, on a worker alone or one of four; return its result."""

    def run(
        program: Callable[[], Any], link: Home | None = None, size: int = request.param, policy: Policy = DEFAULT
    ) -> Any:
        link = link or Home()
        worker = Controller(link, ORIGIN, size, policy=policy)
        monkeypatch.setattr(current, "_worker", worker)
        results = []
        # a program that fails does not wait for what it submitted
        worker.loop.run_program(lambda: results.append(program()) or int(not link.hands_out))  # type: ignore[func-returns-value]
        return results[0]

    handler = signal.getsignal(signal.SIGINT)
    yield run
    signal.signal(signal.SIGINT, handler)


def square(x: int) -> int:
    return x * x


def fail(x: int) -> int:
    raise KeyError(x)


def fib(n: int) -> int:
    if n < 2:
        return n
    left, right = futures.submit(fib, n - 1), futures.submit(fib, n - 2)
    return int(left.result()) + int(right.result())


def test_submit_gives_the_result(run: Run) -> None:
    assert run(lambda: futures.submit(square, 7).result()) == 49


def test_worker_is_not_busy_once_its_program_has_ended(run: Run) -> None:
    busy = []

    class Watched(Home):
        def receive(self) -> list[Message]:
            worker = current.running()
            if worker is not None and worker.loop.ending and worker.loop.is_current():
                busy.append(worker.exchange.state.busy_since)
            return super().receive()

    run(lambda: futures.submit(time.sleep, 0), Watched(), size=4)
    assert set(busy) == {0.0}


def test_program_ends_although_what_was_to_leave_has_been_run_here(run: Run) -> None:
    def program() -> int:
        worker = current.running()
        assert worker is not None
        under_way: list[Any] = [futures.submit(square, i) for i in (1, 2, 3)]
        worker.exchange.state.leaving.extend(under_way)
        worker.exchange.state.local.clear()
        for future in under_way:
            worker.runner.run_future(future)
        return sum(future.result() for future in under_way)

    assert run(program) == 14


def test_exception_comes_back_as_itself(run: Run) -> None:
    with pytest.raises(KeyError, match="7"):
        run(lambda: futures.submit(fail, 7).result())
    assert isinstance(run(lambda: futures.submit(fail, 7).exception()), KeyError)


def test_futures_inside_futures(run: Run) -> None:
    assert run(lambda: futures.submit(fib, 12).result()) == 144


def test_chain_deeper_than_the_stack(run: Run) -> None:
    def chain(n: int) -> int:
        return 0 if n == 0 else 1 + int(futures.submit(chain, n - 1).result())

    assert run(lambda: chain(3000), size=1) == 3000


def test_task_as_deep_as_its_caller_has_a_stack_of_its_own(run: Run) -> None:
    def deep(frames: int, levels: int) -> int:
        if frames:
            return deep(frames - 1, levels)
        return 0 if not levels else 1 + int(futures.submit(deep, 600, levels - 1).result())

    assert run(lambda: futures.submit(deep, 600, 5).result(), size=1) == 5


def test_map_keeps_the_order(run: Run) -> None:
    assert run(lambda: list(futures.map(square, range(1000)))) == [n * n for n in range(1000)]


def test_map_over_several_iterables_stops_at_the_shortest(run: Run) -> None:
    assert run(lambda: list(futures.map(pow, [2, 3, 4], [3, 2]))) == [8, 9]


def test_map_reads_an_endless_iterable_as_needed(run: Run) -> None:
    def program() -> list[int]:
        results = futures.map(square, iter(int, 1))
        return [next(results) for _ in range(5)]

    assert run(program) == [0] * 5


def test_map_raises_at_the_place_of_the_failure(run: Run) -> None:
    def program() -> list[float]:
        got: list[float] = []
        with pytest.raises(ZeroDivisionError):
            got.extend(futures.map(lambda x: 6 / x, [1, 2, 0, 3]))
        return got

    assert run(program) == [6, 3]


def test_map_raises_what_its_iterable_raises_after_the_results_before(run: Run) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("no more")

    def program() -> list[int]:
        got: list[int] = []
        with pytest.raises(OSError, match="no more"):
            got.extend(futures.map(square, items()))
        return got

    assert run(program) == [1, 4]


def test_map_begins_before_its_results_are_asked_for(run: Run) -> None:
    link = Home()

    def program() -> int:
        futures.map(square, range(100))
        return link.exported

    assert run(program, link, size=4) > 0


def test_map_as_completed_gives_every_result(run: Run) -> None:
    assert sorted(run(lambda: list(futures.map_as_completed(square, range(500))))) == [n * n for n in range(500)]


@pytest.mark.parametrize("chunksize", [0, -1])
def test_map_refuses_an_impossible_chunksize(run: Run, chunksize: int) -> None:
    with pytest.raises(InputError, match=str(chunksize)):
        run(lambda: futures.map(square, [1], chunksize=chunksize))


def test_what_is_not_callable_is_refused(run: Run) -> None:
    with pytest.raises(TypeError, match="not callable"):
        run(lambda: futures.submit(3))  # type: ignore[arg-type]


def test_type_checker_knows_what_a_task_takes_and_what_it_returns(run: Run) -> None:
    def program() -> list[int]:
        future: concurrent.futures.Future[int] = futures.submit(square, 3)
        text: str = future.result()  # type: ignore[assignment]
        with pytest.raises(TypeError):
            futures.submit(square, "3").result()  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            futures.submit(square).result()  # type: ignore[call-arg]
        kept: futures.Future[int] = next(futures.as_completed([*futures.wait([future]).done]))
        results: Iterator[int] = futures.map(square, [4])
        names: Iterator[str] = futures.map_as_completed(square, [5])  # type: ignore[arg-type]
        total: int = futures.map_reduce(square, operator.add, [6])
        return [int(text), kept.result(), *results, *map(int, names), total]

    assert run(program) == [9, 9, 16, 25, 36]


def test_unpicklable_argument_is_an_error_of_that_one_future(run: Run) -> None:
    def program() -> Any:
        good, bad = futures.submit(square, 3), futures.submit(operator.not_, threading.Lock())
        with pytest.raises(TaskError, match="lock"):
            bad.result()
        return good.result()

    assert run(program, size=4) == 9


def test_unpicklable_item_of_map_is_an_error_at_its_place(run: Run) -> None:
    def program() -> list[Any]:
        got: list[Any] = []
        with pytest.raises(TaskError, match="lock"):
            got.extend(futures.map(str, [1, 2, threading.Lock(), 4], chunksize=4))
        return got

    assert run(program, size=4, policy=Policy(short=-1.0)) == ["1", "2"]


def test_wait_for_the_first(run: Run) -> None:
    def program() -> tuple[int, int]:
        done, not_done = futures.wait([futures.submit(square, n) for n in range(3)], return_when="FIRST_COMPLETED")
        return len(done) >= 1, len(done) + len(not_done)

    assert run(program) == (True, 3)


def test_wait_for_the_first_exception(run: Run) -> None:
    def program() -> bool:
        failing = futures.submit(fail, 1)
        return failing in futures.wait([failing, futures.submit(square, 1)], return_when="FIRST_EXCEPTION").done

    assert run(program)


def test_wait_refuses_an_unknown_word(run: Run) -> None:
    with pytest.raises(InputError, match="'SOME'"):
        run(lambda: futures.wait([], return_when="SOME"))


def test_as_completed_runs_short_tasks_without_leaving_its_greenlet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def program() -> set[int]:
        controller = current.current()
        kept = keep(controller, 10)
        monkeypatch.setattr(controller.loop, "leave", pytest.fail)
        return {future.result() for future in futures.as_completed(kept)}

    assert run(program, policy=Policy(poll_seconds=60.0)) == {n * n for n in range(10)}


def test_as_completed_yields_each_once(run: Run) -> None:
    def program() -> list[int]:
        return sorted(f.result() for f in futures.as_completed([futures.submit(square, n) for n in range(50)]))

    assert run(program) == sorted(n * n for n in range(50))


@pytest.mark.parametrize(
    "wait",
    [
        lambda future: future.result(timeout=0.01),
        lambda future: future.exception(timeout=0.01),
        lambda future: next(futures.as_completed([future], timeout=0.01)),
        lambda future: next(futures.map(square, [1], timeout=0.01)),
        lambda future: next(futures.map_as_completed(square, [1], timeout=0.01)),
    ],
)
def test_timeout_is_honoured(run: Run, wait: Callable[[futures.Future[Any]], Any]) -> None:
    link = Home(hands_out=False)
    with pytest.raises(futures.TimeoutError):
        run(lambda: wait(futures.submit(square, 1)), link, size=4)


def test_wait_returns_what_is_not_done_in_time(run: Run) -> None:
    link = Home(hands_out=False)
    assert len(run(lambda: futures.wait([futures.submit(square, 1)], timeout=0.01), link, size=4).not_done) == 1


def test_callback_may_wait_for_futures(run: Run) -> None:
    def program() -> list[int]:
        seen: list[int] = []
        future = futures.submit(square, 3)
        future.add_done_callback(lambda done: seen.append(futures.submit(square, done.result()).result()))
        future.result()
        futures.submit(square, 1).result()
        futures.wait([futures.submit(square, 2)])
        return seen

    assert run(program) == [81]


def test_unstarted_future_can_be_cancelled(run: Run) -> None:
    def program() -> tuple[bool, bool, bool]:
        future = futures.submit(fail, 1)
        cancelled = future.cancel()
        with pytest.raises(futures.CancelledError):
            future.result()
        return cancelled, future.cancelled(), future.cancel()

    assert run(program, size=1) == (True, True, True)


def test_future_in_the_brokers_queue_is_cancelled_there(run: Run) -> None:
    link = Home(hands_out=False)

    def program() -> tuple[bool, bool, int]:
        future = futures.submit(fail, 1)
        assert link.exported == 1
        return future.cancel(), future.cancelled(), len(link.broker.queue)

    assert run(program, link, size=4) == (True, True, 0)


def test_future_that_runs_elsewhere_is_not_cancelled(run: Run) -> None:
    link = Home(hands_out=False)

    def program() -> tuple[bool, ...]:
        future = futures.submit(square, 3)
        waiting = future.running()
        link.broker.handle(Ready(), worker_name(0, 1))
        link.broker.handle(Request(1), worker_name(0, 1))  # it gets the task
        link.broker.handle(Request(1, idle=False, begun=1), worker_name(0, 1))  # and has begun it
        return waiting, future.cancel(), future.running(), future.done()

    assert run(program, link, size=4) == (False, False, True, False)


def test_one_call_of_a_bundle_is_cancelled_alone(run: Run) -> None:
    link = Home(hands_out=False)

    def program() -> list[bool]:
        controller = current.current()
        kept = keep(controller, 10)
        controller.exchange.state.wanted = 1
        controller.exchange.state.outbox.append(Export([kept]))
        controller.exchange.send_and_look()
        (batch,) = link.broker.queue
        assert batch.count == 10
        cancelled = [kept[3].cancel(), kept[3].cancel(), kept[4].cancel()]
        (batch,) = link.broker.queue
        assert len(batch.dropped) == 2
        link.hands_out = True
        assert [future.result() for future in kept if not future.cancelled()] == [0, 1, 4, 25, 36, 49, 64, 81]
        return cancelled

    assert run(program, link, size=4) == [True, True, True]


def adder(n: int) -> Callable[[int], int]:
    return lambda x: x + n


def test_copies_of_a_function_leave_apart(run: Run) -> None:
    link = Home()

    def program() -> list[int]:
        controller = current.current()
        controller.runner.durations.of(adder(0)).learn(0.0001)
        kept = [controller.submit(adder(n), (0,), {}) for n in range(40)]
        controller.exchange.state.wanted = 3
        controller.exchange.share()
        return [future.result() for future in kept]

    assert run(program, link, size=4) == list(range(40))
    assert link.exported > 1


def test_futures_of_another_kind_are_refused(run: Run) -> None:
    strangers: list[Any] = [concurrent.futures.Future()]
    for wait in (futures.wait, futures.as_completed):
        with pytest.raises(TypeError, match="is not of scoop_hpc.futures: wait by concurrent.futures"):
            run(lambda wait=wait: wait(strangers))


def keep(controller: Controller, count: int) -> list[Any]:
    """Submit calls that are known to be short, and not wanted by others."""
    controller.runner.durations.of(square).learn(4e-6)
    controller.exchange.state.wanted = 0
    return [futures.submit(square, n) for n in range(count)]


# of calls nothing is learnt but the first: on a busy machine they would last longer
UNLEARNING = Policy(poll_seconds=60.0, call_decay=1.0, call_leap=1.0, away_seconds=60.0)


class Sides:
    """Stands for the state of the origin's process; knows how often it was given to the tasks."""

    def __init__(self) -> None:
        self.of_program = True
        self.changes = 0

    def turn(self, now: float) -> None:
        self.of_program = not self.of_program
        self.changes += not self.of_program

    def to_tasks(self, now: float) -> None:
        assert self.of_program
        self.turn(now)

    def to_program(self, now: float) -> None:
        if not self.of_program:
            self.turn(now)

    def prepare(self, context: object, now: float) -> None:
        if self.of_program:
            self.to_tasks(now)


def test_who_gathers_quick_calls_has_the_next_ones_made_at_once(run: Run) -> None:
    sides = Sides()

    def program() -> list[int]:
        controller = current.current()
        controller.runner.state = cast(ProcessState, sides)
        kept = keep(controller, 400)
        results = [kept[0].result()]
        assert sides.of_program
        assert sum(future.function is None for future in kept) == 13  # and 12 of 4 us take less than 50 us
        return results + [future.result() for future in kept[1:]]

    assert run(program, policy=UNLEARNING) == [n * n for n in range(400)]
    assert sides.changes == 31


def test_call_that_is_not_quick_or_has_a_callback_is_not_made_before_it_is_asked_for(run: Run) -> None:
    def program() -> list[bool]:
        controller = current.current()
        controller.runner.state = cast(ProcessState, Sides())
        first, quick, watched = keep(controller, 3)
        watched.add_done_callback(lambda future: None)
        controller.runner.durations.of(fail).learn(0.0005)
        slow: Any = futures.submit(fail, 1)
        first.result()
        made = [quick.function is None, watched.function is None]
        watched.result()
        return [*made, slow.function is None]

    assert run(program, policy=UNLEARNING) == [True, False, False]


def test_ctrl_c_in_a_call_that_nobody_waits_for_yet_reaches_the_program(run: Run) -> None:
    def program() -> str:
        controller = current.current()
        sides = Sides()
        controller.runner.state = cast(ProcessState, sides)
        controller.runner.durations.of(interrupted).learn(4e-6)
        first = keep(controller, 1)[0]
        futures.submit(interrupted)
        try:
            first.result()
        except KeyboardInterrupt:
            return f"{sides.of_program} {first.result()}"
        return "nothing"

    assert run(program, policy=UNLEARNING) == "True 0"


def interrupted() -> None:
    raise KeyboardInterrupt


def test_worker_alone_exports_nothing(run: Run) -> None:
    link = Home()
    run(lambda: list(futures.map(square, range(100))), link, size=1)
    assert link.exported == 0


def test_tree_of_unknown_tasks_is_walked_depth_first(run: Run) -> None:
    link = Home()
    assert run(lambda: fib(12), link, size=4) == 144
    assert link.exported < 20  # of 464 tasks: those that idle workers want, not a level of the tree at a time


def test_task_of_unknown_duration_is_exported_at_once(run: Run) -> None:
    link = Home()

    def program() -> int:
        futures.submit(square, 1)
        return link.exported

    assert run(program, link, size=4) == 1


def test_late_outcome_is_dropped_and_counted(run: Run) -> None:
    link = Home()

    def program() -> int:
        future: Any = futures.submit(square, 3)  # exported, for others are idle
        outcomes = [batching.pack_outcome(future.serial, Outcome(9)) for _ in range(2)]
        link.arriving.append(Results([Batch(ORIGIN, 0, batching.dump_outcomes(outcomes))]))
        assert future.result() == 9
        current.current().waiter(time.monotonic()).park()
        return current.current().exchange.state.late

    assert run(program, link, size=4) == 1


def test_exported_task_that_comes_back_sends_no_result(run: Run) -> None:
    link = Home()
    assert run(lambda: futures.submit(square, 3).result(), link, size=4) == 9
    assert link.exported == 1
    assert not [message for message in link.sent if isinstance(message, Results)]


def test_others_tasks_are_run_and_their_outcomes_sent() -> None:
    link = Home("1.0")
    worker = Controller(link, worker_name(1, 0), 4)
    link.arriving.append(Tasks([Batch(ORIGIN, 1, batching.dump_call(square, (5,), {}))]))
    worker.loop.timers.add(worker.waiter(time.monotonic() + 60))  # the end is not waited for
    for _ in range(4):
        worker.loop.step()
    (results,) = [message for message in link.sent if isinstance(message, Results)]
    ((serial, item, _),) = batching.load_outcomes(results.batches[0].frames)
    assert (serial, batching.value_of(item)) == (1, (25, None))
    (first,) = [message for message in link.sent if isinstance(message, Request)]
    assert (first.count > 0, first.idle, first.begun) == (True, True, 0)
    assert isinstance(results.request, Request)
    assert (results.request.count > 0, results.request.idle, results.request.begun) == (True, True, 1)


def test_futures_while_the_program_is_imported_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Controller(Home(), worker_name(0, 1), 2)
    worker.bar()
    monkeypatch.setattr(current, "_worker", worker)
    with pytest.raises(ProgramError, match="__main__"):
        futures.submit(square, 1)


def test_futures_outside_a_run_are_run_here_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current, "_serial", threading.local())
    monkeypatch.setattr(current, "_warned", threading.Event())
    with pytest.warns(RuntimeWarning, match="scoop-hpc run") as warned:
        results = [*futures.map(square, range(3)), futures.submit(fib, 10).result(timeout=10)]
    assert results == [0, 1, 4, 55]
    assert (len(warned), warned[0].filename) == (1, __file__)


def in_thread(function: Callable[[], Any]) -> Any:
    """Return what *function* returns in a thread of its own, for which the main thread waits."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join(20)
    return results[0]


def test_other_threads_submit_and_wait(run: Run) -> None:
    def use() -> tuple[Any, ...]:
        pending = [futures.submit(square, n) for n in range(5)]
        done = futures.wait(pending).done
        return (
            sum(future.result(timeout=20) for future in done),
            list(futures.map(square, range(100), chunksize=3)) == [n * n for n in range(100)],
            sorted(futures.map_as_completed(square, range(40))) == [n * n for n in range(40)],
            [future.result() for future in concurrent.futures.as_completed([futures.submit(fib, 10)], timeout=20)],
        )

    assert run(lambda: in_thread(use)) == (30, True, True, [55])


def test_exception_of_a_task_is_raised_in_the_thread_that_waits(run: Run) -> None:
    def use() -> str:
        with pytest.raises(KeyError) as caught:
            futures.submit(fail, 7).result()
        return str(caught.value)

    assert run(lambda: in_thread(use)) == "7"


def test_callbacks_are_called_while_the_main_thread_waits_elsewhere(run: Run) -> None:
    def program() -> int:
        done: queue.Queue[Any] = queue.Queue()
        for n in range(10):
            futures.submit(square, n).add_done_callback(done.put)
        return sum(done.get(timeout=20).result() for _ in range(10))

    assert run(program) == 285


def test_tasks_wait_elsewhere_for_their_own_tasks(run: Run) -> None:
    def tree(depth: int) -> int:
        if not depth:
            return 1
        done: queue.Queue[Any] = queue.Queue()
        for _ in range(2):
            futures.submit(tree, depth - 1).add_done_callback(done.put)
        children: int = sum(done.get(timeout=20).result() for _ in range(2))
        return 1 + children

    assert run(lambda: futures.submit(tree, 3).result()) == 15


def test_iterator_goes_on_in_another_thread(run: Run) -> None:
    def program() -> list[int]:
        results = futures.map(square, range(50), chunksize=1)
        return [next(results), *in_thread(lambda: list(results))]

    assert run(program) == [n * n for n in range(50)]


def test_watcher_of_a_settled_future_is_called_at_once(run: Run) -> None:
    def program() -> list[str]:
        future: Any = futures.submit(square, 2)
        future.result()
        called: list[str] = []
        future.watch(lambda: called.append("watcher"))
        return called

    assert run(program) == ["watcher"]


def test_function_never_seen_counts_as_slow() -> None:
    assert not Cost().short


def test_one_slow_call_among_quick_ones_counts_for_a_while() -> None:
    cost = Cost()
    for _ in range(100):
        cost.learn(1e-5)
    assert cost.short
    cost.learn(0.01)
    cost.learn(1e-5)
    assert not cost.short
    for _ in range(30):
        cost.learn(1e-5)
    assert cost.short


def test_one_call_that_the_kernel_interrupted_makes_no_long_one_of_the_others() -> None:
    cost = Cost()
    for _ in range(100):
        cost.learn(1e-6)
    cost.learn(0.004)
    assert cost.short
    assert not cost.worth_a_journey(5_000)  # they would take longer to go away than to be run


def test_calls_that_have_become_slow_are_known_to_be_so_after_a_few() -> None:
    cost = Cost()
    for _ in range(100):
        cost.learn(1e-6)
    calls = 0
    while cost.short:
        cost.learn(0.004)
        calls += 1
    assert calls <= 5


def test_calls_after_one_that_took_no_time_are_known_to_be_slow_after_a_few() -> None:
    cost = Cost()
    cost.learn(0.0)
    for _ in range(5):
        cost.learn(0.004)
    assert not cost.short


def test_every_second_call_that_is_slow_counts() -> None:
    cost = Cost()
    cost.learn(1e-6)
    for _ in range(6):
        cost.learn(0.004)
        cost.learn(1e-6)
    assert not cost.short


def test_cost_that_changes_a_thousandfold_is_noticed_at_once() -> None:
    cost = Cost()
    for _ in range(100):
        cost.learn(1e-5)
    assert cost.batch_size() > 100
    cost.learn(1e-2)
    assert (cost.batch_size(), cost.short) == (1, False)


def test_copies_of_a_lambda_are_known_as_one_function() -> None:
    costs = Durations()
    assert len({costs.of(pickles.load(pickles.dump(lambda x: x))) for _ in range(3)}) == 1


def test_builtins_are_told_apart() -> None:
    costs = Durations()
    assert costs.of(abs) is not costs.of(time.sleep)


def test_futures_run_by_their_waiters_are_not_kept(run: Run) -> None:
    def program() -> int:
        fib(12)
        return len(current.current().exchange.state.local)

    assert run(program, size=1) == 0


def test_waiting_again_and_again_leaves_nothing_at_the_future(run: Run) -> None:
    def program() -> int:
        future: Any = futures.submit(square, 1)
        for _ in range(3):
            with pytest.raises(futures.TimeoutError):
                future.result(timeout=0.001)
        return len(future._watchers or ())

    assert run(program, Home(hands_out=False), size=4) == 0


def test_program_that_goes_on_is_looked_after_while_tasks_may_be_under_way(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(hands_out=False)  # the broker hears of no request before the program goes on

    def program() -> list[bool]:
        armed: list[bool] = []
        worker = current.current()
        future: Any = futures.submit(square, 7)
        monkeypatch.setattr(worker.exchange, "arm", lambda: armed.append(True))
        item = batching.pack_outcome(future.serial, Outcome(49))
        home.arriving.append(Results([Batch(ORIGIN, 0, batching.dump_outcomes([item]))]))
        assert future.result() == 49
        return armed

    assert run(program, home, size=4) == [True]
