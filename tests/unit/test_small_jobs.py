"""The small jobs of `scoop-hpc doctor --submit` and `bench --nodes`, while they wait: no scheduler, no clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from scoop_hpc.cli.look.small_job import SmallJob
from scoop_hpc.errors import SchedulerError
from scoop_hpc.fields.spec import JobSpec
from scoop_hpc.jobs.client import Client
from scoop_hpc.jobs.directories import Job
from scoop_hpc.jobs.report import Report, unasked
from scoop_hpc.schedulers.job_state import JobState

JOB = Job("/state/jobs/1", JobSpec(("pi.py",), "/home/me", "pi"), "slurm", 1.0, "7")
BEGUN = unasked("slurm", "7", JOB)


class Asked:
    """A client whose job stands as is said, each second, until it has ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, states: Sequence[JobState], lines: list[str] | None) -> None:
        self._now = 50.0
        self._states = states
        self._lines = lines
        self.cancelled: list[Report] = []
        monkeypatch.setattr(time, "monotonic", lambda: self._now)

    def wait(self, reports: list[Report], tick: Callable[[Sequence[Report]], None], *_: Any) -> list[Report]:
        for state in self._states:
            reports = [replace(each, status=replace(each.status, state=state)) for each in reports]
            tick(reports)
            self._now += 1
        return reports

    def status(self, reports: list[Report], pauses: Sequence[float]) -> list[Report]:
        if not self._states:
            raise SchedulerError("squeue does not answer")
        return [replace(each, status=replace(each.status, state=self._states[0])) for each in reports]

    def cancel(self, reports: list[Report]) -> None:
        self.cancelled += reports

    def explain(self, report: Report) -> list[str]:
        if self._lines is None:
            raise SchedulerError("squeue does not answer")
        return self._lines


@pytest.mark.parametrize(
    ("states", "lines", "said"),
    [
        ([JobState.PENDING] * 60, ["no nodes", "fewer --nodes"], ["job 7 is PENDING; no nodes; fewer --nodes"]),
        ([JobState.PENDING] * 9 + [JobState.RUNNING] * 60, ["no nodes"], []),
        ([JobState.PENDING] * 60, None, []),
    ],
    ids=["waits", "runs", "nobody knows"],
)
def test_who_waits_for_a_small_job_is_told_once_why_it_does_not_begin(
    states: list[JobState],
    lines: list[str] | None,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = cast(Client, Asked(monkeypatch, [*states, JobState.COMPLETED], lines))
    assert SmallJob(client, JOB, BEGUN, "/nowhere").wait(None).status.state is JobState.COMPLETED
    begin, *more = capsys.readouterr().err.splitlines()
    assert begin == "scoop-hpc: submitted job 7 to slurm; waiting for it"
    assert more == [f"scoop-hpc: {line}" for line in said]


@pytest.mark.parametrize(
    ("states", "cancelled"),
    [
        ([JobState.PENDING], [JobState.PENDING]),  # which is kept, for a scheduler may have no accounts of such a job
        ([JobState.COMPLETED], []),
        ([], [JobState.UNKNOWN]),
    ],
    ids=["waits", "over", "nobody answers"],
)
def test_a_small_job_is_cancelled_as_it_stands(
    states: list[JobState], cancelled: list[JobState], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client = Asked(monkeypatch, states, [])
    SmallJob(cast(Client, client), JOB, BEGUN, str(tmp_path)).cancel()
    assert not tmp_path.exists()  # nothing has been printed
    assert [each.status.state for each in client.cancelled] == cancelled
