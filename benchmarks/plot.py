"""The results as a picture: a panel for each row, a bar for each peer; the only module that needs matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.figures import EXECUTOR, OURS, Measured, shown
from benchmarks.rows import Row

_COLUMNS = 3


def draw(rows: Sequence[Row], measured: Measured, heading: str, path: Path) -> None:
    """Write the picture of *rows* to *path*; its suffix says in what format."""
    lines = math.ceil(len(rows) / _COLUMNS)
    figure = Figure(figsize=(6 * _COLUMNS, 3.2 * lines + 0.6), layout="constrained")
    figure.suptitle(heading)
    panels = figure.subplots(lines, _COLUMNS, squeeze=False).flat
    for row, panel in zip(rows, panels):  # rows first: zip takes a panel only for a row
        taken = [(peer, figures) for peer, figures in measured[row.name].items() if not figures.failure]
        taken.sort(key=lambda pair: pair[1].median, reverse=not row.more_is_better)  # the best is drawn on top
        names = [peer for peer, _ in taken]
        medians = [figures.median for _, figures in taken]
        spread = [
            [figures.median - figures.least for _, figures in taken],
            [figures.most - figures.median for _, figures in taken],
        ]
        colours = ["tab:orange" if peer in (OURS, EXECUTOR) else "tab:blue" for peer in names]
        bars = panel.barh(names, medians, xerr=spread, color=colours, ecolor="0.3", capsize=2)
        panel.bar_label(bars, [shown(median) for median in medians], padding=4, fontsize=8)
        panel.margins(x=0.2)
        if medians and min(medians) > 0 and max(medians) > 20 * min(medians):
            panel.set_xscale("log")
        better = "more" if row.more_is_better else "less"
        panel.set_title(f"{row.name}: {row.title}\n{row.unit}, {better} is better", fontsize=9)
    for panel in list(panels):
        panel.set_visible(False)
    figure.savefig(path)
