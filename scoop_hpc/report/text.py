"""The record of a run in words: a paragraph at its end, and a page with tables for `scoop-hpc report`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scoop_hpc.report.analysis import Analysis, Part, analyse, compare, in_words, side_by_side
from scoop_hpc.report.record import FailureRecord, FunctionRecord, RunRecord

_WORTH_A_WORD = 0.01  # of all time
_SLOWEST = 3  # functions, in the paragraph
_MOST_ROWS = 20  # in a table
_MOST_KINDS = 10  # of failures
_BAR = 40  # characters


def paragraph(record: RunRecord) -> str:
    """Return what a run was worth, in one paragraph."""
    analysis = analyse(record)
    sentences = [
        f"{size(record)} for {in_words(record.elapsed_s)}: {_percent(analysis.efficiency)} of their time in tasks"
        + "".join(f", {_percent(part.share)} {part.meaning}" for part in _rest(analysis)),
        tasks(record),
    ]
    slowest = [_slow(function) for function in record.functions[:_SLOWEST] if function.count]
    if slowest:
        sentences.append(f"most time took {', '.join(slowest)}")
    sentences += analysis.advice
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences) + "."


def page(record: RunRecord) -> Iterator[str]:
    """Yield the lines of a report."""
    analysis = analyse(record)
    job = f"job {record.job}: " if record.job is not None else ""
    status = "" if record.status is None else f", exit status {record.status}"
    yield f"{job}{record.program or 'a pool'}, {record.state}{status}"
    if record.reason:
        yield f"  {record.reason}"
    yield f"{size(record)} for {in_words(record.elapsed_s)}. {tasks(record)}."
    yield ""
    yield f"Of all workers' time, {in_words(analysis.capacity)}:"
    for part in analysis.parts:
        bar = "#" * round(_BAR * part.share)
        yield f"  {_percent(part.share):>5}  {part.meaning:32} {bar}".rstrip()
    if record.functions:
        yield ""
        yield from _table(
            ("FUNCTION", "CALLS", "FAILED", "REPEATED", "MEAN", "P99", "LONGEST", "TOTAL"),
            [_row(function) for function in record.functions[:_MOST_ROWS]],
        )
        yield from _more(len(record.functions) - _MOST_ROWS, "functions")
    if record.totals.failed:
        yield ""
        yield from _failures(record)
    lost = losses(record)
    if lost:
        yield ""
        yield "Lost:"
        yield from [f"  {line}" for line in lost]
    if analysis.advice:
        yield ""
        yield "Advice:"
        yield from [f"  {line}" for line in analysis.advice]


def comparison(first: RunRecord, second: RunRecord, names: tuple[str, str]) -> Iterator[str]:
    """Yield the lines that compare two runs, called by their *names*."""
    analyses = analyse(first), analyse(second)
    rows = [
        ("workers", str(first.totals.workers), str(second.totals.workers)),
        ("nodes", str(first.totals.nodes), str(second.totals.nodes)),
        ("seconds", in_words(first.elapsed_s), in_words(second.elapsed_s)),
        ("tasks", str(first.totals.done), str(second.totals.done)),
        ("failed", str(first.totals.failed), str(second.totals.failed)),
    ]
    rows += [(meaning, _percent(one), _percent(two)) for meaning, (one, two) in side_by_side(analyses)]
    others = {function.name: function for function in second.functions}
    for function in first.functions[:_MOST_ROWS]:
        other = others.get(function.name)
        mean = "" if other is None else in_words(other.mean_s)
        rows.append((f"{function.name}() on average", in_words(function.mean_s), mean))
    yield from _table(("", *names), rows)
    compared = compare(first, second)
    yield ""
    yield (
        f"Speed-up {compared.speedup:.2f} with {compared.workers[1]} workers instead of {compared.workers[0]}: "
        f"efficiency {_percent(compared.efficiency)}, seen from {names[0]}"
    )
    doubt = doubts(first, second)
    if doubt:
        yield doubt


def doubts(first: RunRecord, second: RunRecord) -> str:
    """Return why two runs should not be compared, empty if nothing speaks against it."""
    return "They did not do the same: the numbers of tasks differ" if first.totals.done != second.totals.done else ""


def failure(failed: FailureRecord) -> Iterator[str]:
    """Yield the lines that describe a failed task."""
    where = "" if failed.position is None else f"item {failed.position}, "
    who = f"worker {failed.worker} on {failed.node}, attempt {failed.attempt}"
    yield f"{failed.function}({failed.arguments}): {where}{who}"
    yield from [f"  {line}" for line in failed.traceback.rstrip("\n").split("\n")]


def size(record: RunRecord) -> str:
    """Return how many workers and nodes a run had, in words."""
    workers, nodes = record.totals.workers, record.totals.nodes
    return f"{workers} worker{'' if workers == 1 else 's'} on {nodes} node{'' if nodes == 1 else 's'}"


def tasks(record: RunRecord) -> str:
    """Return how many tasks a run had, what became of them, and what was lost, in words."""
    totals = record.totals
    lost = sum(node.state == "lost" for node in record.nodes)
    words = [f"{totals.done} task{'' if totals.done == 1 else 's'}", f"{totals.failed} failed"]
    words += [f"{totals.repeated} repeated"] if totals.repeated else []
    words += [f"{lost} of {len(record.nodes)} nodes lost"] if lost else []
    silent = sum(not node.is_complete for node in record.nodes)
    words += [f"the last accounts of {silent} node{'' if silent == 1 else 's'} are missing"] if silent else []
    return ", ".join(words)


def losses(record: RunRecord) -> list[str]:
    """Return a line for each node that was lost, and for the first workers."""
    nodes = [f"node {node.name}: {node.cause}" for node in record.nodes if node.state == "lost"]
    more = [line.strip() for line in _more(len(record.lost_workers) - _MOST_ROWS, "workers")]
    return [*nodes, *record.lost_workers[:_MOST_ROWS], *more]


def _rest(analysis: Analysis) -> list[Part]:
    parts = [part for part in analysis.parts if part.name != "own" and part.share >= _WORTH_A_WORD]
    return sorted(parts, key=lambda part: -part.share)


def _slow(function: FunctionRecord) -> str:
    return (
        f"{function.name}() ({function.count} times {in_words(function.mean_s)}, 99 % within "
        f"{in_words(function.p99_s)})"
    )


def _row(function: FunctionRecord) -> tuple[str, ...]:
    counts = (function.count, function.failed, function.repeated)
    times = (function.mean_s, function.p99_s, function.longest_s, function.total_s)
    return (function.name, *map(str, counts), *map(in_words, times))


def _failures(record: RunRecord) -> Iterator[str]:
    """Yield the kinds of failures, the most frequent first."""
    kinds: dict[tuple[str, str], int] = {}
    for failed in record.failures:
        kind = (failed.function, failed.error.partition(":")[0])
        kinds[kind] = kinds.get(kind, 0) + 1
    yield "Failed tasks:"
    for (function, error), count in sorted(kinds.items(), key=lambda item: -item[1])[:_MOST_KINDS]:
        yield f"  {'once' if count == 1 else f'{count} times'} {error} in {function}()"
    yield from _more(len(kinds) - _MOST_KINDS, "kinds")
    yield from _more(record.failures_left_out, "that are only counted")


def _more(count: int, what: str) -> list[str]:
    return [f"  and {count} more {what}"] if count > 0 else []


def _percent(share: float) -> str:
    """Return a share as a percentage.

    >>> _percent(0.812), _percent(0.0004), _percent(0.0)
    ('81 %', '0.04 %', '0 %')
    """
    return f"{100 * share:.0f} %" if share >= 0.01 or not share else f"{100 * share:.1g} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(zip(row, widths))
        ]
        yield "  ".join(cells).rstrip()
