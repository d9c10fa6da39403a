"""The state of the generators behind `random` and `numpy.random`, both of them Mersenne Twisters.

`random.getstate` makes a tuple of 625 numbers, which takes 14 us, and `numpy.random.get_state` takes 63 us: too much
for what is done around each task that runs where it was submitted. The state is 2,500 bytes of memory, and a copy of
these takes 0.1 us; it is only made of a stream from which something was drawn. Where they lie numpy says; for `random`
it is found out by looking for what `getstate` returns. An exchange takes 0.6 us. That of `random` begins when somebody
uses its stream, as few programs do; `numpy` cannot tell a stream that was seeded from one that nobody has used.
"""

from __future__ import annotations

import ctypes
import functools
import random
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

_WORDS = 624
_SIZE = 4 * (_WORDS + 1)  # with the position among the words
_IN_USE = (1,)
_GAUSS = struct.Struct("id")  # whether there is a second number of a pair, and that number, as numpy has them


class _Words(Struct, frozen=True, eq=False):
    """The state of a generator at a moment: a copy of its memory, and what shows that it is still in force.

    Whoever draws moves the position, and after the last of the words changes them all, as does a seed.
    """

    copy: bytes
    position: int
    sample: int  # two of the words
    gauss: Any  # the second number of a pair


class _Memory:
    """The *memory* of a generator, where its position and its words begin at so many bytes."""

    def __init__(self, memory: memoryview, position: int, words: int) -> None:
        self.whole = memory
        self.position = memory[position : position + 4].cast("i")
        self.words = memory[words : words + 4 * _WORDS].cast("Q")

    def look(self, gauss: Any) -> _Words:
        """Return the state that is in force, with the second number of a pair."""
        return _Words(self.whole.tobytes(), self.position[0], self.words[1], gauss)


class PythonStream:
    """The stream that `random.random` and the other functions of the module draw from.

    It need not be exchanged before it is in use: who draws from it first, or sets it, may have it, and the other side
    a new one. So this is made before anybody does, and `in_use` is quick to ask.
    """

    def __init__(self) -> None:
        self.in_use: Sequence[int] = _IN_USE  # if its first number is not 0
        self._random: Any = random._inst
        memory = _memory_of(self._random)
        self._memory = None if memory is None else _Memory(memory, position=0, words=4)
        self._begun: _Words | None = None  # what it was when it was gone on with
        if self._memory is not None:
            self._random.getrandbits(32)  # makes the words that are drawn next, all of them
            self._memory.position[0] = 0  # again from the first on: no draw, and no seed, leaves the position there
            self.in_use = self._memory.position
            for name in ("getstate", "setstate"):  # which need not move it
                setattr(random, name, self._noted(getattr(random, name), name))

    def _noted(self, method: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def noted(*args: Any, **kwargs: Any) -> Any:
            self.in_use = _IN_USE
            return method(*args, **kwargs)

        noted.__module__, noted.__qualname__ = random.__name__, name  # where it is found, by pickle for one
        return noted

    def exchange(self, other: Any) -> Any:
        """Go on with the stream *other*, as returned by this method; return the present one. None: a new one."""
        self.in_use = _IN_USE
        generator, memory, present = self._random, self._memory, self._begun
        if memory is None:
            state = generator.getstate()
            generator.setstate(other or random.Random(repr(state)).getstate())
            return state
        if (
            present is None
            or memory.position[0] != present.position
            or memory.words[1] != present.sample
            or generator.gauss_next is not present.gauss
        ):
            present = memory.look(generator.gauss_next)
        if other is None:
            generator.seed(present.copy)  # so that a program that is seeded has the same tasks each time
        else:
            memory.whole[:] = other.copy
            generator.gauss_next = other.gauss
        self._begun = other
        return present


class NumpyStream:
    """The stream that `numpy.random.rand` and the other functions of the module draw from."""

    def __init__(self, mtrand: Any) -> None:
        self._mtrand = mtrand
        self._bits: Any = None
        self._memory: _Memory | None = None
        self._gauss: memoryview | None = None
        self._begun: _Words | None = None  # what it was when it was gone on with

    def exchange(self, other: Any) -> Any:
        """Go on with the stream *other*, as returned by this method; return the present one. None: a new one."""
        state = self._mtrand._rand
        if (
            state._bit_generator is not self._bits
        ):  # numpy.random.set_bit_generator was called, or this is the first time
            self._look()
        if self._memory is None or self._gauss is None:
            whole = state.get_state(legacy=False)
            if type(other) is not dict or other["bit_generator"] != whole["bit_generator"]:
                new = type(self._bits)(list(repr(whole).encode()))
                other = {**new.state, "has_gauss": 0, "gauss": 0.0}
            state.set_state(other)
            return whole
        memory, gauss, present = self._memory, self._gauss.tobytes(), self._begun
        if (
            present is None
            or memory.position[0] != present.position
            or memory.words[1] != present.sample
            or gauss != present.gauss
        ):
            present = memory.look(gauss)
        if type(other) is _Words:
            memory.whole[:] = other.copy
            self._gauss[:] = other.gauss
            self._begun = other
        else:
            state.seed(list(present.copy))
            self._begun = None
        return present

    def _look(self) -> None:
        state = self._mtrand._rand
        self._bits, self._memory, self._gauss, self._begun = state._bit_generator, None, None, None
        if type(self._bits).__name__ == "MT19937":
            address = self._bits.ctypes.state_address
            memory = memoryview((ctypes.c_char * _SIZE).from_address(address)).cast("B")
            told = state.get_state(legacy=False)["state"]
            if memory == told["key"].tobytes() + struct.pack("i", told["pos"]):
                self._memory = _Memory(memory, position=4 * _WORDS, words=0)
                self._gauss = _gauss_of(state, self._mtrand.RandomState)


def _raw(value: Any, kind: type) -> memoryview | None:
    """Return the memory of an object, None where it is not where its `id` says."""
    if sys.implementation.name != "cpython":
        return None
    return memoryview((ctypes.c_char * kind.__basicsize__).from_address(id(value))).cast("B")


def _memory_of(generator: random.Random) -> memoryview | None:
    """Return the memory of a generator's state, None if it is not found."""
    raw = _raw(generator, random.Random.__mro__[1])  # [CPython, Modules/_randommodule.c, RandomObject]
    if raw is None:
        return None
    *words, position = generator.getstate()[1]
    start = raw.tobytes().find(struct.pack(f"i{_WORDS}I", position, *words))
    return None if start < 0 else raw[start : start + _SIZE]


def _gauss_of(state: Any, kind: type) -> memoryview | None:
    """Return where *state* keeps the second number of a pair, None if it is not found in another of its *kind*."""
    other, mark = kind(0), 0.123456789
    whole = other.get_state(legacy=False)
    whole.update(has_gauss=1, gauss=mark)
    other.set_state(whole)
    raw, own = _raw(other, kind), _raw(state, kind)
    if raw is None or own is None:
        return None
    start = raw.tobytes().find(_GAUSS.pack(1, mark))
    return None if start < 0 else own[start : start + _GAUSS.size]
