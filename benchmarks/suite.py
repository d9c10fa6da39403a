"""A run of the suite: rows and peers in turn, so that what disturbs one disturbs all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.figures import Figures
from benchmarks.measure import MeasurementError
from benchmarks.peers import Peer
from benchmarks.rows import Row

Measure = Callable[[Sequence[str], float], Mapping[str, Any]]


def words(row: Row) -> list[str]:
    """Return the words that a program is given: the workload and its parameters.

    A value has no character that a shell takes for its own: SCOOP hands them to one.
    """
    return [row.workload, *(f"{key}={value}" for key, value in row.parameters.items())]


class Suite:
    """Measures rows; *tell* is given a line for each measurement."""

    def __init__(self, measure: Measure, tell: Callable[[str], None], *, repeat: int, timeout: float) -> None:
        self._measure = measure
        self._tell = tell
        self._repeat = repeat
        self._timeout = timeout

    def run(self, row: Row, peers: Sequence[Peer]) -> dict[str, Figures]:
        """Return the figures of each of *peers*; one that fails is not run again."""
        values: dict[str, list[float]] = {peer.name: [] for peer in peers}
        notes = dict.fromkeys(values, "")
        failures = {peer.name: f"not installed: {peer.missing()}" for peer in peers if peer.missing()}
        for turn in range(self._repeat):
            for peer in peers:
                if peer.name in failures:
                    continue
                try:
                    report = self._once(row, peer)
                except MeasurementError as error:
                    failures[peer.name] = str(error)
                    self._tell(f"{row.name} {peer.name}: {error}")
                else:
                    value = row.figure(report)
                    values[peer.name].append(value)
                    notes[peer.name] = report.get("note", "")
                    self._tell(f"{row.name} {peer.name} {turn + 1}/{self._repeat}: {value:.6g} {row.unit}")
        return {
            name: Figures(failure=failures[name]) if name in failures else Figures(tuple(taken), note=notes[name])
            for name, taken in values.items()
        }

    def _once(self, row: Row, peer: Peer) -> dict[str, Any]:
        return {**row.parameters, **self._measure(peer.argv(row.workers, words(row)), self._timeout)}
