"""The figures of federations of growing size, as rows of a table and as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from scoop_hpc.sim.large.federation import Federation, Outcome
from scoop_hpc.sim.large.programs import PROGRAMS, ideal, lengths

HEADING = (
    " nodes workers      tasks  efficiency    of ideal  last node  messages     messages/s          kB/s     files"
    "        MB  broker 0\n"
    "                                                       s, first  per task   broker 0  busiest  broker 0   0  most"
    "   0  each      busy"
)


@dataclass(frozen=True, slots=True)
class Program:
    """A kind of program, and its tasks: *each* for a worker, of so many *seconds*."""

    kind: str
    seconds: float
    is_heavy: bool
    each: int

    def __str__(self) -> str:
        tail = "heavy-tailed" if self.is_heavy else "even"
        return f"{self.kind}, {tail} tasks of {self.seconds:g} s, {self.each} for each worker"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    program: Program
    nodes: int
    workers: int  # on each node
    tasks: int
    efficiency: float  # what all workers have computed, of what they could have
    of_ideal: float  # how long it would take if messages and decisions took no time, of what it took
    outcome: Outcome

    def __str__(self) -> str:
        out = self.outcome
        return (
            f"{self.nodes:6}{self.workers:8}{self.tasks:11}{self.efficiency:12.3f}{self.of_ideal:12.3f}"
            f"{out.last_node:11.4f}{out.messages / self.tasks:10.1f}{out.first_rate:11.0f}{out.most_rate:9.0f}"
            f"{out.first_bytes / 1000:10.0f}{out.first_files:4}{out.most_files:6}"
            f"{out.first_memory / 1e6:6.0f}{out.middle_memory / 1e6:5.0f}{out.first_busy:11.1%}"
        )


def row(program: Program, nodes: int, workers: int) -> Row:
    """Run *program* on so many *nodes*."""
    seconds = lengths(nodes * workers * program.each, program.seconds, program.is_heavy)
    out = Federation(nodes, workers, PROGRAMS[program.kind](seconds, nodes, workers)).run()
    possible = out.seconds * nodes * workers
    best = ideal(seconds, nodes * workers)
    return Row(program, nodes, workers, len(seconds), out.computed / possible, best / out.seconds, out)


def rows(program: Program, nodes: Iterable[int], workers: int) -> Iterator[Row]:
    """Yield a row for each number of *nodes*."""
    for count in nodes:
        yield row(program, count, workers)


_WIDTH, _HEIGHT, _MARGIN = 340, 220, 52
_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")


def picture(table: Sequence[Row]) -> str:
    """Return *table* as an SVG picture: four panels over the number of nodes, a line for each program."""
    panels = (
        ("efficiency, of the ideal", [(each, each.of_ideal) for each in table]),
        ("seconds to the last node's first task", [(each, each.outcome.last_node) for each in table]),
        ("messages per task", [(each, each.outcome.messages / each.tasks) for each in table]),
        ("messages per second of broker 0", [(each, each.outcome.first_rate) for each in table]),
    )
    programs = list(dict.fromkeys(each.program for each in table))
    height = 2 * _HEIGHT + 20 * len(programs) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * _WIDTH}" height="{height}" font-family="sans-serif"'
        ' font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, (title, points) in enumerate(panels):
        parts += _panel(title, points, programs, number % 2 * _WIDTH, number // 2 * _HEIGHT)
    for number, program in enumerate(programs):
        y = 2 * _HEIGHT + 20 * number + 10
        parts.append(
            f'<rect x="{_MARGIN}" y="{y - 8}" width="14" height="8" fill="{_COLOURS[number % len(_COLOURS)]}"/>'
        )
        parts.append(f'<text x="{_MARGIN + 20}" y="{y}">{escape(str(program))}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    title: str, points: Sequence[tuple[Row, float]], programs: Sequence[Program], left: int, top: int
) -> Iterator[str]:
    nodes = sorted({each.nodes for each, _ in points})
    most = max((value for _, value in points), default=0.0) or 1.0
    right, bottom = left + _WIDTH - 20, top + _HEIGHT - 30
    step = (right - left - _MARGIN) / max(1, len(nodes) - 1)
    at = {count: left + _MARGIN + step * place for place, count in enumerate(nodes)}
    yield f'<text x="{left + _MARGIN}" y="{top + 18}" font-weight="bold">{escape(title)}</text>'
    yield f'<path d="M{left + _MARGIN},{top + 28}V{bottom}H{right}" fill="none" stroke="black"/>'
    yield f'<text x="{left + _MARGIN - 4}" y="{top + 34}" text-anchor="end">{most:.3g}</text>'
    yield f'<text x="{left + _MARGIN - 4}" y="{bottom}" text-anchor="end">0</text>'
    for count, x in at.items():
        yield f'<text x="{x:.0f}" y="{bottom + 14}" text-anchor="middle">{count:,}</text>'
    for number, program in enumerate(programs):
        colour = _COLOURS[number % len(_COLOURS)]
        line = [
            (at[each.nodes], bottom - (bottom - top - 30) * value / most)
            for each, value in points
            if each.program == program
        ]
        yield f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in line)}" fill="none" stroke="{colour}"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in line)
