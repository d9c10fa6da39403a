"""Handlers of signals wait while a thread must not be broken off, and are what they were after that."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from scoop_hpc.pool.held_signals import HeldSignals


class Alarm(Exception):
    """What the handler raises."""


def ring(number: int, frame: object) -> None:
    raise Alarm(number)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.signal(number, ring) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def handler_of_usr1() -> object:
    return signal.getsignal(signal.SIGUSR1)


def test_handler_waits_until_the_end() -> None:
    steps = []
    with pytest.raises(Alarm), HeldSignals():  # noqa: PT012  the last step raises
        signal.raise_signal(signal.SIGUSR1)
        steps.append("done")
    assert steps == ["done"]
    assert handler_of_usr1() is ring


def test_handler_interrupts_what_may_be_and_does_not_come_again() -> None:
    with HeldSignals() as signals:
        with pytest.raises(Alarm):
            signals.interruptible(signal.raise_signal, signal.SIGUSR2)
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(Alarm):
            signals.interruptible(str, "the handler that has waited comes first")
    assert handler_of_usr1() is ring


def test_all_handlers_are_back_when_two_signals_have_come() -> None:
    with pytest.raises(Alarm), HeldSignals():  # noqa: PT012  the end raises
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR2)
    assert handler_of_usr1() is ring
    assert signal.getsignal(signal.SIGUSR2) is ring


def test_ignored_signals_and_those_without_a_handler_are_left_alone() -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    with HeldSignals():
        assert handler_of_usr1() is signal.SIG_IGN
        signal.raise_signal(signal.SIGUSR1)


def test_handler_that_is_set_meanwhile_stays() -> None:
    def other(number: int, frame: object) -> None:
        raise AssertionError

    with HeldSignals():
        signal.signal(signal.SIGUSR1, other)
    assert handler_of_usr1() is other


def test_other_threads_change_no_handler() -> None:
    seen: list[object] = []

    def look() -> None:
        with HeldSignals() as signals:
            seen.append(handler_of_usr1())
            seen.append(signals.interruptible(abs, -1))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [ring, 1]
