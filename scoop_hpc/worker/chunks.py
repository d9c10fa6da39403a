"""Several items of one map as one task."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from scoop_hpc.protocol.messages import Buffer
from scoop_hpc.worker import calls
from scoop_hpc.worker.calls import Outcome

_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})  # nobody changes them after the fact


class Packed:
    """A result, pickled when it was returned: a function may return the same object for every item, and change it."""

    def __init__(self, frames: Sequence[Buffer]) -> None:
        self._frames = frames

    def __reduce__(self) -> tuple[Any, ...]:
        return Packed, (calls.out_of_band(self._frames),)

    def unpack(self) -> Any:
        """Return the result; raises whatever unpickling raises."""
        return calls.load(self._frames)


@dataclass(frozen=True)
class Chunk:
    """The results of a chunk's items, up to the first that failed; ``error`` is the pickled outcome of that one."""

    results: list[Any]
    error: Optional[list[Buffer]] = None

    def unpacked(self) -> Iterator[Any]:
        """Yield the results, then raise what the last item raised."""
        for result in self.results:
            yield result.unpack() if type(result) is Packed else result
        if self.error is not None:
            error = calls.load_outcome(self.error).error
            assert error is not None
            raise error


def run_chunk(function: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> Chunk:
    """Call *function* with each of *items* in turn, up to one that raises or returns what cannot be pickled."""
    results: list[Any] = []
    process = os.getpid()
    for args in items:
        try:
            result = function(*args)
            results.append(result if type(result) in _ATOMS else Packed(calls.dump(result)))
        except BaseException as error:  # the user's function: what it raised is sent on
            if os.getpid() != process:  # by a child that it has forked: not this worker's business
                raise
            return Chunk(results, calls.dump_outcome(Outcome(error=error)))
    return Chunk(results)
