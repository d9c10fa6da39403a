"""Follow jobs from the terminal: their output, what they wait for, how they ended."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from scoop_hpc.cli.look.waiting_bar import WaitingBar
from scoop_hpc.complaints import say as say  # of the commands, too
from scoop_hpc.errors import SchedulerError, ScoopError
from scoop_hpc.fields.spec import default_output
from scoop_hpc.files import private
from scoop_hpc.jobs import former_output
from scoop_hpc.jobs.client import Client
from scoop_hpc.jobs.former_output import Former
from scoop_hpc.jobs.report import Report, goes_on
from scoop_hpc.jobs.status import is_unanswered
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.registry import SCHEDULERS

_BLOCK = 1 << 20
_COMPARED = 256  # bytes shown last that have to be in the file still
_TOLD = 10.0  # seconds until it is said why a job has not begun
_ELSEWHERE = (
    "nodes may have a directory of that name that is not this one; a template without the directive for it leaves that "
    "to the scheduler"
)
_READER_GONE = 141  # 128 + SIGPIPE


class Tail:
    """Shows what is new in a growing file, apart from what was in it before: *former*."""

    def __init__(self, path: str, former: Former | None = None) -> None:
        self._path = path
        self._former = former
        self._shown = 0
        self._last = b""  # the end of what was shown

    def show(self, copy: Callable[[bytes], None] | None = None) -> bool:
        """Copy what is new to the standard output; return whether there is such a file, and not the former alone.

        With *copy*, that copies it instead. The file is opened each time: only that makes NFS look at what other hosts
        wrote.
        """
        try:
            with open(self._path, "rb") as file:
                start = 0 if self._former is None else self._former.begins_at(file)
                if start is None:
                    return False
                if not self._goes_on(file):
                    self._shown, self._last = 0, b""
                self._shown = max(self._shown, start)
                file.seek(self._shown)
                while True:
                    block = file.read(_BLOCK)
                    if not block:
                        return True
                    write(1, block) if copy is None else copy(block)
                    self._shown += len(block)
                    self._last = (self._last + block)[-_COMPARED:]
        except FileNotFoundError:
            return False
        except OSError as error:
            raise ScoopError(f"cannot read the output file {self._path!r}: {error.strerror}") from error

    def _goes_on(self, file: BinaryIO) -> bool:
        """Return whether what was shown is in *file* still: a job that is run again begins it again."""
        file.seek(self._shown - len(self._last))
        return file.read(len(self._last)) == self._last


def open_client(environ: Mapping[str, str]) -> Client:
    """Return the client of all schedulers."""
    return Client(SCHEDULERS, environ, private.root(environ), warn=lambda text: say(f"warning: {text}"))


def tail_of(report: Report) -> Tail | None:
    """Return what *report*'s job prints, None if that is not known here or in many files."""
    if report.job is None or report.output is None:
        return None
    return Tail(report.output, former_output.read(report.job, report.output))


class Delay:
    """Says once why jobs that somebody waits for have not begun, if that takes long."""

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._due: float | None = clock() + _TOLD

    def look(self, reports: Sequence[Report]) -> None:
        """Take in how the jobs stand."""
        if self._due is None or self._clock() < self._due:
            return
        self._due = None
        waits = [each for each in reports if each.status.state is JobState.PENDING and each.record is None]
        if waits:
            label, others = waits[0].label, f", and {len(waits) - 1} more" if len(waits) > 1 else ""
            self._tell(
                f"waiting for job {label}, which is {describe(waits[0])}{others}; scoop-hpc explain {label} says more"
            )


def see_through(client: Client, report: Report, bar: WaitingBar | None = None) -> tuple[Report, bool]:
    """Show what a job prints, and a *bar* below it, until it has ended.

    Return how it ended, and whether there was anything of it to show.
    """
    tail = tail_of(report)

    shown = False
    delay = Delay(say if bar is None else lambda text: bar.say(f"scoop-hpc: {text}"))

    def show(reports: Sequence[Report]) -> None:
        nonlocal shown
        delay.look(reports)
        if has_begun(reports[0]):
            if tail is not None:
                shown = tail.show(None if bar is None else bar.print) or shown
            if bar is not None:
                bar.look()

    def warn_above(error: SchedulerError) -> None:
        warn(error) if bar is None else bar.say(f"scoop-hpc: {_doubt(error)}")

    try:
        (ended,) = client.wait([report], show, warn_above)
    finally:
        if bar is not None:
            bar.close()
    return ended, shown


def without_output(report: Report) -> str:
    """Say that a job has printed nothing that can be shown, and why, as far as is known."""
    output = str(report.output)
    if os.path.exists(output):
        return f"what is in {output!r} was there before"
    elsewhere = f" ({_ELSEWHERE})" if has_begun(report) else ""
    return f"there is no output file {output!r}{elsewhere}"


def has_begun(report: Report) -> bool:
    """Return whether a job runs or ever ran: a file that is there before may be an earlier job's, or of its own former
    run if it was put back into its queue."""
    status, record = report.status, report.record
    if status.state is JobState.PENDING:  # or nobody could be asked yet
        return record is not None and not record.state.ended
    if status.state in (JobState.RUNNING, JobState.SUSPENDED):
        return record is not None or not _follows_into_one_file(report)
    return record is not None or bool(status.nodes)


def waits_again(report: Report) -> bool:
    """Return whether a job that ran waits once more: its file has what it printed then, until it begins."""
    return report.status.state is JobState.PENDING and report.record is not None and report.record.state.ended


def _follows_into_one_file(report: Report) -> bool:
    """Return whether the jobs that one waits for may print into its file: theirs, until its driver runs."""
    if report.job is None:
        return False
    spec = report.job.spec
    waited = spec.after or spec.after_any or spec.after_failure
    return bool(waited) and "{job_id}" not in (spec.output or default_output(spec))


def warn(error: SchedulerError) -> None:
    """Say on stderr that waiting goes on despite *error*."""
    say(_doubt(error))


def _doubt(error: SchedulerError) -> str:
    return f"warning: {error}; still waiting"


def exit_status(reports: Sequence[Report]) -> int:
    """Return the highest exit status of jobs that have ended; 1 stands for a job that has none and did not complete."""
    return max((_exit_status(report) for report in reports), default=0)


def _exit_status(report: Report) -> int:
    if report.status.exit_status is not None:
        return report.status.exit_status
    return 0 if report.status.state is JobState.COMPLETED else 1


def say_how_it_ended(report: Report) -> None:
    """Say on stderr how a job ended, if not well."""
    if report.status.state is not JobState.COMPLETED:
        verb = "is" if goes_on(report) or is_unanswered(report) else "ended"
        say(f"job {report.label} {verb} {describe(report)}")


def describe(report: Report) -> str:
    """Return a job's state, exit status and reason in one line."""
    status = report.status
    code: int | None = status.exit_status
    text = status.state.value + ("" if code is None else f" with exit status {code}")
    return text + (f": {' '.join(status.reason.split())}" if status.reason else "")


def write(descriptor: int, block: bytes) -> None:
    """Write all of *block*; what sys.stdout.buffer.write does under PYTHONUNBUFFERED is less.

    A standard error that takes no more is borne, for nobody could be told.
    """
    try:
        while block:
            block = block[os.write(descriptor, block) :]
    except OSError as error:
        if descriptor == 2:
            return
        if isinstance(error, BrokenPipeError):
            sys.exit(_READER_GONE)
        raise ScoopError(f"cannot write to the standard output: {error.strerror}") from error
