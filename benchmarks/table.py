"""The results as text, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.figures import OURS, Figures, Measured, judge, ratio, rounded_down, shown
from benchmarks.rows import Row

_SHOWN_OF_FAILURE = 100  # characters


def document(heading: str, rows: Sequence[Row], measured: Measured) -> str:
    """Return the two tables: targets with verdicts, then the figures of all."""
    return "\n\n".join(
        [
            heading,
            simple_table(("row", "what", "whose", "target", "reached", "verdict"), verdict_lines(rows, measured)),
            f"Medians; a ratio above 1 means that {OURS} is better.",
            simple_table(
                ("row", "unit", "peer", "median", "least", "most", f"{OURS} is", "note"), figure_lines(rows, measured)
            ),
        ]
    )


def verdict_lines(rows: Sequence[Row], measured: Measured) -> list[tuple[str, ...]]:
    """Return a line for each target, or one for a row without."""
    lines: list[tuple[str, ...]] = []
    for row in rows:
        figures = measured[row.name]
        if not row.targets:
            lines.append((row.name, row.title, OURS, "none", _median(figures.get(OURS), row.unit), ""))
        for target in row.targets:
            verdict = judge(target, row.name, row.more_is_better, measured)
            text = target.text(row.unit, row.more_is_better)
            median = _median(figures.get(target.whose), row.unit)
            lines.append((row.name, row.title, target.whose, text, median, _cut(verdict.text())))
    return lines


def _median(figures: Figures | None, unit: str) -> str:
    return "" if figures is None or figures.failure else f"{shown(figures.median)} {unit}"


def figure_lines(rows: Sequence[Row], measured: Measured) -> list[tuple[str, ...]]:
    """Return a line for each row and peer."""
    return [
        (row.name, row.unit, peer, *_cells(figures, measured[row.name].get(OURS), row.more_is_better))
        for row in rows
        for peer, figures in measured[row.name].items()
    ]


def _cells(figures: Figures, ours: Any, more_is_better: bool) -> tuple[str, ...]:
    if figures.failure:
        return ("", "", "", "", _cut(figures.failure))
    compared = "" if ours is None or ours.failure else rounded_down(ratio(ours.median, figures.median, more_is_better))
    return (shown(figures.median), shown(figures.least), shown(figures.most), compared, figures.note)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_OF_FAILURE else text[: _SHOWN_OF_FAILURE - 3] + "..."


def simple_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a simple table of reStructuredText; its first column must not be empty."""
    widths = [max(map(len, column)) for column in zip(head, *lines)]
    rule = "  ".join("=" * width for width in widths)
    body = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in (head, *lines)]
    return "\n".join([rule, body[0], rule, *body[1:], rule])


def as_json(about: Mapping[str, Any], rows: Sequence[Row], measured: Measured) -> dict[str, Any]:
    """Return all that was measured, as JSON has it."""
    return {**about, "rows": [_row_as_json(row, measured) for row in rows]}


def _row_as_json(row: Row, measured: Measured) -> dict[str, Any]:
    targets = []
    for target in row.targets:
        verdict = judge(target, row.name, row.more_is_better, measured)
        text = target.text(row.unit, row.more_is_better)
        finite = None if verdict.ratio is None or verdict.ratio == float("inf") else verdict.ratio
        targets.append(
            {
                "whose": target.whose,
                "target": text,
                "reached": verdict.reached,
                "ratio": finite,
                "verdict": verdict.text(),
            }
        )
    return {
        "name": row.name,
        "title": row.title,
        "workers": row.workers,
        "unit": row.unit,
        "more_is_better": row.more_is_better,
        "targets": targets,
        "peers": {peer: _figures_as_json(figures) for peer, figures in measured[row.name].items()},
    }


def _figures_as_json(figures: Figures) -> dict[str, Any]:
    if figures.failure:
        return {"failure": figures.failure}
    values = {"median": figures.median, "least": figures.least, "most": figures.most, "values": list(figures.values)}
    return {**values, "note": figures.note} if figures.note else values
