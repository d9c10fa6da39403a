"""The rows: each workload declared once, with its sizes, who runs it, and what scoop_hpc has to reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.figures import BY_MPI, EXECUTOR, OURS, TRACED, Target
from scoop_hpc.bench.rows import Report, megabytes_per_second, tasks_per_second
from scoop_hpc.bench.rows import microseconds as microseconds


@dataclass(frozen=True)
class Row:
    """A workload with its sizes, and what is made of the program's report."""

    name: str
    title: str  # a format, of the parameters
    workload: str  # in programs/workloads.py
    parameters: Mapping[str, Any]
    quick: Mapping[str, Any]  # the parameters that --quick changes
    unit: str
    more_is_better: bool
    figure: Callable[[Report], float]
    peers: tuple[str, ...]
    targets: tuple[Target, ...] = ()
    workers: int = 2

    def sized(self, quick: bool, nodes: int = 0) -> Row:
        """Return the row with all its parameters in place, the title's too.

        In an allocation of several *nodes*, a row about start-up has a worker on each.
        """
        workers = nodes if nodes > 1 and self.workload == "first" else self.workers
        parameters = {"workers": workers, **self.parameters, **(self.quick if quick else {})}
        title = self.title.format(**parameters)
        return replace(self, title=title, parameters=parameters, workers=parameters["workers"])


RAW = ("raw", "raw-batched", "raw-broker", "raw-broker-batched")
_POOLS = ("multiprocessing", "concurrent.futures", "loky", "mpi4py", "dask")
_ALL = (OURS, EXECUTOR, *_POOLS, "joblib", "scoop", *RAW)
_LEAN = (OURS, EXECUTOR, "multiprocessing", "concurrent.futures", "loky", "joblib", "raw-batched", "raw-broker-batched")
_NESTED = (OURS, "scoop")
_ELSEWHERE = (OURS, EXECUTOR, *_POOLS, "raw", "raw-broker")
_UNEVEN = ("serial", *_ELSEWHERE, "raw-batched", "scoop")
_SERIES = (1_000, 10_000, 100_000, 1_000_000)
_BURNT_BY_EXECUTOR = (Target(0.96, "serial", whose=EXECUTOR), Target(1, "raw-batched", whose=EXECUTOR))
_FIRST_NESTED = ((OURS, "greenlets", "scoop"), Target(1.5, "greenlets"), Target(1 / 15, "scoop"))
_FIRST_OF_POOLS = ((OURS, "multiprocessing"), Target(1, "multiprocessing"))
_STARTED = (OURS, BY_MPI, EXECUTOR, *_POOLS, "joblib", "scoop", "raw-broker", "serial", "srun")


def tasks_per_second_and_worker(report: Report) -> float:
    """Return the rate of one worker, all of them taken to be busy."""
    return tasks_per_second(report) / float(report["workers"])


def efficiency(report: Report) -> float:
    """Return the part of the workers' time that went into what the tasks were asked to do."""
    return float(report["busy"] / (report["workers"] * report["seconds"]))


def milliseconds(report: Report) -> float:
    """Return the time of the whole."""
    return float(1e3 * report["seconds"])


def _map(name: str, count: int, peers: tuple[str, ...], targets: tuple[Target, ...] = ()) -> Row:
    title = "map of {count:,} no-ops, default chunks"
    quick = {"count": min(count, 1_000)}
    unit = "tasks/s"
    return Row(name, title, "map_nothing", {"count": count}, quick, unit, True, tasks_per_second, peers, targets)


def _uneven(name: str, title: str, function: str, workers: int, targets: tuple[Target, ...]) -> Row:
    workload = "uneven_map" if name.endswith("map") else "uneven_submit"
    parameters = {"count": 2_000, "function": function, "uneven": True}
    peers = _UNEVEN if workload == "uneven_submit" else (*_UNEVEN, "joblib")
    figure, quick = efficiency, {"count": 40}
    return Row(name, title, workload, parameters, quick, "busy share", True, figure, peers, targets, workers)


