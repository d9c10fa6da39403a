"""Calls and outcomes survive the trip, or say why not."""

from __future__ import annotations

import pickle
import sys
import threading
import types
from typing import Any

import pytest

from scoop_hpc.errors import TaskError
from scoop_hpc.worker import calls
from scoop_hpc.worker.calls import Outcome, RemoteTraceback


def trip(value: Any) -> Any:
    return calls.load([bytes(frame) for frame in calls.dump(value)])


def outcome_of(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as raised:
        arrived = calls.load_outcome(calls.dump_outcome(Outcome(error=raised)))
    assert arrived.error is not None
    return arrived.error


class Odd(Exception):
    def __init__(self, code: int, word: str) -> None:
        super().__init__("odd")
        self.code = code
        self.word = word


class Stubborn(Exception):
    def __init__(self, what: object) -> None:
        super().__init__(what)


class Rude(Exception):
    def __init__(self) -> None:
        super().__init__(threading.Lock())

    def __str__(self) -> str:
        raise ValueError("no text")

    def __reduce__(self) -> Any:
        raise ValueError("no pickle")


def test_closure_survives() -> None:
    base = 40
    function, args, kwargs = calls.load(calls.dump_call(lambda x: base + x, (2,), {}))
    assert function(*args, **kwargs) == 42


def test_function_of_the_program_goes_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    program = types.ModuleType("__main__")
    exec("def twice(x):\n    return 2 * x\nthrice = lambda x: 3 * x", program.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", program)
    assert trip(program.twice) is program.twice
    carried = trip((program.twice, program.thrice))  # the lambda needs cloudpickle; the function still goes by name
    assert carried[0] is program.twice
    assert carried[1](5) == 15


def test_large_buffer_travels_out_of_band_and_stays_writable() -> None:
    array = bytearray(200_000)
    frames = calls.dump(PickledBuffer(array))
    assert len(frames) == 2
    assert len(frames[0]) < 1000
    back = calls.load(frames)
    back.data[0] = 1
    assert array[0] == 0


def test_small_buffer_stays_in_the_pickle() -> None:
    assert len(calls.dump(PickledBuffer(bytearray(100)))) == 1


class PickledBuffer:
    def __init__(self, data: Any) -> None:
        self.data = memoryview(data)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return PickledBuffer, (pickle.PickleBuffer(self.data),)


def test_unpicklable_value_is_shown() -> None:
    with pytest.raises(TaskError, match="cannot pickle .*lock"):
        calls.dump(threading.Lock())


def test_exception_arrives_as_itself_with_its_traceback_as_cause() -> None:
    error = outcome_of(KeyError("x"))
    assert isinstance(error, KeyError)
    assert error.args == ("x",)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "outcome_of" in str(error.__cause__)


def test_exception_with_an_odd_constructor_arrives_whole() -> None:
    error = outcome_of(Odd(7, "seven"))
    assert isinstance(error, Odd)
    assert (error.code, error.word, error.args) == (7, "seven", ("odd",))


def test_exception_that_cannot_be_pickled_arrives_as_task_error() -> None:
    error = outcome_of(Stubborn(threading.Lock()))
    assert isinstance(error, TaskError)
    assert "Stubborn" in str(error)


def test_exception_without_text_arrives_too() -> None:
    assert str(outcome_of(Rude())) == "Rude"


def test_result_that_cannot_be_unpickled_is_an_error_of_its_future() -> None:
    outcome = calls.load_outcome([b"no pickle"])
    assert isinstance(outcome.error, TaskError)


def test_times_arrive() -> None:
    assert calls.load_outcome(calls.dump_outcome(Outcome(5, None, 1.5, 0.25))) == Outcome(5, None, 1.5, 0.25)
