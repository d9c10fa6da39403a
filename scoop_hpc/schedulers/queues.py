"""The queues of a site: what a scheduler says of those that a user may send jobs to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, or what the scheduler calls a partition. What is None has no limit, or none that the scheduler tells."""

    name: str
    is_open: bool = True  # it takes jobs, and begins them
    is_default: bool = False  # it gets the jobs that name none
    nodes: int | None = None  # usable ones: neither down nor drained
    most_nodes: int | None = None  # of one job
    walltime: int | None = None  # seconds, of one job