def _first(
    name: str, title: str, sizes: Mapping[str, int], quick: Mapping[str, int], peers: tuple[str, ...], *targets: Target
) -> Row:
    workload = name.replace("-", "_")
    return Row(name, f"{title}, for the first time", workload, sizes, quick, "ms", False, milliseconds, peers, targets)


def _start(name: str, title: str, figure: Callable[[Report], float], most: float) -> Row:
    targets = (Target(most), Target(most, whose=EXECUTOR))
    return Row(name, title, "first", {}, {}, "s", False, figure, _STARTED, targets)


def _growth(name: str, title: str, count: int, quick: int, peers: tuple[str, ...]) -> Row:
    workload, sizes = name.replace("-", "_"), {"count": count}
    targets = tuple(Target(1.1, whose=peer) for peer in peers)
    unit, figure = "x", lambda report: float(report["growth"])
    return Row(name, title, workload, sizes, {"count": quick}, unit, False, figure, peers, targets)


def _fib(name: str, n: int, peers: tuple[str, ...], targets: tuple[Target, ...]) -> Row:
    title = "fib({n}), a task for each call"
    unit = "tasks/s per worker"
    figure = tasks_per_second_and_worker
    return Row(name, title, "nested_fib", {"n": n}, {"n": 8}, unit, True, figure, peers, targets)


def _leaves(name: str, workers: int, targets: tuple[Target, ...] = ()) -> Row:
    title = "tree of tasks, shape of fib({n}), leaves burn 1 ms; workers: {workers}"
    parameters, quick = {"n": 15, "leaf": 0.001}, {"n": 6}
    figure = tasks_per_second
    return Row(name, title, "nested_leaves", parameters, quick, "leaves/s", True, figure, _NESTED, targets, workers)


def _echo(name: str, count: int, size: int) -> Row:
    title = "echo of {count} arrays of {size:,} bytes, elsewhere"
    parameters, quick = {"count": count, "size": size, "large": True}, {"count": 3, "size": 400_000}
    peers, targets = _ELSEWHERE, (Target(1, "raw-broker"), Target(1.5, "raw", whose=EXECUTOR))
    return Row(name, title, "echo_arrays", parameters, quick, "MB/s", True, megabytes_per_second, peers, targets)


