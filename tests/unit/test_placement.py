"""How workers are spread over nodes."""

from __future__ import annotations

import pytest

from scoop_hpc.errors import AllocationError
from scoop_hpc.run.placement import NodePlan, place
from scoop_hpc.schedulers.allocation import Allocation, Node

UNEVEN = Allocation("slurm", (Node("a", 8, 8), Node("b", 4, 4), Node("c", 4, 4)))


def test_every_slot_gets_a_worker() -> None:
    assert place(UNEVEN) == (NodePlan("a", 8), NodePlan("b", 4), NodePlan("c", 4))


@pytest.mark.parametrize("workers", range(1, 40))
def test_exactly_as_many_workers_as_asked_for(workers: int) -> None:
    plans = place(UNEVEN, workers)
    counts = [plan.workers or 0 for plan in plans]
    assert sum(counts) == workers
    assert plans[0].name == "a"
    assert all(count > 0 for count in counts)


def test_fewer_workers_keep_the_proportion() -> None:
    assert place(UNEVEN, 4) == (NodePlan("a", 2), NodePlan("b", 1), NodePlan("c", 1))


def test_allocation_without_slots_is_refused() -> None:
    with pytest.raises(AllocationError, match="no slots"):
        place(Allocation("slurm", ()))
