"""The rows that a site measures itself by: those of the benchmarks, by the same workloads with the same sizes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scoop_hpc.bench.found import Measured, SiteFigures

Report = Mapping[str, Any]  # what a workload says, with the row's parameters


def tasks_per_second(report: Report) -> float:
    """Return the rate of tasks, of which the program says how many it made, or was told to."""
    return float(report.get("tasks", report.get("count")) / report["seconds"])


def microseconds(report: Report) -> float:
    """Return the time of one task."""
    return float(1e6 * report["seconds"] / report["count"])


def megabytes_per_second(report: Report) -> float:
    """Return the rate of bytes sent; as many come back meanwhile."""
    return float(report["count"] * report["size"] / report["seconds"] / 1e6)


@dataclass(frozen=True, slots=True)
class SiteRow:
    """A row: a workload of ``programs/site_workloads.py`` with its sizes; *between_nodes*: none is run on the first."""

    name: str
    title: str
    workload: str
    parameters: Mapping[str, Any]
    quick: Mapping[str, Any]  # the parameters of a trial that measures nothing
    unit: str
    figure: Callable[[Report], float]
    between_nodes: bool = False


START = "start"  # the row that is no workload: from the launch to the first result
_LATENCY = ({"count": 500}, {"count": 20}, "us", microseconds)
_RATE = ({"count": 200, "size": 1_000_000}, {"count": 3, "size": 400_000}, "MB/s", megabytes_per_second)

ROWS = (
    SiteRow(
        "map",
        "map of 20,000 no-ops, on all workers",
        "map_nothing",
        {"count": 20_000},
        {"count": 1_000},
        "tasks/s",
        tasks_per_second,
    ),
    SiteRow(
        "submit",
        "5,000 submits of a no-op, gathered",
        "submit_nothing",
        {"count": 5_000},
        {"count": 50},
        "tasks/s",
        tasks_per_second,
    ),
    SiteRow("latency", "a no-op there and back, another process", "one_elsewhere", *_LATENCY),
    SiteRow("echo", "arrays of 1 MB there, and back meanwhile", "echo_arrays", *_RATE),
    SiteRow("latency-nodes", "a no-op there and back, another node", "one_elsewhere", *_LATENCY, between_nodes=True),
    SiteRow("echo-nodes", "arrays of 1 MB to another node, and back", "echo_arrays", *_RATE, between_nodes=True),
)


def table(figures: SiteFigures, start: float | None) -> list[str]:
    """Return the lines of a table: for each row the median of its values, the least and the most.

    *start* is in seconds, None if it is not known.

    >>> measured = (Measured("latency", (90.0, 100.0, 130.0)), Measured("echo", failure="ImportError: no numpy"))
    >>> for line in table(SiteFigures(1, 2, 0.0, measured), 0.5):
    ...     print(line)
    1 node, 2 workers
    start    launch to the first result                    0.500 s
    latency  a no-op there and back, another process         100 us      90 to 130
    echo     arrays of 1 MB there, and back meanwhile no figure: ImportError: no numpy
    """
    rows = {row.name: row for row in ROWS}
    nodes = f"{figures.nodes} {'node' if figures.nodes == 1 else 'nodes'}"
    begun = (
        Measured(START, failure="it is not known when the run began") if start is None else Measured(START, (start,))
    )
    lines = [(begun, "launch to the first result", "s")]
    lines += [(each, rows[each.row].title, rows[each.row].unit) for each in figures.rows]
    width = max(len(measured.row) for measured, _, _ in lines)
    return [
        f"{nodes}, {figures.workers} workers",
        *(f"{each.row:{width}}  {title:40} {_value(each, unit)}".rstrip() for each, title, unit in lines),
    ]


def _value(measured: Measured, unit: str) -> str:
    if not measured.values:
        return f"no figure: {measured.failure}"
    values = measured.values
    spread = f"{shown(min(values))} to {shown(max(values))}" if len(values) > 1 else ""
    return f"{shown(statistics.median(values)):>10} {unit:7} {spread}"


def shown(value: float) -> str:
    """Return a figure with three digits or more.

    >>> shown(1234567.8), shown(12.345), shown(0.98765), shown(0.0456), shown(0), shown(-20000)
    ('1,234,568', '12.3', '0.988', '0.0456', '0', '-20,000')
    """
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
