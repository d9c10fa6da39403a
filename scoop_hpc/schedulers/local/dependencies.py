"""Decide whether a local job may begin, in view of the time and of the jobs that it depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.local.request import Request


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of dependency: which ends it is content with, and its verb."""

    suits: Callable[[JobState], bool]
    verb: str
    past: str


KINDS: Mapping[str, Kind] = MappingProxyType(
    {  # sbatch(1), --dependency
        "afterok": Kind(lambda state: state is JobState.COMPLETED, "succeed", "succeeded"),
        "afterany": Kind(lambda state: True, "end", "ended"),
        "afternotok": Kind(lambda state: state is not JobState.COMPLETED, "fail", "failed"),
    }
)


@dataclass(frozen=True, slots=True)
class Outlook:
    """The reason why a job has to wait, or, if *never*, why it cannot begin any more. Without a *reason*, it begins."""

    reason: str = ""
    never: bool = False


def consider(request: Request, states: Mapping[str, JobState | None], now: float) -> Outlook:
    """Return the outlook of a job that waits; *states* are those of the jobs it depends on, None for one that is gone.

    *now* is in seconds since the epoch.
    """
    for each in request.dependencies:
        state = states[each.job_id]
        if state is None or (state.ended and not KINDS[each.kind].suits(state)):
            what = "is not known any more" if state is None else f"ended {state.value}"
            return Outlook(f"it was to begin once {each.job_id} had {KINDS[each.kind].past}, but that {what}", True)
    waits = []
    for name, kind in KINDS.items():
        going = [each.job_id for each in request.dependencies if each.kind == name and not _ended(states[each.job_id])]
        if going:
            waits.append(f"{', '.join(dict.fromkeys(going))} to {kind.verb}")
    if waits:
        return Outlook(f"it waits for {' and '.join(waits)}")
    if request.begin is not None and now < datetime.fromisoformat(request.begin).timestamp():
        return Outlook(f"its time has not come: it begins at {request.begin}")
    return Outlook()


def _ended(state: JobState | None) -> bool:
    return state is not None and state.ended
