"""Maps of a few items, each of which is a task of its own: what tasks that make tasks do most.

A chunk of two items would cost more to make, to feed and to take apart than two futures, which run here as fast as they
are submitted, or leave one by one if they last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import TimeoutError
from typing import Any

from scoop_hpc.errors import WorkerLostError
from scoop_hpc.pickling.arguments import all_sendable
from scoop_hpc.worker.controller import Controller
from scoop_hpc.worker.future import Future
from scoop_hpc.worker.losses import name_item

_PLAIN = frozenset({list, tuple, range, str, dict, set, frozenset})  # to iterate over these cannot fail


def items_if_small(iterables: tuple[Iterable[Any], ...], most: int) -> list[tuple[Any, ...]] | None:
    """Return the arguments of all calls, None if there may be more than *most*, or any that cannot be sent."""
    for iterable in iterables:
        if type(iterable) not in _PLAIN or len(iterable) > most:  # type: ignore[arg-type]
            return None
    items = list(zip(*iterables))
    return items if items and all_sendable(items) else None


def submit_each(
    controller: Controller, function: Callable[..., Any], items: Iterable[tuple[Any, ...]], deadline: float | None
) -> Iterator[Any]:
    """Submit a task for each of *items*, now; return the results in their order."""
    submit = controller.submit
    futures = deque([submit(function, args, {}, position=position) for position, args in enumerate(items, 1)])
    return _in_turn(controller, futures, deadline)


def _in_turn(controller: Controller, futures: deque[Future], deadline: float | None) -> Iterator[Any]:
    taken = 0
    try:
        while futures:
            future = futures.popleft()
            taken += 1
            if deadline is not None and not future.settled:
                controller.wait_for(future, deadline)
                if not future.settled:
                    controller.abandon(future)
                    raise TimeoutError("not all results of map were there in time")
            error = future.exception()
            if isinstance(error, WorkerLostError):
                name_item(error, taken, "map")
            yield future.result()
    finally:
        for future in futures:
            controller.abandon(future)
