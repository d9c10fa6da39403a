"""Several items of one map as one task."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from time import monotonic
from typing import Any, overload

from msgspec import Struct

from scoop_hpc.pickling import pickles
from scoop_hpc.pickling.arguments import NEVER_RESULTS, all_sendable, are_sendable, refuse_result
from scoop_hpc.pickling.packed import NUMBERS, Packed
from scoop_hpc.pickling.pickles import Outcome
from scoop_hpc.protocol.messages import Buffer
from scoop_hpc.worker.current import running
from scoop_hpc.worker.policy import DEFAULT
from scoop_hpc.worker.program import interrupts


class Chunk(Struct, frozen=True):
    """The results of a chunk's items, up to the first that failed; ``error`` is the pickled outcome of that one."""

    results: list[Any]
    error: list[Buffer] | None = None
    atoms: bool = False  # no result is packed, and no item failed
    left: int = 0  # items, at the end, for which there was no time
    seconds: float = 0.0  # that the others took
    size: int = 0  # bytes of their results, numbers aside

    @property
    def has_failed(self) -> bool:
        """True if an item failed; those after it were not tried."""
        return self.error is not None

    def unpacked(self) -> Iterable[Any]:
        """Return the results in turn; then raise what the last item raised."""
        return self.results if self.atoms else self._unpacked()

    def _unpacked(self) -> Iterator[Any]:
        for result in self.results:
            yield result.result(last=True) if type(result) is Packed else result
        if self.error is not None:
            error = pickles.load_outcome(self.error).error
            assert error is not None
            raise error


class Calls(list[tuple[Any, ...]]):
    """The arguments of many calls, as many for each. They travel as one flat list: in half the time of their tuples.

    >>> import copy
    >>> copy.copy(Calls([(1, 2), (3, 4)]))
    [(1, 2), (3, 4)]
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _calls, (list(chain.from_iterable(self)), len(self[0]))


class SingleCalls(Sequence[tuple[Any]]):
    """The calls with each of *values*, a list or a range, as the only argument. What is kept, and travels, is these.

    >>> calls = SingleCalls(range(0, 10, 2))
    >>> list(calls), calls[1], list(calls[-2:])
    ([(0,), (2,), (4,), (6,), (8,)], (2,), [(6,), (8,)])
    """

    __slots__ = ("values",)

    def __init__(self, values: list[Any] | range) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[Any]]:
        return zip(self.values)

    @overload
    def __getitem__(self, index: int) -> tuple[Any]: ...

    @overload
    def __getitem__(self, index: slice) -> SingleCalls: ...

    def __getitem__(self, index: int | slice) -> tuple[Any] | SingleCalls:
        return SingleCalls(self.values[index]) if isinstance(index, slice) else (self.values[index],)

    def __reduce__(self) -> tuple[Any, ...]:
        return SingleCalls, (self.values,)


def _calls(arguments: list[Any], each: int) -> list[tuple[Any, ...]]:
    return list(zip(*[iter(arguments)] * each))


def to_send(items: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
    """Return *items* such that they travel in little time."""
    return items if len(items) == 1 or type(items) is SingleCalls else Calls(items)


def can_be_sent(items: Sequence[tuple[Any, ...]]) -> bool:
    """Return whether `refuse_unsendable` would take all of *items*."""
    if type(items) is SingleCalls:
        return isinstance(items.values, range) or are_sendable(items.values)
    return all_sendable(items)


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(*arguments)


def run_chunk(
    function: Callable[..., Any],
    items: Sequence[tuple[Any, ...]],
    budget: float | None = None,
    first: int = 0,
    called: Callable[..., Any] | None = None,
) -> Chunk:
    """Call *function* with each of *items* in turn, up to one that raises or returns what cannot be pickled.

    After *budget* seconds, if that is not None, or `Policy.chunk_result_bytes` of results, the rest is left: others may
    do it, now that it is known to last. The *first* item is this one of its map; 0: they are not numbered. *called* is
    the user's function, if *function* is not.
    """
    results: list[Any] = []
    append, total = results.append, len(items)
    process = os.getpid()
    worker = running()
    meter = None if worker is None else worker.meter(called or function)
    counted = 0
    atoms = True
    size = 0
    call: Callable[[Any], Any] = partial(_call, function)
    rest: Iterator[Any] = iter(items)
    if type(items) is SingleCalls:  # to pass on the one argument takes half the time
        call, rest = function, iter(items.values)
    group = total if budget is None else 1
    most_bytes, look, most_items = DEFAULT.chunk_result_bytes, DEFAULT.chunk_look, DEFAULT.chunk_look_items
    start = now = counted_at = monotonic()
    try:
        while len(results) < total and (budget is None or (now - start < budget and size < most_bytes)):
            for args in islice(rest, group):
                result = call(args)
                kind = type(result)
                if kind not in NUMBERS:
                    if kind is str or kind is bytes:
                        size += len(result)
                    else:
                        if kind in NEVER_RESULTS:
                            refuse_result(function, result)
                        result = Packed(pickles.dump(result))
                        size += sum(map(len, result.frames))
                        atoms = False
                append(result)
            before, now = now, monotonic()
            if meter is not None and now - counted_at >= look:  # to count takes a microsecond
                meter.add(len(results) - counted, now - counted_at)
                counted, counted_at = len(results), now
            if group != most_items or now - before > look:  # else it would come to the same
                group = max(1, min(2 * group, most_items, int(look * group / max(now - before, 1e-9))))
    except BaseException as error:  # the user's function: what it raised is sent on
        if os.getpid() != process:  # by a child that it has forked: not this worker's business
            raise
        is_failure = not interrupts.is_marked(error)
        if meter is not None:
            meter.add(len(results) + 1 - counted, monotonic() - counted_at)
            if is_failure:
                meter.fail(error, items[len(results)], first + len(results) if first else None)
            meter.end()
        if not is_failure:  # who waits for this is to hear of it now, and not after the results that there are
            raise
        return Chunk(results, pickles.dump_outcome(Outcome(error=error)))
    if meter is not None:
        meter.add(len(results) - counted, now - counted_at)
        meter.end()
    return Chunk(results, None, atoms, total - len(results), now - start, size)