ROWS = (
    _map(
        "map",
        20_000,
        _ALL,
        (
            Target(1_000_000),
            Target(1, "joblib"),
            Target(1, "multiprocessing"),
            Target(1, "raw-broker-batched"),
            Target(1_000_000, whose=EXECUTOR),
            Target(2, "joblib", whose=EXECUTOR),
        ),
    ),
    *(_map(f"series-{count}", count, _LEAN) for count in _SERIES[:-1]),
    _map(
        f"series-{_SERIES[-1]}",
        _SERIES[-1],
        _LEAN,
        tuple(Target(0.8, OURS, f"series-{count}") for count in _SERIES[1:-1]),  # the cost of a task is flat
    ),
    Row(
        name="submit",
        title="{count:,} submits of a no-op, gathered",
        workload="submit_nothing",
        parameters={"count": 5_000},
        quick={"count": 50},
        unit="tasks/s",
        more_is_better=True,
        figure=tasks_per_second,
        peers=(OURS, EXECUTOR, *_POOLS, "scoop", *RAW),
        targets=(Target(100_000), Target(4, "multiprocessing"), Target(150_000, whose=EXECUTOR)),
    ),
    Row(
        name="one-here",
        title="submit().result(), one at a time, the only worker",
        workload="one_at_a_time",
        parameters={"count": 2_000},
        quick={"count": 50},
        unit="us",
        more_is_better=False,
        figure=microseconds,
        peers=_NESTED,
        targets=(Target(15),),
        workers=1,
    ),
    Row(
        name="one-anywhere",
        title="the same beside an idle worker, run where the pool likes",
        workload="one_at_a_time",
        parameters={"count": 2_000},
        quick={"count": 50},
        unit="us",
        more_is_better=False,
        figure=microseconds,
        peers=_NESTED,
        targets=(Target(15),),
    ),
    Row(
        name="one-elsewhere",
        title="the same, run by another process",
        workload="one_elsewhere",
        parameters={"count": 2_000},
        quick={"count": 50},
        unit="us",
        more_is_better=False,
        figure=microseconds,
        peers=_ELSEWHERE,
        targets=(
            Target(1.3, "raw-broker"),
            Target(1.2, "raw-broker", whose=EXECUTOR),
            Target(0.8, "concurrent.futures", whose=EXECUTOR),
        ),
    ),
    Row(
        name="called-back",
        title="a no-op whose callback the program waits for in a queue",
        workload="called_back",
        parameters={"count": 1_000},
        quick={"count": 50},
        unit="us",
        more_is_better=False,
        figure=microseconds,
        peers=(OURS, EXECUTOR, "concurrent.futures", "loky"),
        targets=(Target(1.5, "concurrent.futures"),),
    ),
    _uneven(
        "burn-map",
        "map of {count:,} uneven CPU-burning tasks",
        "burn",
        2,
        (Target(0.98, "serial"), Target(1, "raw-broker"), Target(1, "raw-batched"), *_BURNT_BY_EXECUTOR),
    ),
    _uneven(
        "burn-submit",
        "{count:,} submits of the same",
        "burn",
        2,
        (Target(0.97, "serial"), Target(1, "raw-broker"), Target(1, "raw-batched"), *_BURNT_BY_EXECUTOR),
    ),
    Row(
        name="burn-task",
        title="map of the same {count:,}, called by a task",
        workload="uneven_task",
        parameters={"count": 2_000, "function": "burn", "uneven": True},
        quick={"count": 40},
        unit="busy share",
        more_is_better=True,
        figure=efficiency,
        peers=("serial", *_NESTED),
        targets=(Target(0.98, "serial"), Target(1, "raw-batched", "burn-map")),
    ),
    _uneven("sleep-map", "map of {count:,} uneven sleeps, {workers} workers", "doze", 8, (Target(0.97, "serial"),)),
    Row(
        name="sleep-cpu",
        title="CPU time for a task of that map, beside the program",
        workload="uneven_cpu",
        parameters={"count": 2_000, "uneven": True},
        quick={"count": 40},
        unit="us",
        more_is_better=False,
        figure=lambda report: float(1e6 * report["cpu"] / report["count"]),
        peers=(OURS, EXECUTOR, "multiprocessing", "raw-batched", "raw-broker-batched"),
        targets=(Target(60), Target(60, whose=EXECUTOR)),
        workers=8,
    ),
    _uneven("sleep-submit", "{count:,} submits of the same, {workers} workers", "doze", 8, (Target(0.95, "serial"),)),
    Row(
        name="trace",
        title="{count:,} submits that burn 1 ms, with and without a trace",
        workload="even_submit",
        parameters={"count": 4_000, "burnt": 0.001},
        quick={"count": 40},
        unit="busy share",
        more_is_better=True,
        figure=efficiency,
        peers=(OURS, TRACED),
        targets=(Target(0.98, OURS, whose=TRACED),),
    ),
    _fib("fib", 20, _NESTED, (Target(200_000), Target(20, "scoop"))),
    _fib("fib-long", 25, (OURS,), (Target(200_000),)),
    Row(
        name="tree",
        title="SCOOP's full_tree, n={n}",
        workload="nested_tree",
        parameters={"n": 20},
        quick={"n": 4},
        unit="tasks/s per worker",
        more_is_better=True,
        figure=tasks_per_second_and_worker,
        peers=_NESTED,
        targets=(Target(200_000), Target(20, "scoop")),
    ),
    _first("first-fib", "fib({n}), a task for each call", {"n": 18}, {"n": 8}, *_FIRST_NESTED),
    _first("first-tree", "SCOOP's full_tree, n={n}", {"n": 20}, {"n": 4}, *_FIRST_NESTED),
    _leaves("leaves-1", 1),
    _leaves("leaves-2", 2, (Target(1.8, OURS, "leaves-1"),)),
    Row(
        name="map-reduce",
        title="map_reduce of {count:,} no-ops by +",
        workload="map_reduce",
        parameters={"count": 10_000},
        quick={"count": 100},
        unit="items/s",
        more_is_better=True,
        figure=tasks_per_second,
        peers=(OURS, "multiprocessing", "joblib", "dask", "scoop", "raw-broker-batched"),
        targets=(Target(500_000), Target(1, "joblib"), Target(1, "multiprocessing")),
    ),
    _first("first-map", "map of {count:,} no-ops", {"count": 20_000}, {"count": 1_000}, *_FIRST_OF_POOLS),
    _first("first-map-reduce", "map_reduce of {count:,} by +", {"count": 10_000}, {"count": 100}, *_FIRST_OF_POOLS),
    _echo("echo-1MB", 200, 1_000_000),
    _echo("echo-50MB", 20, 50_000_000),
    _echo("echo-500MB", 8, 500_000_000),
    _start(
        "start",
        "launch to first result, {workers} workers",
        lambda report: float(report["first"] - report["launched"]),
        0.25,
    ),
    _start(
        "end",
        "end of program to prompt, {workers} workers",
        lambda report: float(report["exited"] - report["ended"]),
        0.05,
    ),
    Row(
        name="again",
        title="another pool in the same program, to its first result",
        workload="again",
        parameters={},
        quick={},
        unit="s",
        more_is_better=False,
        figure=lambda report: float(report["seconds"]),
        peers=(EXECUTOR, "multiprocessing", "concurrent.futures", "loky", "joblib"),
        targets=(Target(0.1, whose=EXECUTOR),),
    ),
    Row(
        name="memory",
        title="memory of a queued no-op, client and broker",
        workload="queued_memory",
        parameters={"count": 100_000},
        quick={"count": 1_000},
        unit="bytes",
        more_is_better=False,
        figure=lambda report: float(report["bytes"] / report["count"]),
        peers=(OURS, EXECUTOR, "multiprocessing", "concurrent.futures", "loky", "mpi4py", "raw-broker"),
        targets=(Target(300), Target(500, whose=EXECUTOR)),
    ),
    Row(
        name="idle",
        title="wakes of the process that wakes most, at rest, {workers} workers",
        workload="rest",
        parameters={"count": 1_000, "quiet": 3, "seconds": 10},
        quick={"workers": 4, "quiet": 0.2, "seconds": 1},
        unit="per s",
        more_is_better=False,
        figure=lambda report: float(report["wakes"] / report["lasted"]),
        peers=(OURS, EXECUTOR),
        targets=(Target(2), Target(2, whose=EXECUTOR)),
        workers=64,
    ),
    _growth(
        "growth-submit",
        "time of each of {count:,} submits, gathered, as of a tenth",
        1_000_000,
        10_000,
        (OURS, EXECUTOR),
    ),
    _growth("growth-map", "the last tenth of a map of {count:,} items, as the first", 10_000_000, 100_000, (OURS,)),
    Row(
        name="broker",
        title="broker at rest",
        workload="broker_memory",
        parameters={"count": 10},
        quick={},
        unit="MB",
        more_is_better=False,
        figure=lambda report: float(report["rest"] / 1e6),
        peers=(OURS, "raw-broker"),
        targets=(Target(30),),
    ),
    Row(
        name="broker-kept",
        title="what it keeps after {count:,} mapped and as many submitted",
        workload="broker_memory",
        parameters={"count": 100_000},
        quick={"count": 1_000},
        unit="MB",
        more_is_better=False,
        figure=lambda report: float(report["kept"] / 1e6),
        peers=(OURS, "raw-broker"),
    ),
)
