"""A failing scenario made smaller, as long as it still fails: fewer faults, nodes, workers, tasks and steps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from scoop_hpc.sim.network import NetworkPlan
from scoop_hpc.sim.plan import Scenario
from scoop_hpc.sim.program import Submit
from scoop_hpc.sim.scenario import Failure


def shrink(failure: Failure, fails: Callable[[Scenario], Failure | None], most: int = 2000) -> Failure:
    """Return the smallest failure of the same kind found in at most so many runs of *fails*, which runs a scenario."""
    tried, kind = 0, _kind(failure)
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in _smaller(failure.scenario):
            if tried >= most:
                return failure
            tried += 1
            found = fails(candidate)
            if found is not None and _kind(found) == kind:
                failure, is_smaller = found, True
                break
    return failure


def _kind(failure: Failure) -> str:
    """Return the promise that was broken, without the numbers of tasks, workers and seconds."""
    return re.sub(r"\(.*?\)|[\d.,]+", "", failure.reason)


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Yield scenarios that are smaller by one thing, what takes away most first."""
    faults, nodes, program = scenario.faults, scenario.nodes, scenario.program
    if faults:
        yield replace(scenario, faults=())
    children = [step.call for call in program.calls.values() for step in call.steps if isinstance(step, Submit)]
    half = program
    for child in sorted(children)[len(children) // 2 :]:
        if child in half.calls:
            half = half.without(child)
    if len(half.calls) + 1 < len(program.calls):
        yield replace(scenario, program=half)
    for index in range(len(faults)):
        yield replace(scenario, faults=(*faults[:index], *faults[index + 1 :]))
    if len(nodes) > 1:
        yield replace(scenario, nodes=nodes[:-1])
    for index, workers in enumerate(nodes):
        if workers > 1:
            yield replace(scenario, nodes=(*nodes[:index], workers - 1, *nodes[index + 1 :]))
    for child in sorted(children, reverse=True):
        yield replace(scenario, program=program.without(child))
    for number in sorted(program.calls, reverse=True):
        for index, step in enumerate(program.calls[number].steps):
            if not isinstance(step, Submit):
                yield replace(scenario, program=program.without_step(number, index))
    if scenario.network != NetworkPlan():
        yield replace(scenario, network=NetworkPlan())
