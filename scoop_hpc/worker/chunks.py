"""Several items of one map as one task."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from scoop_hpc.protocol.messages import Buffer
from scoop_hpc.worker import calls
from scoop_hpc.worker.calls import Outcome

ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})  # nobody changes them after the fact


class Packed:
    """A result, pickled when it was returned: a function may return the same object for every item, and change it."""

    def __init__(self, frames: Sequence[Buffer]) -> None:
        self.frames = frames

    def __reduce__(self) -> tuple[Any, ...]:
        return Packed, (calls.out_of_band(self.frames),)

    def unpack(self, last: bool = False) -> Any:
        """Return the result; raises whatever unpickling raises. If this is for the *last* time, it need not copy."""
        return calls.load(self.frames, last)


@dataclass(frozen=True)
class Chunk:
    """The results of a chunk's items, up to the first that failed; ``error`` is the pickled outcome of that one."""

    results: list[Any]
    error: Optional[list[Buffer]] = None
    atoms: bool = False  # no result is packed, and no item failed

    def unpacked(self) -> Iterable[Any]:
        """Return the results in turn; then raise what the last item raised."""
        return self.results if self.atoms else self._unpacked()

    def _unpacked(self) -> Iterator[Any]:
        for result in self.results:
            yield result.unpack(last=True) if type(result) is Packed else result
        if self.error is not None:
            error = calls.load_outcome(self.error).error
            assert error is not None
            raise error


def run_chunk(function: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> Chunk:
    """Call *function* with each of *items* in turn, up to one that raises or returns what cannot be pickled."""
    results: list[Any] = []
    process = os.getpid()
    atoms = True
    try:
        for args in items:
            result = function(*args)
            if type(result) not in ATOMS:
                result = Packed(calls.dump(result))
                atoms = False
            results.append(result)
    except BaseException as error:  # the user's function: what it raised is sent on
        if os.getpid() != process:  # by a child that it has forked: not this worker's business
            raise
        return Chunk(results, calls.dump_outcome(Outcome(error=error)))
    return Chunk(results, atoms=atoms)
