"""Many seeds, one after the other or over several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from scoop_hpc.sim.plan import Classes
from scoop_hpc.sim.scenario import Failure, Sizes, make_scenario, run


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one seed: the reason of a failure, if it failed."""

    seed: int
    reason: str | None
    executed: int = 0
    events: int = 0
    deaths: int = 0
    losses: int = 0


def try_seed(seed: int, sizes: Sizes = Sizes(), classes: Classes = Classes()) -> Outcome:
    """Run the scenario of *seed*."""
    result = run(make_scenario(seed, sizes), classes)
    if isinstance(result, Failure):
        return Outcome(seed, result.reason)
    return Outcome(seed, None, result.executed, result.events, result.deaths, result.losses)


def try_seeds(seeds: Sequence[int], sizes: Sizes, processes: int) -> Iterator[Outcome]:
    """Run the scenarios of *seeds*; yield what came of each, in their order."""
    attempt = partial(try_seed, sizes=sizes)
    if processes == 1:
        yield from map(attempt, seeds)
        return
    with multiprocessing.Pool(processes) as pool:
        outcomes: Iterable[Outcome] = pool.imap(attempt, seeds, chunksize=20)
        yield from outcomes
