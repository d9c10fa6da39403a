"""Several items of one map as one task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from scoop_hpc.errors import TaskError
from scoop_hpc.protocol.messages import Buffer
from scoop_hpc.worker import calls


@dataclass(frozen=True)
class Chunk:
    """The results of a chunk's items, up to the first that failed; ``error`` is the pickled outcome of that one."""

    results: list[Any]
    error: Optional[list[Buffer]] = None

    def picklable(self) -> Chunk:
        """Return the part of this chunk before the first result that cannot be pickled, with that as its error."""
        for index, result in enumerate(self.results):
            try:
                calls.dump(result)
            except TaskError as error:
                return Chunk(self.results[:index], calls.dump_outcome(calls.Outcome(error=error)))
        return self


def run_chunk(function: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> Chunk:
    """Call *function* with each of *items* in turn; stop at the first that raises."""
    results = []
    for args in items:
        try:
            results.append(function(*args))
        except BaseException as error:  # the user's function: what it raised is sent on
            return Chunk(results, [bytes(f) for f in calls.dump_outcome(calls.Outcome(error=error))])
    return Chunk(results)
