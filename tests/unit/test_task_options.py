"""Options of a task: checked when they are given, kept wherever the function goes."""

from __future__ import annotations

import functools
import inspect
import math
import os
import pickle
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy
import pytest

from scoop_hpc import futures
from scoop_hpc.bulk.chunks import run_chunk
from scoop_hpc.bulk.options import BulkTask, bulk_task
from scoop_hpc.bulk.scans import put_before, scan_chunk
from scoop_hpc.bulk.splitting import Fold, fold_part
from scoop_hpc.compat.futures import travelling
from scoop_hpc.errors import InputError
from scoop_hpc.pickling import batching, global_dependencies, imported, main_received, pickles
from scoop_hpc.pickling.arguments import refuse_result
from scoop_hpc.pickling.packed import Packed
from scoop_hpc.pool.on_run import CallFor
from scoop_hpc.task import TaskFunction, TaskOptions, options_of
from scoop_hpc.worker.durations import Cost, Durations, Unforeseeable, key_of
from scoop_hpc.worker.loop_timing import LoopTimings
from scoop_hpc.worker.policy import DEFAULT

needs_notes = pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have notes from Python 3.11 on")


class Failing:
    """Fails so many times for each argument, then returns it."""

    def __init__(self, times: int, error: Callable[[str], BaseException] = OSError) -> None:
        self.times = times
        self.error = error
        self.calls: list[int] = []

    def __call__(self, n: int = 0) -> int:
        self.calls.append(n)
        if self.calls.count(n) <= self.times:
            raise self.error(f"{n}, attempt {self.calls.count(n)}")
        return n


@futures.task(retries=1, retry_on=(OSError,), time_limit=60, name="doubling")
def double(n: int, by: int = 2, **more: int) -> int:
    """Return the double."""
    return n * by


@futures.task
def bare(n: int) -> int:
    return n


def plain(n: int) -> int:
    return n


@futures.task(retries=1)
def factorial(n: int) -> int:
    return n * factorial(n - 1) if n else 1


patient = futures.task(plain, time_limit=600)


class Model:
    scale = 3

    @futures.task(retries=1, name="fit")
    def fit(self, n: int) -> int:
        return self.scale * n

    @classmethod
    @futures.task(time_limit=1)
    def of_class(cls, n: int) -> int:
        return cls.scale * n

    @staticmethod
    @futures.task(time_limit=2)
    def alone(n: int) -> int:
        return n


def generator() -> Iterator[int]:
    yield 1


async def asynchronous() -> AsyncIterator[int]:
    yield 1


async def coroutine() -> int:
    return 1


def trip(function: Any) -> Any:
    """Return the copy of *function* that a worker makes of a batch of calls, by the pickles of the package."""
    frames = batching.pack_calls(function, [((1,), {}), ((2,), {})]).frames
    return batching.load_calls([bytes(frame) for frame in frames])[0]


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


# what is given


def test_options_are_given_by_a_decorator_with_or_without_them_and_by_a_call() -> None:
    assert options_of(double) == TaskOptions(1, (OSError,), 60.0, "doubling")
    assert options_of(bare) == TaskOptions() == TaskOptions(0, (Exception,), None, None)
    assert options_of(patient) == TaskOptions(time_limit=600)
    assert options_of(plain) is None


