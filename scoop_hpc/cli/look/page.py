"""A look at a run as a page of a terminal, drawn by rich, or as plain lines."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from scoop_hpc.cli.look.view import COLUMNS, Column, Row, View, printable
from scoop_hpc.jobs.snapshot import Snapshot, Wait
from scoop_hpc.run.watching.progress import clock_time, per_second

_MOST_WAITS = 4  # lines
_GAP = 1  # columns between two
_LEAST = 6  # columns of a flexible one
_STYLES = {"busy": "green", "lost": "red", "dead": "red", "late": "yellow", "starting": "yellow", "ended": "dim"}
_KEYS = "q quit  Tab list  s sort  / filter  n node"


def page(seen: Snapshot, view: View, width: int, height: int, label: str, silence: float = 0.0) -> list[Text]:
    """Return the lines of a page of *width* columns and *height* lines, for the run that *label* names.

    The driver has said nothing for *silence* seconds.
    """
    lines = head(seen, label)
    if silence:
        lines[0].append(f"  no word for {silence:.0f} s", style="bold yellow")
    rows = view.rows(seen)
    room = rows_of(seen, height)
    view = view.scrolled(len(rows), room)
    titles, *cells = table(rows, COLUMNS[view.of], width, view.sort_column())  # all: so columns stay where they are
    shown = cells[view.offset : view.offset + room]
    lines += [titles, *shown]
    lines += [Text()] * (height - 1 - len(lines))
    lines = lines[: height - 1] + [_foot(view, len(shown), len(rows))]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def rows_of(seen: Snapshot, height: int) -> int:
    """Return how many rows a page of *height* lines has room for."""
    return max(1, height - len(head(seen, "")) - 2)  # the titles, and the last line


def plain(seen: Snapshot, label: str) -> list[str]:
    """Return all of a look as lines that programs and dumb terminals can take."""
    lines = [line.plain for line in head(seen, label)]
    for of, columns in COLUMNS.items():
        rows = View(of).rows(seen)
        if rows:
            lines += ["", *(line.plain.rstrip() for line in table(rows, columns, None, None))]
    return lines


def head(seen: Snapshot, label: str) -> list[Text]:
    """Return what the run as a whole does."""
    totals = seen.totals
    first = Text(f"{printable(label)}: {printable(os.path.basename(seen.program))} ", style="bold")
    first.append(seen.state, style=_state_style(seen))
    first.append(f" {clock_time(seen.elapsed_s)}")
    if seen.state == "ended":
        first.append("" if seen.status is None else f", exit status {seen.status}")
        first.append(f": {printable(seen.reason)}" if seen.reason else "")
    elif seen.walltime_left_s is not None:
        first.append(f", {clock_time(max(0.0, seen.walltime_left_s))} of the walltime left")
    workers = f"{_nodes(totals.nodes)}, {totals.busy_workers} of {totals.workers} workers busy"
    late = sum(node.state == "late" for node in seen.nodes)
    lost = sum(node.state == "lost" for node in seen.nodes)
    second = Text(workers + (f", {_nodes(late)} late" if late else ""))
    second.append(f", {_nodes(lost)} lost" if lost else "", style="red")
    third = Text(f"{totals.done} tasks done, {per_second(totals.rate_per_s)}, {totals.queued} queued, ")
    third.append(f"{totals.failed} failed", style="red" if totals.failed else "")
    third.append(f", {totals.repeated} queued again, {totals.stolen} stolen")
    return [first, second, third, *(_wait(wait) for wait in seen.waits[-_MOST_WAITS:])]


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def _state_style(seen: Snapshot) -> str:
    if seen.state == "ended":
        return "green" if seen.status == 0 else "red"
    return "green" if seen.state == "running" else "yellow"


def _wait(wait: Wait) -> Text:
    share = f"{wait.done}" if not wait.total else f"{wait.done}/{wait.total} {100 * wait.done // wait.total}%"
    rate = f", {per_second(wait.rate_per_s)}" if wait.rate_per_s else ""
    line = Text(f"{printable(wait.label) or 'calls'}: {share}{rate}")
    line.append(f", {wait.failed} failed" if wait.failed else "", style="red")
    return line.append("" if wait.left_s is None else f", about {clock_time(wait.left_s)} left")


def table(rows: Sequence[Row], columns: Sequence[Column], width: int | None, sorted_by: Column | None) -> list[Text]:
    """Return the lines of a table that has *width* columns of the terminal at most; None: as many as it takes."""
    cells = [[column.text(row) for column in columns] for row in rows]
    titles = [column.title for column in columns]
    sizes = [max(map(cell_len, each)) for each in zip(titles, *cells)]
    sizes = sizes if width is None else _fitted(sizes, columns, width)
    lines = [Text(style="bold reverse" if width is not None else "")]
    for column, title, size in zip(columns, titles, sizes):
        lines[0].append(_cell(title, size, column) + " " * _GAP, style="underline" if column is sorted_by else "")
    for row in cells:
        line = Text()
        for column, text, size in zip(columns, row, sizes):
            line.append(
                _cell(text, size, column) + " " * _GAP, style=_STYLES.get(text, "") if column.name == "state" else ""
            )
        lines.append(line)
    return lines


def _fitted(sizes: Sequence[int], columns: Sequence[Column], width: int) -> list[int]:
    """Return the sizes of *columns* that fit into *width*, as far as the flexible ones can be cut."""
    fitted = list(sizes)
    over = sum(fitted) + _GAP * len(fitted) - width
    flexible = [place for place, column in enumerate(columns) if column.is_flexible]
    while over > 0 and any(fitted[place] > _LEAST for place in flexible):
        fitted[max(flexible, key=lambda place: fitted[place])] -= 1
        over -= 1
    return fitted


def _cell(text: str, size: int, column: Column) -> str:
    if cell_len(text) > size:
        text = set_cell_size(text, size - 1) + "…" if size > 1 else set_cell_size(text, size)
    padding = " " * (size - cell_len(text))
    return padding + text if column.is_number else text + padding


def _foot(view: View, shown: int, count: int) -> Text:
    if view.typing:
        return Text(
            f"{view.typing}: {view.filter if view.typing == 'filter' else view.node}_   Enter ends, Esc clears",
            style="bold",
        )
    chosen = "".join(f" {name}={text}" for name, text in (("node", view.node), ("filter", view.filter)) if text)
    first = view.offset + 1 if shown else 0
    keys = f"Esc all  {_KEYS}" if chosen else _KEYS
    return Text(f"{view.of} {first}-{view.offset + shown} of {count}{printable(chosen)}  {keys}", style="dim")
