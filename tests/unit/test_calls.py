"""Calls and outcomes survive the trip, or say why not."""

from __future__ import annotations

import concurrent.futures
import copyreg
import dataclasses
import mmap
import pickle
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

import pytest

from scoop_hpc.bulk.chunks import run_chunk
from scoop_hpc.errors import TaskError, UnpicklableError
from scoop_hpc.pickling import batching, pickles
from scoop_hpc.pickling.packed import Packed
from scoop_hpc.pickling.pickles import Outcome, RemoteTraceback
from scoop_hpc.protocol.messages import Batch, Reference
from scoop_hpc.protocol.names import ORIGIN
from scoop_hpc.transport import maps
from scoop_hpc.transport.segments import Segments


@pytest.fixture
def segments() -> Iterator[Segments]:
    segments = Segments(most=100)
    yield segments
    segments.close()


def dumped(outcomes: list[Outcome], segments: Segments | None = None) -> list[Any]:
    """Return the frames of *outcomes*, whose tasks are numbered from 1 on."""
    return batching.dump_outcomes(
        [batching.pack_outcome(serial, outcome, segments) for serial, outcome in enumerate(outcomes, 1)]
    )


def trip(value: Any) -> Any:
    return pickles.load([bytes(frame) for frame in pickles.dump(value)])


