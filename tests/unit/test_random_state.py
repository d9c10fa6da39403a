"""Streams of random numbers that are exchanged: neither disturbs the other."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator

import numpy
import pytest

from scoop_hpc.worker.program import random_state
from scoop_hpc.worker.program.random_state import NumpyStream, PythonStream


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("getstate", "setstate"):
        monkeypatch.setattr(random, name, getattr(random, name))  # puts back what a stream puts there
    state, other = random.getstate(), numpy.random.get_state()
    yield
    random.setstate(state)
    numpy.random.set_state(other)


def draw() -> list[float]:
    return [random.random(), random.gauss(0, 1), numpy.random.rand(), numpy.random.randn()]


@pytest.mark.parametrize("memory", [True, False])
def test_either_stream_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch, memory: bool) -> None:
    if not memory:
        monkeypatch.setattr(random_state, "_raw", lambda value, kind: None)
    random.seed(1)
    numpy.random.seed(1)
    expected = [draw() for _ in range(400)]  # past the end of the 624 words
    random.seed(1)
    numpy.random.seed(1)
    streams: list[PythonStream | NumpyStream] = [PythonStream(), NumpyStream(numpy.random.mtrand)]
    others: list[object] = [None, None]
    ours, theirs = [], []
    for n in range(400):
        ours.append(draw())
        others = [stream.exchange(other) for stream, other in zip(streams, others)]
        theirs.append(draw()[: 1 + n % 4])  # a task may take one of a pair
        others = [stream.exchange(other) for stream, other in zip(streams, others)]
    assert ours == expected
    assert len({draws[0] for draws in theirs}) == 400
    assert not {draws[0] for draws in theirs} & {draws[0] for draws in ours}


def test_memory_of_the_state_is_found() -> None:
    numbers = NumpyStream(numpy.random.mtrand)
    numbers.exchange(None)
    assert PythonStream()._memory is not None
    assert numbers._memory is not None
    assert numbers._gauss is not None


def test_another_bit_generator_of_numpy_is_exchanged_too() -> None:
    before = numpy.random.mtrand.get_bit_generator()
    try:
        numbers = NumpyStream(numpy.random.mtrand)
        others = numbers.exchange(None)
        numbers.exchange(others)
        numpy.random.mtrand.set_bit_generator(numpy.random.PCG64(7))
        state = numpy.random.mtrand.get_bit_generator().state
        mine = numbers.exchange(None)
        assert numpy.random.rand() != numpy.random.Generator(numpy.random.PCG64(7)).random()
        numbers.exchange(mine)
        assert numpy.random.mtrand.get_bit_generator().state == state
    finally:
        numpy.random.mtrand.set_bit_generator(before)


@pytest.mark.parametrize("seeded", ["once", "twice", "by as many draws as there are words"])
def test_stream_is_told_from_itself_at_the_same_position(seeded: str) -> None:
    stream = PythonStream()
    random.seed(1)
    theirs = stream.exchange(stream.exchange(None))
    if seeded == "by as many draws as there are words":
        for _ in range(624):
            random.getrandbits(32)
    else:
        random.seed(2)
    if seeded == "twice":
        random.seed(3)
    expected = random.getstate()
    ours = stream.exchange(theirs)
    stream.exchange(ours)
    assert random.getstate() == expected


def test_stream_is_in_use_once_somebody_has_drawn_from_it_or_set_it() -> None:
    state = random.Random(5).getstate()
    for use in (
        random.random,
        random.seed,
        lambda: random.seed(1),
        lambda: [random.getrandbits(32) for _ in range(624)],
        lambda: random.gauss(0, 1),
        lambda: random.getstate(),
        lambda: random.setstate(state),
    ):
        stream = PythonStream()
        assert not stream.in_use[0]
        use()
        assert stream.in_use[0]


def test_stream_that_is_exchanged_stays_in_use() -> None:
    stream = PythonStream()
    unused = stream.exchange(None)
    stream.exchange(unused)
    assert stream.in_use[0]


def test_stream_whose_state_is_not_found_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_state, "_raw", lambda value, kind: None)
    assert PythonStream().in_use[0]


def test_looking_for_the_state_takes_no_number_from_the_stream() -> None:
    random.seed(3)
    expected = [random.random() for _ in range(400)]
    random.seed(3)
    PythonStream()
    assert [random.random() for _ in range(400)] == expected


def test_functions_for_the_state_are_still_found_by_their_names() -> None:
    PythonStream()
    assert pickle.loads(pickle.dumps(random.getstate)) is random.getstate
