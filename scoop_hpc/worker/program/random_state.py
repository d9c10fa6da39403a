"""The state of the generators behind `random` and `numpy.random`, both of them Mersenne Twisters.

`random.getstate` makes a tuple of 625 numbers, which takes 14 us, and `numpy.random.get_state` takes 63 us: too much
for what is done around each task that runs where it was submitted. The state is 2,500 bytes of memory, and a copy of
these takes 0.1 us. Where they lie numpy says; for `random` it is found out by looking for what `getstate` returns.
"""

from __future__ import annotations

import ctypes
import random
import struct
import sys
from typing import Any

_WORDS = 624
_SIZE = 4 * (_WORDS + 1)  # with the position among the words
_GAUSS = struct.Struct("id")  # whether there is a second number of a pair, and that number, as numpy has them


class PythonStream:
    """The stream that `random.random` and the other functions of the module draw from."""

    def __init__(self) -> None:
        self._random: random.Random = random._inst
        self._memory = _memory_of(self._random)

    def exchange(self, other: Any) -> Any:
        """Go on with the stream *other*, as returned by this method; return the present one. None: a new one."""
        generator, memory = self._random, self._memory
        if memory is None:
            state = generator.getstate()
            generator.setstate(other or random.Random(repr(state)).getstate())
            return state
        words, gauss = memory.tobytes(), generator.gauss_next  # type: ignore[attr-defined]
        if other is None:
            generator.seed(words)  # so that a program that is seeded has the same tasks each time
        else:
            memory[:], generator.gauss_next = other  # type: ignore[attr-defined]
        return words, gauss


class NumpyStream:
    """The stream that `numpy.random.rand` and the other functions of the module draw from."""

    def __init__(self, mtrand: Any) -> None:
        self._mtrand = mtrand
        self._bits: Any = None
        self._memory: memoryview | None = None
        self._gauss: memoryview | None = None

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
        words, gauss = self._memory.tobytes(), self._gauss.tobytes()
        if type(other) is tuple:
            self._memory[:], self._gauss[:] = other
        else:
            state.seed(list(words))
        return words, gauss

    def _look(self) -> None:
        state = self._mtrand._rand
        self._bits, self._memory, self._gauss = state._bit_generator, None, None
        if type(self._bits).__name__ == "MT19937":
            address = self._bits.ctypes.state_address
            memory = memoryview((ctypes.c_char * _SIZE).from_address(address)).cast("B")
            told = state.get_state(legacy=False)["state"]
            if memory == told["key"].tobytes() + struct.pack("i", told["pos"]):
                self._memory = memory
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