def outcome_of(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as raised:
        arrived = pickles.load_outcome(pickles.dump_outcome(Outcome(error=raised)))
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
    function, args, kwargs = batching.load_call(batching.dump_call(lambda x: base + x, (2,), {}))
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
    frames = pickles.dump(PickledBuffer(array))
    assert len(frames) == 2
    assert len(frames[0]) < 1000
    back = pickles.load(frames)
    back.data[0] = 1
    assert array[0] == 0


def test_large_buffer_goes_into_a_segment_and_arrives_without_a_copy(segments: Segments) -> None:
    array = bytearray(b"a") * 600_000
    frames = pickles.dump(PickledBuffer(array), segments)
    array[0] = 0
    assert [type(frame) for frame in frames] == [bytes, Reference]
    back = pickles.load(frames)
    assert type(back.data.obj) is mmap.mmap
    assert back.data[0] == ord("a")
    back.data[0] = 1


def test_large_string_goes_into_a_segment(segments: Segments) -> None:
    text = "x" * 1_000_000
    frames = pickles.dump(text, segments)
    assert [type(frame) for frame in frames] == [Reference]
    assert pickles.load(frames) == text


def test_what_is_packed_in_an_outcome_arrives_without_a_copy(segments: Segments) -> None:
    outcomes = [
        Outcome(PickledBuffer(bytearray(b"a") * 600_000)),
        Outcome(b"b" * 600_000),
        Outcome("c"),
        Outcome(error=KeyError("d")),
    ]
    frames = dumped(outcomes, segments)
    assert sum(map(len, frames)) < 5_000
    items = batching.load_outcomes(maps.taken(Batch(ORIGIN, 0, frames)).frames)
    values = [batching.value_of(item) for _, item, _ in items]
    assert type(values[0][0].data.obj) is mmap.mmap
    assert not values[0][0].data.readonly
    assert [value for value, _ in values[1:]] == [b"b" * 600_000, "c", None]
    assert isinstance(values[3][1], KeyError)


def test_result_whose_memory_is_gone_is_an_error_of_its_future_alone(segments: Segments) -> None:
    outcomes = [Outcome(b"b" * 600_000), Outcome("c")]
    frames = dumped(outcomes, segments)
    segments.close()
    (_, lost, _), (_, good, _) = batching.load_outcomes(maps.taken(Batch(ORIGIN, 0, frames)).frames)
    value, error = batching.value_of(lost)
    assert isinstance(error, TaskError)
    assert "600" in str(error)
    assert batching.value_of(good) == ("c", None)


@pytest.mark.parametrize("size", [100_000, 600_000])
def test_packed_value_is_pristine_until_it_is_unpacked_for_the_last_time(segments: Segments, size: int) -> None:
    packed = trip(Packed(pickles.dump(PickledBuffer(bytearray(b"a") * size))))
    first = packed.unpack()
    first.data[0] = 0
    last = packed.unpack(last=True)
    assert last.data[0] == ord("a")
    assert last.data.obj is packed.frames[1].obj


def test_what_cannot_be_pickled_leaves_no_segment(segments: Segments) -> None:
    with pytest.raises(UnpicklableError):
        pickles.dump([PickledBuffer(bytearray(600_000)), threading.Lock()], segments)
    assert not segments.lent


def test_immutable_buffer_is_not_copied() -> None:
    frames: list[Any] = pickles.dump(pickles.out_of_band([b"a" * 100_000]))
    again: list[Any] = pickles.dump(pickles.out_of_band([frames[1].obj]))
    assert frames[1].obj is again[1].obj


def test_small_buffer_stays_in_the_pickle() -> None:
    assert len(pickles.dump(PickledBuffer(bytearray(100)))) == 1


class PickledBuffer:
    def __init__(self, data: Any) -> None:
        self.data = memoryview(data)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return PickledBuffer, (pickle.PickleBuffer(self.data),)


def test_unpicklable_value_is_shown() -> None:
    with pytest.raises(TaskError, match="cannot pickle .*lock"):
        pickles.dump(threading.Lock())


def test_what_is_nested_too_deep_is_told_in_a_few_words() -> None:
    value: list[Any] = []
    for _ in range(50_000):  # Python 3.13 lets C recurse to 10,000
        value = [value]
    with pytest.raises(UnpicklableError, match=r"^cannot pickle argument 1(\[0\])+.*recursion") as raised:
        pickles.dump((print, ((value,), {})))
    assert len(str(raised.value)) < 1000


def test_future_as_an_argument_is_refused_without_a_look_into_it() -> None:
    class Refusing(concurrent.futures.Future):  # type: ignore[type-arg]
        def __reduce__(self) -> Any:
            raise TypeError("send its result")

    with pytest.raises(UnpicklableError, match=r"^cannot pickle argument 'f'\[1\] of print .*: send its result$"):
        pickles.dump((print, ((), {"f": [0, Refusing()]})))


def test_callable_object_whose_name_raises_is_told_of_by_its_own_description() -> None:
    class Callable:
        @property
        def __name__(self) -> str:
            raise SystemExit("no name")

        def __call__(self) -> None: ...

        def __repr__(self) -> str:
            return "<the callable>"

    with pytest.raises(UnpicklableError, match=r"^cannot pickle argument 1 of <the callable> "):
        pickles.dump((Callable(), ((threading.Lock(),), {})))


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


class Group(Exception):
    """As ExceptionGroup [PEP 654], which came with Python 3.11."""

    def __new__(cls, text: str, members: list[Exception]) -> Group:
        return super().__new__(cls, text, members)


def test_group_of_exceptions_with_odd_constructors_comes_back_as_one() -> None:
    arrived = outcome_of(Group("both", [Odd(7, "seven"), Group("more", [KeyError("key")])]))
    odd, more = arrived.args[1]
    assert (type(arrived), type(odd), odd.code, type(more)) == (Group, Odd, 7, Group)
    assert repr(more.args) == "('more', [KeyError('key')])"


class Meta(type):
    """As the metaclass of DEAP's creator: what it is called with is not what a class is made of."""

    def __new__(cls, name: str, base: type) -> Meta:
        return super().__new__(cls, name, (base,), {})

    def __init__(cls, name: str, base: type) -> None:
        super().__init__(name, (base,), {})


def test_class_whose_metaclass_has_a_reducer_of_its_own_goes_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(copyreg.dispatch_table, Meta, lambda kind: (Meta, (kind.__name__, kind.__base__)))
    kind = Meta("Individual", list)
    function, individual = trip((lambda x: x[0], kind([5])))  # the lambda needs cloudpickle
    assert (function(individual), type(individual).__name__, type(type(individual))) == (5, "Individual", Meta)


def test_function_sent_by_value_knows_its_file() -> None:
    by_value = pickles.load(pickles.dump(lambda: None))
    assert by_value.__code__.co_filename == __file__


class Stop(BaseException):
    pass


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    row: int


class Lying(Exception):
    def __reduce__(self) -> Any:
        return int, ("7",)


class Leaving(Exception):
    def __reduce__(self) -> Any:
        return sys.exit, (9,)


class Needs(Exception):
    def __init__(self, row: int, *, why: str) -> None:
        super().__init__(row)


class Slotted(Exception):
    __slots__ = ("row",)

    def __init__(self, row: int, column: int = 0) -> None:
        super().__init__(row, column, "more than it takes")
        self.row = row


class Mute(Exception):
    def __str__(self) -> str:
        raise Stop("no text")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise Stop("no comparison")

    __hash__ = Exception.__hash__

    def __getattr__(self, name: str) -> Any:
        raise Stop(name)


class Own(Exception):
    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        raise Stop("no cause")

    @property
    def __notes__(self) -> Any:
        raise Stop("no notes")


def test_exception_with_a_cause_of_its_own_arrives_as_itself() -> None:
    arrived = outcome_of(Own("x"))
    assert (type(arrived), arrived.args) == (Own, ("x",))
    cause = BaseException.__dict__["__cause__"].__get__(arrived)
    assert isinstance(cause, RemoteTraceback)
    assert "outcome_of" in str(cause)


@pytest.mark.parametrize("error", [Frozen(3), Lying(3), Leaving(3), Needs(3, why="odd"), Slotted(3), Stop(3)], ids=repr)
def test_exception_that_misbehaves_on_its_way_arrives_as_itself(error: BaseException) -> None:
    arrived = outcome_of(error)
    assert (type(arrived), arrived.args, getattr(arrived, "row", 3)) == (type(error), error.args, 3)
    assert isinstance(arrived.__cause__, RemoteTraceback)
    assert "outcome_of" in str(arrived.__cause__)


def test_exception_that_nobody_may_look_at_arrives_all_the_same() -> None:
    assert isinstance(outcome_of(Mute()), (Mute, TaskError))


class Refusing:
    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __getstate__(self) -> Any:
        raise self.kind("while it is pickled")

    def __repr__(self) -> str:
        raise Stop("no text")


@pytest.mark.parametrize("kind", [Stop, SystemExit, GeneratorExit, KeyboardInterrupt, ValueError])
def test_whatever_is_raised_while_a_result_is_pickled_is_the_error_of_its_future(kind: type[BaseException]) -> None:
    outcomes = [Outcome([Refusing(kind)]), Outcome([5])]
    frames = dumped(outcomes)
    (_, bad, _), (_, good, _) = batching.load_outcomes(frames)
    error = batching.value_of(bad)[1]
    assert type(error) is (KeyboardInterrupt if kind is KeyboardInterrupt else UnpicklableError)
    assert batching.value_of(good) == ([5], None)


def test_ctrl_c_while_a_call_is_pickled_goes_on() -> None:
    with pytest.raises(KeyboardInterrupt):
        batching.dump_call(abs, (Refusing(KeyboardInterrupt),), {})


def test_interrupt_that_another_thread_raises_is_none() -> None:
    found: list[BaseException] = []

    def pickle_it() -> None:
        try:
            batching.dump_call(abs, (Refusing(KeyboardInterrupt),), {})
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=pickle_it)
    thread.start()
    thread.join()
    assert [type(error) for error in found] == [UnpicklableError]


