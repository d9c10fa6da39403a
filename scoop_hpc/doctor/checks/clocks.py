"""Checks of the nodes' clocks: logs are in the order of their times, and files are judged by their age."""

from __future__ import annotations

from collections.abc import Sequence

from scoop_hpc.doctor.checks.words import duration
from scoop_hpc.doctor.facts import Way
from scoop_hpc.doctor.finding import Finding, change, ok

_MOST = 1.0  # seconds


def check(ways: Sequence[Way]) -> list[Finding]:
    """Return which clocks are apart; a measurement is good to half of its way there and back."""
    measured = [way for way in ways if not way.trouble]
    apart = [way for way in measured if abs(way.clock) > _MOST + way.latency]
    if apart:
        return [
            change(
                "clocks",
                f"the clock of {way.target} is {duration(abs(way.clock))} {'ahead of' if way.clock > 0 else 'behind'} "
                f"that of {way.source}",
                "ask the site's staff to run chronyd or ntpd on all nodes",
            )
            for way in apart
        ]
    if not measured:
        return []
    largest = max(abs(way.clock) for way in measured)
    return [ok("clocks", f"the nodes' agree within {duration(max(largest, max(way.latency for way in measured)))}")]
