"""The workloads: each is given a warm peer, checks every result, and reports how long it took.

A peer's program is called with the name of a workload and words like ``count=20000``; it prints one line of JSON.
Time is that from the first submission to the last result; the pool was started, and has run the same function, before.
Those about a first time have had one call of another function.
"""

from __future__ import annotations

import json
import operator
import os
import queue
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import functions
from cost_workloads import broker_memory, growth_map, growth_submit, queued_memory, rest
from peer import Peer
from processes import computed, named, others
from site_workloads import Report, echo_arrays, first, map_nothing, mapped, one_elsewhere, submit_nothing, warm

_SEED = 28  # no long task comes last: handed out in order, 2 workers could be busy for 99.9 % of the time, 8 for 99.3 %


def main(start: Callable[..., Peer]) -> None:
    """Run the workload that is named on the command line, on the peer that *start* makes."""
    name, *words = sys.argv[1:]
    parameters: dict[str, Any] = {key: value_of(text) for key, _, text in (word.partition("=") for word in words)}
    traits = {key: bool(parameters.pop(key)) for key in ("uneven", "large") if key in parameters}
    peer = start(parameters.pop("workers"), **traits)
    try:
        report = {"workers": peer.workers, **WORKLOADS[name](peer, **parameters), "ended": time.time()}
    finally:
        peer.close()
    print(json.dumps(report), flush=True)


def value_of(text: str) -> Any:
    """Return the number or truth that *text* stands for, or *text* itself."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"True": True, "False": False}.get(text, text)


def again(peer: Peer) -> Report:
    """Say how long it takes, when there was a pool before, from the start of another to its first result."""
    assert peer.result(peer.submit(functions.nothing, 42)) == 42
    peer.close()
    start = time.perf_counter()
    other = type(peer)(peer.workers)
    try:
        assert other.result(other.submit(functions.nothing, 42)) == 42
        return {"seconds": time.perf_counter() - start}
    finally:
        other.close()


def begin(peer: Peer) -> None:
    """Let the pool start, by one call of a function that is not measured."""
    peer.result(peer.submit(functions.process_id, 0))


def first_map(peer: Peer, count: int) -> Report:
    """Map a no-op for the first time."""
    begin(peer)
    return mapped(peer, count)


def one_at_a_time(peer: Peer, count: int) -> Report:
    """Submit a no-op and wait for it, again and again; say what part ran in this process."""
    warm(peer, functions.process_id, 0)
    start = time.perf_counter()
    processes = [peer.result(peer.submit(functions.process_id, n)) for n in range(count)]
    seconds = time.perf_counter() - start
    here = processes.count(os.getpid())
    assert here == count or peer.others > 0
    return {"seconds": seconds, "note": f"{here / count:.1%} ran here"}


def called_back(peer: Peer, count: int) -> Report:
    """Submit a no-op and wait, in a queue, until its callback has put it there, again and again."""
    warm(peer, functions.nothing, 0)
    done: queue.Queue[Any] = queue.Queue()
    start = time.perf_counter()
    for n in range(count):
        peer.submit(functions.nothing, n).add_done_callback(done.put)
        assert done.get(timeout=60).result() == n
    return {"seconds": time.perf_counter() - start}


def durations(count: int) -> list[float]:
    """Return log-normal durations with a mean of 2 ms, none longer than 60 ms, the same ones each time."""
    dice, sigma = random.Random(_SEED), 1.25
    drawn = [dice.lognormvariate(-sigma * sigma / 2, sigma) for _ in range(count)]
    return [min(0.060, 0.002 * duration) for duration in drawn]


def uneven_map(peer: Peer, count: int, function: str) -> Report:
    """Map a function that takes its time over uneven durations."""
    task, wanted = getattr(functions, function), durations(count)
    warm(peer, task, 0.0001)
    start = time.perf_counter()
    took = peer.map(task, wanted)
    seconds = time.perf_counter() - start
    assert len(took) == count
    assert all(map(operator.ge, took, wanted))
    return {"seconds": seconds, "busy": sum(wanted)}


def uneven_task(peer: Peer, count: int, function: str) -> Report:
    """Let a task map the same."""
    assert peer.verbs is not None
    task, wanted = getattr(functions, function), durations(count)
    warm(peer, task, 0.0001)
    start = time.perf_counter()
    took = peer.result(peer.submit(functions.mapped, peer.verbs, task, wanted))
    seconds = time.perf_counter() - start
    assert len(took) == count
    assert all(map(operator.ge, took, wanted))
    return {"seconds": seconds, "busy": sum(wanted)}


def uneven_cpu(peer: Peer, count: int) -> Report:
    """Say what CPU time all processes but this one have for a map of uneven sleeps."""
    wanted = durations(count)
    warm(peer, functions.doze, 0.0001)
    pool = others(peer.root())
    brokers = named("scoop-broker", pool)
    before, of_brokers, own = computed(pool), computed(brokers), time.process_time()
    took = peer.map(functions.doze, wanted)
    used, of_brokers, own = computed(pool) - before, computed(brokers) - of_brokers, time.process_time() - own
    assert len(took) == count
    assert all(map(operator.ge, took, wanted))
    each = 1e6 / count
    note = f"the program's own: {each * own:.0f} us"
    return {"cpu": used, "note": f"the broker's part: {each * of_brokers:.0f} us, {note}" if brokers else note}


def uneven_submit(peer: Peer, count: int, function: str) -> Report:
    """Submit the same."""
    task, wanted = getattr(functions, function), durations(count)
    warm(peer, task, 0.0001)
    start = time.perf_counter()
    took = peer.gather([peer.submit(task, duration) for duration in wanted])
    seconds = time.perf_counter() - start
    assert len(took) == count
    assert all(map(operator.ge, took, wanted))
    return {"seconds": seconds, "busy": sum(wanted)}


def even_submit(peer: Peer, count: int, burnt: float) -> Report:
    """Submit tasks that burn so many seconds each."""
    warm(peer, functions.burn, 0.0001)
    start = time.perf_counter()
    took = peer.gather([peer.submit(functions.burn, burnt) for _ in range(count)])
    seconds = time.perf_counter() - start
    assert min(took) >= burnt
    return {"seconds": seconds, "busy": count * burnt}


def nested_fib(peer: Peer, n: int) -> Report:
    """Compute a Fibonacci number with a task for each call."""
    assert peer.verbs is not None
    warm(peer, functions.nothing, 0)
    assert functions.fib(peer.verbs, 5) == 5
    return _fib(peer, n)


def first_fib(peer: Peer, n: int) -> Report:
    """Do so for the first time."""
    begin(peer)
    return _fib(peer, n)


def _fib(peer: Peer, n: int) -> Report:
    numbers = [0, 1]
    calls = [1, 1]
    for _ in range(n - 1):
        numbers.append(numbers[-1] + numbers[-2])
        calls.append(1 + calls[-1] + calls[-2])
    start = time.perf_counter()
    found = functions.fib(peer.verbs, n)
    seconds = time.perf_counter() - start
    assert found == numbers[n]
    return {"seconds": seconds, "tasks": calls[n]}


def nested_tree(peer: Peer, n: int) -> Report:
    """Walk the tree of SCOOP's example full_tree."""
    assert peer.verbs is not None
    warm(peer, functions.nothing, 0)
    functions.tree(peer.verbs, 2)
    return _tree(peer, n)