def test_result_in_a_chunk_that_exits_while_it_is_unpickled_is_an_error() -> None:
    results = run_chunk(lambda x: Leave() if x else [x], [(0,), (1,)]).unpacked()
    assert next(iter(results)) == [0]
    with pytest.raises(TaskError, match="cannot unpickle the task's result: SystemExit: 4"):
        list(run_chunk(lambda x: Leave(), [(0,)]).unpacked())


def test_exception_without_text_arrives_too() -> None:
    assert str(outcome_of(Rude())) == "Rude"


def test_result_that_cannot_be_unpickled_is_an_error_of_its_future() -> None:
    outcome = pickles.load_outcome([b"no pickle"])
    assert isinstance(outcome.error, TaskError)


def test_times_arrive() -> None:
    assert pickles.load_outcome(pickles.dump_outcome(Outcome(5, None, 0.25))) == Outcome(5, None, 0.25)


class Leave:
    def __reduce__(self) -> Any:
        return sys.exit, (4,)


def test_result_that_exits_while_it_is_unpickled_is_an_error() -> None:
    outcomes = [Outcome(Leave())]
    frames = dumped(outcomes)
    ((_, item, _),) = batching.load_outcomes(frames)
    value, error = batching.value_of(item)
    assert isinstance(error, TaskError)
    assert isinstance(error.__cause__, SystemExit)
