"""What a program hears of the end of its run, on a worker whose broker says nothing."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from signal import SIGHUP, SIGTERM
from typing import Any

import pytest

from scoop_hpc import futures
from scoop_hpc.errors import RunEndedError
from scoop_hpc.pickling import batching
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.protocol.messages import Batch, Message
from scoop_hpc.protocol.names import ORIGIN
from scoop_hpc.transport.notice import REMINDER, Notice
from scoop_hpc.worker import current
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.program.ending import Ending

REASON = "broker 1 died"


class Silence:
    """A broker that never answers; *meanwhile* is what happens when the worker waits for it."""

    def __init__(self) -> None:
        self.meanwhile: list[Callable[[], object]] = []
        self._woken = threading.Event()

    def send(self, message: Message) -> None:
        pass

    def receive(self) -> list[Message]:
        return []

    def wait(self, timeout: float | None) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        assert self._woken.wait(60), "for ever"
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def descriptor(self) -> int | None:
        return None


class Origin:
    """A worker that runs programs, and its agent."""

    def __init__(self, size: int) -> None:
        self.link = Silence()
        self.notice = Notice()
        self.notice.take_over()
        self.controller = Controller(self.link, ORIGIN, size)
        self.ending = Ending(self.controller, self.notice)
        self.ending.listen()

    def run(self, program: Callable[[], Any]) -> Any:
        """Return the result of *program*, or what it raised."""
        results: list[Any] = []

        def run() -> int:
            try:
                results.append(program())
            except BaseException as error:
                results.append(error)
            return 1

        self.controller.loop.run_program(run)
        return results[0]

    def tell(self) -> None:
        self.notice.give(REASON)
        signal.raise_signal(REMINDER)


alone = pytest.mark.parametrize("origin", [1], indirect=True)


@pytest.fixture(params=[4])
def origin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    numbers = (signal.SIGINT, REMINDER, SIGTERM, SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    origin = Origin(request.param)
    monkeypatch.setattr(current, "_worker", origin.controller)
    yield origin
    for number, handler in zip(numbers, handlers):
        signal.signal(number, handler)


def told(call: Callable[[], object]) -> str:
    """Return what RunEndedError says that *call* raises."""
    with pytest.raises(RunEndedError) as raised:
        call()
    return str(raised.value)


def test_program_that_waits_is_told_there(origin: Origin) -> None:
    origin.link.meanwhile.append(origin.tell)
    error = origin.run(lambda: futures.submit(abs, -1).result(timeout=600))
    assert isinstance(error, RunEndedError)
    assert (str(error), error.code) == (f"the run is ending: {REASON}", 1)


def test_program_whose_futures_fail_as_it_waits_gets_no_failure_for_a_result(origin: Origin) -> None:
    def end() -> None:
        """Have SIGTERM come to the event loop, and all futures failed before that looks for signals again."""
        signal.raise_signal(SIGTERM)
        while not calls[-1].settled:
            time.sleep(0.001)
        origin.link.wake()

    calls: list[Any] = []

    def program() -> list[BaseException | None]:
        calls.extend(futures.submit(abs, -number) for number in range(3))
        return [call.exception() for call in calls]

    origin.link.meanwhile.append(end)
    assert isinstance(origin.run(program), RunEndedError)


@alone
def test_reminder_without_a_reason_means_nothing(origin: Origin) -> None:
    def program() -> int:
        signal.raise_signal(REMINDER)
        return int(futures.submit(abs, -1).result())

    assert origin.run(program) == 1


def test_program_that_computes_is_told_at_its_next_wait_and_each_time(origin: Origin) -> None:
    def program() -> set[str]:
        future = futures.submit(abs, -1)
        origin.tell()
        waits: list[Callable[[], object]] = [
            future.result,
            future.exception,
            lambda: futures.submit(abs, -1),
            lambda: list(futures.map(abs, range(1000))),
            lambda: futures.map_reduce(abs, max, range(1000)),
        ]
        return {told(wait) for wait in waits}

    assert origin.run(program) == {f"the run is ending: {REASON}"}


@pytest.mark.parametrize("number", [SIGTERM, SIGHUP])
def test_program_that_computes_hears_of_a_signal_once(origin: Origin, number: int) -> None:
    def program() -> str:
        reason = told(lambda: signal.raise_signal(number))
        signal.raise_signal(number)  # it may be saving what it has
        return reason

    assert origin.run(program) == f"the run is ending: {signal.Signals(number).name}"
    assert origin.ending.status(128 + number) == -number
    assert origin.ending.status(0) == origin.ending.status(3) == -number  # it took the error for a result, and went on


def test_program_that_was_told_is_not_disturbed_by_sigterm(origin: Origin) -> None:
    def program() -> str:
        try:
            return str(futures.submit(abs, -1).result(timeout=600))
        except RunEndedError:
            signal.raise_signal(SIGTERM)
            return "saved"

    origin.link.meanwhile.append(origin.tell)
    assert origin.run(program) == "saved"
    assert origin.ending.status(143) == 143  # the reason was another


@alone
def test_task_that_runs_instead_of_the_program_ends_by_it(origin: Origin) -> None:
    after: list[str] = []

    def task() -> None:
        origin.tell()
        after.append("not reached")

    error = origin.run(lambda: futures.submit(task).result())
    assert isinstance(error, RunEndedError)
    assert after == []


def test_futures_fail_but_those_whose_outcomes_are_here(origin: Origin) -> None:
    state = origin.controller.exchange.state

    def program() -> tuple[Any, BaseException | None]:
        first: Any = futures.submit(abs, -1)
        second: Any = futures.submit(abs, -2)
        (here,) = (serial for serial, future in state.sent.items() if future is first)
        item = batching.pack_outcome(here, Outcome(value=7), None)
        state.arrived.append(Batch(ORIGIN, 0, batching.dump_outcomes([item])))
        settled = [threading.Event(), threading.Event()]
        for future, event in zip((first, second), settled):
            future.watch(event.set)
        origin.tell()
        assert all(event.wait(5) for event in settled)
        return first.result(), second.exception()

    value, error = origin.run(program)
    assert value == 7
    assert isinstance(error, RunEndedError)


def test_other_thread_that_waits_ends(origin: Origin) -> None:
    def program() -> list[str]:
        waits, said = threading.Event(), list[str]()

        def wait() -> None:
            future = futures.submit(abs, -1)
            waits.set()
            said.append(told(future.result))

        thread = threading.Thread(target=wait)
        thread.start()
        assert waits.wait(5)
        origin.tell()
        thread.join(5)
        return said

    assert origin.run(program) == [f"the run is ending: {REASON}"]


def test_asyncio_logs_no_line_for_each_future_that_nobody_asks_any_more(
    origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> bool:
        waits = asyncio.wrap_future(futures.submit(abs, -1))
        origin.tell()
        while not waits.done():
            await asyncio.sleep(0.001)
        return True  # without having asked what it has come to

    assert origin.run(lambda: asyncio.run(main())) is True
    assert caplog.records == []


def test_program_that_has_ended_is_left_alone(origin: Origin) -> None:
    assert origin.run(lambda: 1) == 1
    origin.ending.over = True
    origin.tell()
    signal.raise_signal(SIGTERM)


@pytest.mark.parametrize("reason", ["", "\u00e9\u20ac" * 5000])
def test_reason_of_any_length_is_left(reason: str) -> None:
    notice = Notice()
    notice.take_over()
    assert notice.read() == ""
    notice.give(reason)
    assert reason.startswith(notice.read())
    assert bool(notice.read()) == bool(reason)


def test_notice_is_for_its_owner_alone() -> None:
    notice = Notice()
    notice.give(REASON)
    assert notice.read() == ""
