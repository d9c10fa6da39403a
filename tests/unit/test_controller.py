"""Futures on one worker, whose broker is played by the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, Callable, Optional

import pytest

from scoop_hpc import futures
from scoop_hpc.broker.state import BrokerState
from scoop_hpc.errors import InputError, NotRunningError, ProgramError, ProtocolError, TaskError
from scoop_hpc.protocol import codec
from scoop_hpc.protocol.messages import Hello, Message, Parcel, Ready, Request, Results, Tasks, Wanted
from scoop_hpc.worker import calls, controller
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.durations import Durations
from scoop_hpc.worker.future import Call


class Home:
    """A broker in memory, which has this worker only: what is exported comes back when the worker asks for tasks."""

    def __init__(self, name: str = "0.0", hands_out: bool = True) -> None:
        self.name = name
        self.sent: list[Message] = []
        self.arriving: list[Message] = []
        self.exported = 0
        self.hands_out = hands_out
        self._broker = BrokerState("0")
        self._broker.handle(Ready(), name)

    def send(self, message: Message) -> None:
        message = codec.decode(codec.encode(message))
        self.sent.append(message)
        self.exported += len(message.parcels) if isinstance(message, Tasks) else 0
        if self.hands_out or not isinstance(message, Request):
            self.arriving += [send.message for send in self._broker.handle(message, self.name)]

    def receive(self, timeout: Optional[float]) -> list[Message]:
        arrived, self.arriving = self.arriving, []
        assert arrived or timeout is not None, "the worker would wait for ever"
        return arrived


Run = Callable[..., Any]


@pytest.fixture(params=[1, 4], ids=["alone", "among others"])
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a function as the origin's program, on a worker alone or one of four; return its result."""

    def run(program: Callable[[], Any], link: Optional[Home] = None, size: int = request.param) -> Any:
        link = link or Home()
        worker = Controller(link, "0.0", size)
        monkeypatch.setattr(controller, "_current", worker)
        results = []
        # a program that fails does not wait for what it submitted
        worker.run_program(lambda: results.append(program()) or int(not link.hands_out))
        return results[0]

    handler = controller.signal.getsignal(controller.signal.SIGINT)
    yield run
    controller.signal.signal(controller.signal.SIGINT, handler)


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


def test_unpicklable_argument_is_an_error_of_that_one_future(run: Run) -> None:
    def program() -> Any:
        good, bad = futures.submit(square, 3), futures.submit(square, threading.Lock())
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

    assert run(program, size=4) == ["1", "2"]


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
def test_timeout_is_honoured(run: Run, wait: Callable[[futures.Future], Any]) -> None:
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


def test_future_that_has_left_the_worker_is_not_cancelled(run: Run) -> None:
    def program() -> tuple[bool, int]:
        future = futures.submit(square, 3)
        return future.cancel(), future.result()

    assert run(program, size=4) == (False, 9)


def test_worker_alone_exports_nothing(run: Run) -> None:
    link = Home()
    run(lambda: list(futures.map(square, range(100))), link, size=1)
    assert link.exported == 0


def test_task_of_unknown_duration_is_exported_at_once(run: Run) -> None:
    link = Home()

    def program() -> int:
        futures.submit(square, 1)
        return link.exported

    assert run(program, link, size=4) == 1


def test_wanted_tasks_are_exported_oldest_first(run: Run) -> None:
    link = Home(hands_out=False)

    def program() -> None:
        worker = controller.current()
        worker._durations.learn(Call(square, (), {}).key, 1e-6)  # short tasks stay
        worker._wanted = 0
        kept = [futures.submit(square, n) for n in range(3)]
        assert link.exported == 0
        link.arriving.append(Wanted(2))
        worker._poll(0)
        assert [future.unstarted for future in kept] == [False, False, True]

    run(program, link, size=4)


def test_late_outcome_is_dropped_and_counted(run: Run) -> None:
    link = Home()

    def program() -> int:
        futures.submit(square, 3).result()
        (first,) = [message for message in link.sent if isinstance(message, Results)]
        link.arriving.append(first)
        futures.submit(square, 4).result()
        return controller.current().late

    assert run(program, link, size=4) == 1


def test_others_tasks_are_run_and_their_outcomes_sent() -> None:
    link = Home("1.0")
    worker = Controller(link, "1.0", 4)
    link.arriving.append(Tasks([Parcel("0.0", 1, calls.dump_call(square, (5,), {}))]))
    worker.timers.add(worker.waiter(time.monotonic() + 60))  # the end is not waited for
    for _ in range(3):
        worker._step()
    (results,) = [message for message in link.sent if isinstance(message, Results)]
    assert calls.load_outcome(results.parcels[0].frames).value == 25
    assert [m for m in link.sent if isinstance(m, Request)][0].count > 0


def test_idle_worker_asks_for_tasks_once() -> None:
    link = Home()
    worker = Controller(link, "1.0", 4)
    worker.timers.add(worker.waiter(time.monotonic() + 60))  # keeps the played broker from being waited for
    for _ in range(3):
        worker._poll = lambda timeout: None  # type: ignore[method-assign]
        worker._step()
    assert len([message for message in link.sent if isinstance(message, Request)]) == 1


def test_futures_while_the_program_is_imported_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Controller(Home(), "0.1", 2)
    worker.loading = True
    monkeypatch.setattr(controller, "_current", worker)
    with pytest.raises(ProgramError, match="__main__"):
        futures.submit(square, 1)


def test_futures_outside_a_run_are_refused() -> None:
    with pytest.raises(NotRunningError, match="scoop-hpc run"):
        futures.submit(square, 1)


def test_futures_in_another_thread_are_refused(run: Run) -> None:
    def program() -> list[str]:
        errors: list[str] = []

        def other() -> None:
            try:
                futures.submit(square, 1)
            except NotRunningError as error:
                errors.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return errors

    assert "main thread" in run(program)[0]


def test_foreign_message_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        Controller(Home(), "0.0", 2)._take(Hello(1, "3.11", "n", "h", 1, 1))


def test_function_never_seen_counts_as_slow() -> None:
    assert not Durations().short(1)


def test_one_slow_call_among_quick_ones_counts_for_a_while() -> None:
    durations = Durations()
    for _ in range(100):
        durations.learn(1, 1e-5)
    assert durations.short(1)
    durations.learn(1, 0.01)
    durations.learn(1, 1e-5)
    assert not durations.short(1)
    for _ in range(30):
        durations.learn(1, 1e-5)
    assert durations.short(1)


def test_batches_are_of_quick_tasks_only() -> None:
    durations = Durations()
    durations.learn(1, 10.0)
    assert durations.batch() == 1
    for _ in range(500):
        durations.learn(1, 1e-6)
    assert durations.batch() == 64


def test_copies_of_a_lambda_are_known_as_one_function() -> None:
    keys = {Call(calls.load(calls.dump(lambda x: x)), (), {}).key for _ in range(2)}
    assert len(keys) == 1


def test_futures_run_by_their_waiters_are_not_kept(run: Run) -> None:
    def program() -> int:
        fib(12)
        return len(controller.current()._local)

    assert run(program, size=1) == 0


def test_waiting_again_and_again_leaves_nothing_at_the_future(run: Run) -> None:
    def program() -> int:
        future = futures.submit(square, 1)
        for _ in range(3):
            with pytest.raises(futures.TimeoutError):
                future.result(timeout=0.001)
        return len(future._done_callbacks)

    assert run(program, Home(hands_out=False), size=4) == 0