def test_options_are_values() -> None:
    assert {TaskOptions(1), TaskOptions(1), TaskOptions(2)} == {TaskOptions(1), TaskOptions(2)}
    assert pickle.loads(pickle.dumps(TaskOptions(1, (OSError,), 2.5, "x"))) == TaskOptions(1, (OSError,), 2.5, "x")
    with pytest.raises(AttributeError):
        TaskOptions().retries = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("options", "kind", "complaint"),
    [
        ({"retries": -1}, InputError, "retries is -1: it must be 0, for none, or more"),
        ({"retries": True}, TypeError, "retries is True: it must be an integer"),
        ({"retries": 1.0}, TypeError, "retries is 1.0: it must be an integer"),
        ({"retries": None}, TypeError, "retries is None: it must be an integer"),
        ({"retry_on": (OSError,)}, InputError, r"retry_on is \(OSError,\), but retries is 0.*give retries=1 or more"),
        ({"retries": 0, "retry_on": OSError}, InputError, "retry_on is .* but retries is 0"),
        ({"retries": 1, "retry_on": ()}, InputError, r"retry_on is \(\).*name exception classes"),
        ({"retries": 1, "retry_on": "OSError"}, TypeError, "retry_on has 'OSError': it must be a tuple of exception"),
        ({"retries": 1, "retry_on": (OSError, 3)}, TypeError, "retry_on has 3: it must be a tuple of exception"),
        ({"retries": 1, "retry_on": (int,)}, TypeError, "retry_on has <class 'int'>: it must be"),
        ({"retries": 1, "retry_on": (OSError(),)}, TypeError, r"retry_on has OSError\(\): it must be"),
        (
            {"retries": 1, "retry_on": (KeyboardInterrupt,)},
            TypeError,
            "retry_on has KeyboardInterrupt, which ends more",
        ),
        ({"retries": 1, "retry_on": SystemExit}, TypeError, "retry_on has SystemExit, .* only classes of Exception"),
        ({"retries": 1, "retry_on": BaseException}, TypeError, "retry_on has BaseException, which"),
        ({"time_limit": 0}, InputError, "time_limit is 0: it must be a number of seconds above 0"),
        ({"time_limit": -1.5}, InputError, "time_limit is -1.5: it must be"),
        ({"time_limit": float("inf")}, InputError, "time_limit is inf: .*or None for no limit"),
        ({"time_limit": float("nan")}, InputError, "time_limit is nan: it must be"),
        ({"time_limit": 10**400}, InputError, "time_limit is 1000*: it must be"),
        ({"time_limit": "60"}, TypeError, "time_limit is '60': it must be a number of seconds, or None"),
        ({"time_limit": True}, TypeError, "time_limit is True: it must be a number of seconds"),
        ({"max_losses": 0}, InputError, "max_losses is 0: it must be from 1, the first loss is the last, to 100"),
        ({"max_losses": 101}, InputError, "max_losses is 101: it must be"),
        ({"max_losses": 2.0}, TypeError, "max_losses is 2.0: it must be an integer, with how many workers"),
        ({"max_losses": False}, TypeError, "max_losses is False: it must be an integer"),
        ({"name": ""}, InputError, "name is '': it must be one line of visible characters"),
        ({"name": " "}, InputError, "name is ' ': it must be"),
        ({"name": "a\nb"}, InputError, r"name is 'a\\nb': it must be"),
        ({"name": 3}, TypeError, "name is 3: it must be a string"),
        ({"retrys": 3}, TypeError, "retrys"),
    ],
)
@pytest.mark.parametrize("as_decorator", [False, True])
def test_option_that_cannot_be_right_is_refused(
    options: dict[str, Any], kind: type[Exception], complaint: str, as_decorator: bool
) -> None:
    with pytest.raises(kind, match=complaint) as caught:
        futures.task(**options)(plain) if as_decorator else futures.task(plain, **options)
    assert isinstance(caught.value, (TypeError, ValueError))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (3, "the function is 3: it must be callable; options are given by name, as futures.task"),
        (None, "the function is None: it must be callable"),
        (staticmethod(plain), "a staticmethod, not a function: put @staticmethod above @futures.task"),
        (cast(Any, classmethod)(plain), "a classmethod, not a function: put @classmethod above"),
        (generator, "generator is a generator function, which cannot be a task: let it return a list"),
        (functools.partial(generator), "a generator function"),
        (asynchronous, "asynchronous is an asynchronous generator function"),
        (coroutine, r"coroutine is an asynchronous function.*asyncio.run\(...\)"),
    ],
)
def test_function_that_cannot_be_a_task_is_refused(function: Any, complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        futures.task(function)
    with pytest.raises(TypeError, match=complaint):
        futures.task(retries=1)(function)


def test_numbers_of_numpy_are_numbers() -> None:
    options = options_of(futures.task(plain, retries=numpy.int64(2), time_limit=numpy.float32(0.5)))
    assert options == TaskOptions(2, time_limit=0.5)
    assert type(options.retries) is int
    assert type(options.time_limit) is float


def test_example_of_the_readme_is_right() -> None:
    readme = (Path(__file__).parents[2] / "README.rst").read_text(encoding="utf-8")
    block = next(block for block in readme.split(".. code-block:: python\n\n") if "@futures.task(" in block)
    example = textwrap.dedent(block.split("\n\n*")[0])
    names: dict[str, Any] = {"futures": SimpleNamespace(task=futures.task, map=map), "urls": ["a", "b"]}
    exec(example, names)
    assert names["tables"] == [None, None]
    assert options_of(names["fetch"]) == TaskOptions(2, (OSError,), 600.0, "download")
    assert options_of(names["stubborn"]) == TaskOptions(10, (OSError,), 600.0, "download")


# what it looks like


def test_task_function_looks_like_its_function() -> None:
    assert (double.__name__, double.__qualname__, double.__module__) == ("double", "double", __name__)
    assert double.__doc__ == "Return the double."
    assert list(inspect.signature(double).parameters) == ["n", "by", "more"]
    assert double.__wrapped__(2) == double(2) == 4
    assert double(1, by=3, self=4) == 3


def test_repr_shows_the_options_that_were_given() -> None:
    assert repr(double) == "<task double, retries=1, retry_on=(OSError,), time_limit=60.0, name='doubling'>"
    assert repr(bare) == "<task bare>"
    assert repr(futures.task(functools.partial(pow, 2))) == "<task functools.partial(<built-in function pow>, 2)>"


def test_methods_can_be_tasks() -> None:
    model = Model()
    model.scale = 5
    others: Any = model  # mypy does not see which methods are bound to what
    assert (model.fit(2), Model.fit(model, 2), others.of_class(2), others.alone(2)) == (10, 10, 6, 2)
    options = [options_of(each) for each in (model.fit, Model.fit, Model.of_class, Model.alone)]
    assert options == [TaskOptions(1, name="fit")] * 2 + [TaskOptions(time_limit=1), TaskOptions(time_limit=2)]
    assert [trip(each)(2) for each in (model.fit, Model.of_class, Model.alone)] == [10, 6, 2]
    assert options_of(trip(model.fit)) == TaskOptions(1, name="fit")


# what it does


def test_call_is_repeated_until_it_succeeds_or_no_retry_is_left() -> None:
    failing = Failing(2)
    assert futures.task(failing, retries=2)(7) == 7
    assert failing.calls == [7, 7, 7]
    failing = Failing(3)
    with pytest.raises(OSError, match="7, attempt 3"):
        futures.task(failing, retries=2)(7)


def test_call_is_made_once_without_retries() -> None:
    failing = Failing(1)
    with pytest.raises(OSError, match="attempt 1") as caught:
        futures.task(failing, time_limit=5)(7)
    assert not hasattr(caught.value, "__notes__")


def test_exception_that_is_not_meant_is_raised_at_once() -> None:
    failing = Failing(1, ValueError)
    with pytest.raises(ValueError, match="attempt 1") as caught:
        futures.task(failing, retries=5, retry_on=(OSError, KeyError))()
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_more_than_a_call_is_not_repeated(kind: type[BaseException]) -> None:
    failing = Failing(1, kind)
    with pytest.raises(kind):
        futures.task(failing, retries=5)()
    assert failing.calls == [0]


@needs_notes
@pytest.mark.parametrize(
    ("retries", "note"),
    [
        (1, "2 attempts failed: no more than 1 retry was asked for"),
        (2, "3 attempts failed: no more than 2 retries were"),
    ],
)
def test_last_exception_says_how_many_attempts_failed(retries: int, note: str) -> None:
    with pytest.raises(OSError, match=f"attempt {retries + 1}") as caught:
        futures.task(Failing(9), retries=retries)()
    assert notes(caught.value)[0].startswith(note)
    assert caught.value.__context__ is None


@needs_notes
def test_note_says_if_the_last_exception_is_another() -> None:
    errors = iter([OSError(), ValueError("other")])
    with pytest.raises(ValueError, match="other") as caught:
        futures.task(Failing(9, lambda text: next(errors)), retries=3, retry_on=OSError)()
    assert notes(caught.value) == ["2 attempts failed: after the last, retry_on does not ask for another"]


class Frozen(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class Stubborn(Exception):
    @property
    def __notes__(self) -> list[str]:
        raise RuntimeError


@pytest.mark.parametrize("kind", [Frozen, Stubborn])
def test_exception_that_takes_no_note_is_raised_all_the_same(kind: type[Exception]) -> None:
    with pytest.raises(kind):
        futures.task(Failing(9, kind), retries=1)()


@needs_notes
def test_note_survives_the_trip_and_the_frames_of_retries_are_not_shown() -> None:
    def outer() -> None:
        futures.task(Failing(9), retries=1)(3)

    try:
        futures.task(outer, retries=1)()
    except OSError as error:
        arrived = pickles.load_outcome(pickles.dump_outcome(pickles.Outcome(error=error.with_traceback(None)))).error
        trace = error
    assert arrived is not None
    assert notes(arrived) == notes(trace)
    assert len(notes(arrived)) == 2

    chunk = run_chunk(futures.task(Failing(9), retries=1), [(3,)])
    assert chunk.error is not None
    arrived = pickles.load_outcome(chunk.error).error
    assert arrived is not None
    text = str(arrived.__cause__)
    assert "2 attempts failed" in text
    assert "__call__" in text  # of Failing
    assert "task.py" not in text
    assert "chunks.py" not in text


def test_child_that_a_function_has_forked_repeats_nothing() -> None:
    process = os.getpid()
    calls = []
    children = []

    def fork() -> None:
        calls.append(os.getpid())
        children.append(os.fork())
        if children[-1] == 0:
            raise OSError

    try:
        futures.task(fork, retries=3)()
    except OSError:
        assert os.getpid() != process
        os._exit(len(calls))  # the test's runner has no business in the child
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 1


def test_threads_do_not_count_each_other_s_attempts() -> None:
    task = futures.task(Failing(2), retries=2)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(task, range(40))) == list(range(40))


# wrapped again


def test_options_given_later_replace_those_before_and_leave_the_others() -> None:
    again = futures.task(double, retries=5, name=None)
    assert options_of(again) == TaskOptions(5, (OSError,), 60.0, None)
    assert again.__wrapped__ is double.__wrapped__
    assert options_of(futures.task(double, time_limit=None)) == TaskOptions(1, (OSError,), None, "doubling")
    assert options_of(futures.task(double, retries=0)) == TaskOptions(0, (Exception,), 60.0, "doubling")
    assert options_of(futures.task(double, retry_on=KeyError)) == TaskOptions(1, (KeyError,), 60.0, "doubling")
    assert options_of(double) == TaskOptions(1, (OSError,), 60.0, "doubling")


def test_retries_of_a_task_function_inside_are_replaced_not_multiplied() -> None:
    class Worker:
        @futures.task(retries=1, name="x")
        def fail(self) -> None:
            calls.append(1)
            raise OSError("each time")

    calls: list[int] = []
    for function in (Worker().fail, functools.partial(Worker.fail, Worker()), futures.task(Worker().fail)):
        calls.clear()
        again = futures.task(function, retries=2)
        with pytest.raises(OSError, match="each time"):
            again()
        assert len(calls) == 3
        assert options_of(again) == TaskOptions(2, name="x")


# where options are found


class Curious:
    """A callable that must not be asked for anything."""

    def __call__(self) -> None:
        """Do nothing."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise AssertionError


def test_options_are_found_through_what_is_around_the_function() -> None:
    options = options_of(double)
    partial = functools.partial(double, by=4)
    around = [partial, functools.partial(partial, 1), CallFor("key", None, double), CallFor("key", None, partial)]
    bulk = [
        bulk_task(run_chunk, double),
        bulk_task(scan_chunk, partial),
        CallFor("k", None, bulk_task(run_chunk, double)),
    ]
    assert [options_of(each) for each in (*around, *bulk)] == [options] * 7
    assert bulk_task(run_chunk, plain) is run_chunk
    assert [options_of(each) for each in (plain, print, functools.partial(plain), Curious(), None)] == [None] * 5


def test_functions_with_other_options_have_costs_of_their_own() -> None:
    durations = Durations()
    first, second, third = durations.of(plain), durations.of(patient), durations.of(futures.task(plain, time_limit=6))
    assert len({id(cost) for cost in (first, second, third)}) == 3
    assert (first.options, second.options, third.options) == (
        None,
        TaskOptions(time_limit=600),
        TaskOptions(time_limit=6),
    )
    assert durations.of(patient) is second is durations.of(trip(patient)) is durations.of(futures.task(patient))
    assert durations.of(plain) is first
    assert Cost().options is None


def test_costs_are_found_by_the_function_inside() -> None:
    one = futures.task(lambda: 1, retries=1)
    other = futures.task(lambda: 2, retries=1)
    durations = Durations()
    assert durations.of(one) is not durations.of(other)
    assert durations.of(functools.partial(one)) is durations.of(one)
    assert durations.of(futures.task(len)) is durations.of(futures.task(len)) is not durations.of(len)
    assert durations.of(Model().fit) is durations.of(Model.fit)
    assert key_of(Model().fit) == key_of(Model.fit) == (key_of(Model.fit.__wrapped__), TaskOptions(1, name="fit"))


def test_cost_of_a_chunk_has_the_options_of_the_function_on_both_sides() -> None:
    durations = Durations()
    task = bulk_task(run_chunk, double)
    assert durations.of_pair(task, double).options == options_of(double)
    assert durations.of_pair(run_chunk, plain).options is None
    arrived = trip(task)
    assert type(arrived) is BulkTask
    assert durations.of(arrived).options == options_of(double)
    assert durations.of(CallFor("key", None, arrived)).options == options_of(double)
    assert durations.of(run_chunk).options is None
    assert arrived(plain, [(1,), (2,)]).results == [1, 2]


# many calls


def test_retries_are_each_item_s_own_in_chunks() -> None:
    failing = Failing(1)
    task = futures.task(failing, retries=1)
    assert run_chunk(task, [(n,) for n in range(3)]).results == [0, 1, 2]
    assert failing.calls == [0, 0, 1, 1, 2, 2]
    chunk = run_chunk(futures.task(Failing(2), retries=1), [(n,) for n in range(3)])
    assert chunk.error is not None


def test_retries_are_each_call_s_own_in_scans() -> None:
    failing, adding = Failing(1), Failing(2)

    def add(a: int, b: int) -> int:
        return a + adding(b)

    scanned = scan_chunk(futures.task(failing, retries=1), futures.task(add, retries=2), [(n,) for n in range(3)])
    assert scanned.chunk.results == [0, 1, 3]
    assert put_before(futures.task(add, retries=2), 10, scanned.chunk).results == [10, 11, 13]


class Alone:
    """A worker that keeps what it is given."""

    size = 2
    policy = DEFAULT
    longest_here = math.inf
    loop_timings = LoopTimings()

    def __init__(self) -> None:
        self.submitted: list[tuple[Any, Any, Cost]] = []

    def hungry(self) -> bool:
        return len(self.submitted) < 1

    def submit(self, function: Any, args: Any, kwargs: Any, cost: Cost) -> Any:
        self.submitted.append((function, args, cost))
        future: Any = mock.Mock(settled=True)
        future.result = lambda: trip(function)(*args)
        return future

    def wait_for(self, future: Any, deadline: float | None) -> None:
        """Return at once: it is done by whoever asks."""

    def as_task(self) -> Any:
        return mock.MagicMock()

    def meter(self, function: object) -> None:
        return None

    def note_called(self, function: object) -> None:
        """Do nothing: nobody dies here."""

    def abandon(self, future: Any) -> None:
        """Do nothing."""


def test_retries_are_each_item_s_own_in_folds_and_parts_have_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    def add(a: int, b: int) -> int:
        return a + b

    worker = cast(Any, Alone())
    monkeypatch.setattr("scoop_hpc.bulk.splitting.current", lambda: worker)
    failing = futures.task(Failing(1), retries=1, time_limit=9)
    assert Fold(worker, failing, add, each=1.0).run(iter([(n,) for n in range(10)]), 100) == 45
    function, _, cost = worker.submitted[0]
    assert (function.func, function.options) == (fold_part, options_of(failing))
    assert type(cost) is Unforeseeable
    assert cost.options == options_of(failing)

    worker.submitted.clear()
    assert Fold(worker, plain, add, each=1.0).run(iter([(n,) for n in range(10)]), 100) == 45
    function, _, cost = worker.submitted[0]
    assert (function, cost.options) == (fold_part, None)


def test_result_that_cannot_travel_is_said_to_be_the_function_s() -> None:
    for function in (bare, functools.partial(bare), CallFor("key", None, bare)):
        with pytest.raises(TypeError, match=r"bare\(\) returned a generator"):
            refuse_result(function, generator())


# pickles


def test_task_function_of_a_module_goes_by_name() -> None:
    for function in (double, bare, factorial, Model.fit, Model.alone):
        assert trip(function) is function
    assert len(pickle.dumps(bare, 5)) < 120


def test_function_given_options_under_another_name_goes_by_its_own() -> None:
    copy = trip(patient)
    assert copy is not patient
    assert (type(copy), copy.__wrapped__, copy.options) == (TaskFunction, plain, patient.options)


def test_lambdas_and_closures_go_by_value_with_their_options() -> None:
    def local(n: int) -> int:
        return n + offset

    offset = 5
    for function, result in ((lambda n: n + 1, 11), (local, 15), (functools.partial(local), 15)):
        copy = trip(futures.task(function, retries=1, retry_on=(OSError, KeyError)))
        assert (copy(10), copy.options) == (result, TaskOptions(1, (OSError, KeyError)))
    copy = trip(futures.task(local))
    assert (copy.__name__, copy.__module__, copy.__code__.co_name) == ("local", __name__, "local")


def test_closure_may_refer_to_itself() -> None:
    @futures.task(retries=1)
    def local(n: int) -> int:
        return n * local(n - 1) if n else 1

    copy = trip(local)
    assert copy(5) == 120
    assert copy.__wrapped__.__closure__[0].cell_contents is copy


def test_attributes_go_along_by_value() -> None:
    def local() -> None:
        """Do nothing."""

    local.kind = "function"  # type: ignore[attr-defined]
    task = cast(Any, futures.task(local))
    task.version = 3
    assert task.kind == "function"
    assert task.attributes() == {"version": 3}
    copy = trip(task)
    assert (copy.version, copy.kind, copy.__doc__) == (3, "function", "Do nothing.")


class Local(Exception):
    """An exception class that is not found by its name."""


Local.__qualname__ = "nowhere.Local"


@futures.task(retries=1, retry_on=(Local,))
def local_failure() -> None:
    raise Local


def test_name_stands_for_the_same_task_function_if_only_the_copies_of_classes_differ() -> None:
    copy = pickles.load(pickles.dump(local_failure))
    assert copy is local_failure
    other = type("Local", (Exception,), {"__qualname__": "nowhere.Local", "__module__": __name__})
    assert TaskOptions(1, (Local,)).look_like((1, (other,), None, None, 3))
    assert not TaskOptions(1, (Local,)).look_like((1, (OSError,), None, None, 3))
    assert not TaskOptions(1, (Local,)).look_like((2, (Local,), None, None, 3))


PROGRAM = """
from scoop_hpc import futures
class Flaky(Exception): pass
@futures.task(retries=2, retry_on=(Flaky,))
def decorated(n): return n
def function(n): return n + 1
class Shape:
    @futures.task(time_limit=3)
    def area(self): return 9
"""


def program(monkeypatch: pytest.MonkeyPatch, text: str) -> Any:
    """Be a process whose ``__main__`` is what *text* says."""
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.setitem(sys.modules, "__mp_main__", module)
    exec(text, module.__dict__)
    return module


def test_function_of_the_program_goes_by_name_and_keeps_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = program(monkeypatch, PROGRAM)
    origin.function = futures.task(origin.function, retries=7)  # under the guard: no other worker does it
    origin.decorated = futures.task(origin.decorated, retries=3)
    frames = [pickles.dump_task(each) for each in (origin.decorated, origin.function, origin.Shape.area)]
    worker = program(monkeypatch, PROGRAM)
    decorated, function, area = map(pickles.load, frames)
    assert (decorated.__wrapped__, decorated.options) == (
        worker.decorated.__wrapped__,
        TaskOptions(3, (worker.Flaky,)),
    )
    assert (function.__wrapped__, function.options) == (worker.function, TaskOptions(7))
    assert area is worker.Shape.area


def test_name_that_leads_to_no_function_elsewhere_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = program(monkeypatch, PROGRAM)
    frames = pickles.dump_task(origin.decorated)
    program(monkeypatch, "decorated = 3")
    with pytest.raises((TypeError, AttributeError)):
        pickles.load(frames)


def test_function_defined_under_the_guard_goes_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = program(monkeypatch, PROGRAM)
    monkeypatch.setattr(pickles, "_task_pickler", None)
    pickles.carry(frozenset({"decorated", "Shape"}))
    frames = [
        pickles.dump_task(each) for each in (origin.decorated, origin.Shape().area, futures.task(origin.function))
    ]
    worker = program(monkeypatch, "class Flaky(Exception): pass\ndef function(n): return n + 1")
    decorated, area, function = map(pickles.load, frames)
    assert (decorated(3), decorated.options) == (3, TaskOptions(2, (worker.Flaky,)))
    assert (area(), options_of(area)) == (9, TaskOptions(time_limit=3))
    assert function.__wrapped__ is worker.function


def test_program_that_is_imported_has_task_functions_of_main(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    code, tests_name = imported.compile_imported(PROGRAM.encode(), "program.py")
    imported.load(code, module, tests_name)
    assert (tests_name, module.decorated.__module__) == (False, "__main__")
    assert module.decorated.is_found()


def test_definition_of_a_task_function_is_settled_as_that_of_its_function(monkeypatch: pytest.MonkeyPatch) -> None:
    main = program(monkeypatch, PROGRAM + "renamed = futures.task(function)")
    main.add, main.task = double, futures.task(plain)
    for task in (main.decorated, main.renamed, main.add, main.task):
        assert global_dependencies.settled_by(task)[0]
    body = main_received.Body.of(main.decorated)
    assert body == main_received.Body.of(main.decorated.__wrapped__)
    main.decorated.version = 2
    main.cached = futures.task(Failing(1))
    assert main_received.Body.of(main.decorated) != body
    for task in (main.decorated, main.cached):
        assert not global_dependencies.settled_by(task)[0]


def test_function_typed_into_a_shell_travels_by_value() -> None:
    typed: dict[str, Any] = {"__name__": "__main__"}
    exec(compile("def f(x): return x", "<console>", "exec"), typed)
    copy = travelling(futures.task(typed["f"], retries=1))
    assert (type(copy), copy.options, copy.__qualname__) == (TaskFunction, TaskOptions(1), "<shell>.f")
    assert travelling(double) is double


def test_packed_arguments_may_be_task_functions() -> None:
    assert Packed(pickles.dump_task((double,))).unpack() == (double,)
