"""Find the run that a user wants to look at: of a job, of a script's own job, or of this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scoop_hpc.cli.follow import describe
from scoop_hpc.cli.options.job import choose
from scoop_hpc.complaints import say
from scoop_hpc.errors import InputError, ScoopError
from scoop_hpc.files import private
from scoop_hpc.jobs import look, runs
from scoop_hpc.jobs.client import Client
from scoop_hpc.jobs.look import Viewer
from scoop_hpc.jobs.record import of_element
from scoop_hpc.jobs.report import Report
from scoop_hpc.jobs.snapshot import Snapshot, over
from scoop_hpc.run import proc
from scoop_hpc.schedulers.job_state import JobState

PATIENCE = 10.0  # seconds for a driver to answer: it looks every 2 s, and files may take their time to other hosts
ASK_AGAIN = 30.0  # seconds from one question to the scheduler to the next, while a run is silent
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Found:
    """A run that can be looked at, by the file for its looks; *ended*: the job has, whatever the file says.

    *may_begin_again*: it is that of a job, which may have another run, as when it was put back into its queue.
    *pending*: the job waits in its queue, so that its run has not begun, or not again.
    """

    path: str
    label: str
    ended: Report | None = None
    may_begin_again: bool = False
    pending: Report | None = None

    @property
    def whole_label(self) -> str:
        """The run in a sentence: of which job, if it is in one."""
        return "the run" if self.label == "run" else f"the run of {self.label}"

    def how_it_ended(self) -> str:
        """Return in a clause that the run has ended, and why, as far as is known; empty if it may go on."""
        seen = _read(self.path)
        if seen is None:
            return "" if self.ended is None else "it has ended"
        known = as_known(seen, self)
        if known.state != "ended":
            return ""
        return f"it has ended: {known.reason}" if known.reason else "it has ended"


def find(client: Client, job: str | None, environ: Mapping[str, str]) -> Found:
    """Return the run of *job*, without one the newest run; raise InputError."""
    return _newest(client, environ) if job is None else _of_job(client, job, environ)


def _of_job(client: Client, job: str, environ: Mapping[str, str]) -> Found:
    (report,) = client.find((job,), choose(None, environ))
    if report.job is None:
        path = next((path for path, seen in _known_runs(environ) if seen.job == job), None)
        if path is None:
            raise InputError(f"the job {job!r} was not submitted from here, and no run in it is known here")
        return Found(path, f"job {job}")
    if report.job.spec.array is not None and report.index is None:
        raise InputError(f"the job {job!r} is an array: name one of its jobs, such as {client.first_of(report)!r}")
    path = of_element(os.path.join(report.job.directory, look.FILE), report.index)
    (report,) = client.status([report], lambda error: None)
    ended = report if report.status.state.ended else None
    pending = report if report.status.state is JobState.PENDING else None
    return Found(path, f"job {report.label}", ended, may_begin_again=ended is None, pending=pending)


def _newest(client: Client, environ: Mapping[str, str]) -> Found:
    """Return the newest run that goes on; if there is none, the newest of all."""
    known = list(_known_runs(environ))
    for job in reversed(client.recent(20)):
        path = os.path.join(job.directory, look.FILE)
        seen = _read(path)
        if seen is not None:
            known.append((path, seen))
    known.sort(key=lambda each: each[1].started, reverse=True)
    if not known:
        raise InputError("no run is known here: start one by `scoop-hpc run` or `scoop-hpc submit`")
    path, seen = next((each for each in known if each[1].state != "ended" and not is_dead(each[1])), known[0])
    return Found(path, f"job {seen.job}" if seen.job else "run")


def _known_runs(environ: Mapping[str, str]) -> list[tuple[str, Snapshot]]:
    """Return the runs that no `submit` has made, and the last looks at them, the newest first."""
    known = [(path, _read(path)) for path in runs.newest_first(private.root(environ))]
    return [(path, seen) for path, seen in known if seen is not None]


def _read(path: str) -> Snapshot | None:
    try:
        return look.read(path)
    except ScoopError:  # of another version, say: it cannot be shown
        return None


def is_dead(seen: Snapshot) -> bool:
    """Return whether the driver of a run that has left no end was a process of this machine, and is gone."""
    is_here = seen.host == os.uname().nodename
    return is_here and (proc.is_gone(seen.pid, seen.driver) or proc.is_of_another_boot(seen.driver))


def as_known(seen: Snapshot, found: Found) -> Snapshot:
    """Return the last look at a run as it is known to have ended, if its driver could not say so."""
    if seen.state == "ended" or (found.ended is None and not is_dead(seen)):
        return seen
    if found.ended is None:
        return over(seen, None, f"the driver (pid {seen.pid}) has died")
    status = found.ended.status
    return over(seen, status.exit_status, status.reason or status.state.value)


def look_once(
    found: Found,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    tell: Callable[[str], None] = say,
) -> tuple[Snapshot, bool]:
    """Return a look at a run, and whether it is a new one, or the last there will be; raise ScoopError without any.

    A run that has not begun has a moment to do so. That its job is pending is *told* at once.
    """
    viewer = Viewer(found.path)
    if found.pending is not None and viewer.last is None:
        tell(f"{found.label} is {describe(found.pending)}; waiting for its run, {PATIENCE:.0f} s at most")
    while True:
        seen = viewer.last if found.ended is not None else viewer.look(clock())
        if seen is not None:
            seen = as_known(seen, found)
            if seen.state == "ended" or viewer.is_answered:
                return seen, True
        elif found.ended is not None:
            raise ScoopError(f"nothing is known of what the {found.label} did: it ended before its run began")
        if viewer.waits(clock()) > PATIENCE:
            if seen is None:
                job = found.label.removeprefix("job ")
                raise ScoopError(f"{found.whole_label} has not begun: scoop-hpc explain {job} says why")
            return seen, False
        sleep(_PAUSE)