def first_tree(peer: Peer, n: int) -> Report:
    """Do so for the first time."""
    begin(peer)
    return _tree(peer, n)


def _tree(peer: Peer, n: int) -> Report:
    start = time.perf_counter()
    found = peer.submit(functions.tree, peer.verbs, n).result()
    seconds = time.perf_counter() - start
    rows = [sum(k * k for k in range(1, i + 1)) for i in range(1, n + 1)]
    assert found == sum(sum(rows[:i]) for i in range(1, n + 1))
    tasks = 1 + n + sum(range(1, n + 1)) + sum(sum(range(1, i + 1)) for i in range(1, n + 1))
    return {"seconds": seconds, "tasks": tasks}


def nested_leaves(peer: Peer, n: int, leaf: float) -> Report:
    """Walk a tree whose leaves burn."""
    assert peer.verbs is not None
    warm(peer, functions.nothing, 0)
    functions.leaves(peer.verbs, 3, leaf)
    numbers = [0, 1]
    for _ in range(n):
        numbers.append(numbers[-1] + numbers[-2])
    start = time.perf_counter()
    found = functions.leaves(peer.verbs, n, leaf)
    seconds = time.perf_counter() - start
    assert found == numbers[n + 1]
    return {"seconds": seconds, "tasks": found}


def map_reduce(peer: Peer, count: int) -> Report:
    """Add up what a map of a no-op returns."""
    peer.map_reduce(functions.nothing, operator.add, range(8 * peer.workers))
    return _map_reduce(peer, count)


def first_map_reduce(peer: Peer, count: int) -> Report:
    """Do so for the first time."""
    begin(peer)
    return _map_reduce(peer, count)


def _map_reduce(peer: Peer, count: int) -> Report:
    start = time.perf_counter()
    found = peer.map_reduce(functions.nothing, operator.add, range(count))
    seconds = time.perf_counter() - start
    assert found == sum(range(count))
    return {"seconds": seconds}


WORKLOADS: dict[str, Callable[..., Report]] = {
    function.__name__: function
    for function in (
        first,
        again,
        map_nothing,
        submit_nothing,
        one_at_a_time,
        one_elsewhere,
        called_back,
        uneven_map,
        uneven_task,
        uneven_cpu,
        uneven_submit,
        even_submit,
        first_map,
        first_map_reduce,
        first_fib,
        first_tree,
        nested_fib,
        nested_tree,
        nested_leaves,
        map_reduce,
        echo_arrays,
        queued_memory,
        broker_memory,
        rest,
        growth_submit,
        growth_map,
    )
}
