"""The report of a run as a page with plots: one file, which loads nothing from elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from scoop_hpc.protocol.histogram import BINS, EDGES
from scoop_hpc.report.analysis import Analysis, analyse, compare, in_words, side_by_side
from scoop_hpc.report.record import FunctionRecord, RunRecord, WorkerRecord
from scoop_hpc.report.text import doubts, losses, size, tasks

_TEMPLATE = "page.html.j2"  # beside this module
_MOST_WORKERS = 200  # in the plot: those in between are left out
_MOST_FUNCTIONS = 30
_MOST_FAILURES = 100


@dataclass(frozen=True, slots=True)
class Lane:
    """A worker in the plot; its places are shares of the width."""

    name: str
    began: float
    ended: float
    busy: float  # share of the time in between
    note: str


@dataclass(frozen=True, slots=True)
class Column:
    """A bin of a histogram; height is a share of the highest."""

    height: float
    note: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A run as the page shows it."""

    name: str
    record: RunRecord
    analysis: Analysis
    began: str
    size: str
    tasks: str
    losses: tuple[str, ...]
    lanes: tuple[Lane, ...]
    lanes_left_out: int
    functions: tuple[tuple[FunctionRecord, tuple[Column, ...]], ...]


def write_page(path: str, records: Sequence[RunRecord], names: Sequence[str]) -> None:
    """Write the page of one or two runs, called by their *names*, into the file *path*; raise OSError."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(page(records, names))


def page(records: Sequence[RunRecord], names: Sequence[str]) -> str:
    """Return the page of one or two runs as HTML. All that comes from a program is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = in_words
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    runs = [_shown(record, name) for record, name in zip(records, names)]
    compared = compare(*records) if len(records) > 1 else None
    doubt = doubts(*records) if len(records) > 1 else ""
    parts = list(side_by_side([run.analysis for run in runs]))
    return environment.get_template(_TEMPLATE).render(
        runs=runs, compared=compared, doubt=doubt, parts=parts, most_failures=_MOST_FAILURES
    )


def _shown(record: RunRecord, name: str) -> Shown:
    takers = record.takers()
    step = -(-len(takers) // _MOST_WORKERS) or 1
    return Shown(
        name,
        record,
        analyse(record),
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.started)),
        size(record),
        tasks(record),
        tuple(losses(record)),
        tuple(_lane(worker, record.elapsed_s) for worker in takers[::step]),
        len(takers) - len(takers[::step]),
        tuple((function, _columns(function)) for function in record.functions[:_MOST_FUNCTIONS]),
    )


def _lane(worker: WorkerRecord, elapsed: float) -> Lane:
    name = f"{worker.name} on {worker.node}"
    if worker.began_s is None or worker.ended_s is None or not elapsed:
        return Lane(name, 0.0, 0.0, 0.0, f"{name}: no task")
    began, ended = min(worker.began_s, elapsed), min(worker.ended_s, elapsed)
    busy = min(1.0, worker.busy_s / max(ended - began, 1e-9))
    note = f"{name}: tasks from {in_words(began)} to {in_words(ended)}, busy for {in_words(worker.busy_s)} of that"
    return Lane(name, began / elapsed, ended / elapsed, busy, note)


def _columns(function: FunctionRecord) -> tuple[Column, ...]:
    """Return the histogram of a function's durations, from the first bin that is not empty to the last."""
    if not function.durations:
        return ()
    counts = dict(function.durations)
    highest = max(counts.values())
    numbers = range(min(counts), max(counts) + 1)
    return tuple(
        Column(
            counts.get(number, 0) / highest, f"up to {in_words(EDGES[min(number, BINS - 2)])}: {counts.get(number, 0)}"
        )
        for number in numbers
    )
