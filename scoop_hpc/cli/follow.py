"""Seeing jobs through from the terminal: what they print, what they are waiting for, how they ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Optional

from scoop_hpc import jobdirectory
from scoop_hpc.client import Client
from scoop_hpc.complaints import say as say  # of the commands, too
from scoop_hpc.errors import SchedulerError, ScoopError
from scoop_hpc.jobspec import JobState
from scoop_hpc.reports import Report, goes_on
from scoop_hpc.schedulers.registry import SCHEDULERS

_BLOCK = 1 << 20
_READER_GONE = 141  # 128 + SIGPIPE


class Tail:
    """What was not shown yet of a growing file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._shown = 0

    def show(self) -> bool:
        """Copy what is new to the standard output; return whether there is such a file.

        The file is opened each time: only that makes NFS look at what other hosts wrote.
        """
        try:
            with open(self._path, "rb") as file:
                if os.fstat(file.fileno()).st_size < self._shown:
                    self._shown = 0  # it was begun again
                file.seek(self._shown)
                while True:
                    block = file.read(_BLOCK)
                    if not block:
                        return True
                    _write(block)
                    self._shown += len(block)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise ScoopError(f"cannot read the output file {self._path!r}: {error.strerror}") from error


def open_client(environ: Mapping[str, str]) -> Client:
    """Return the client of all schedulers."""
    return Client(SCHEDULERS, environ, jobdirectory.root(environ), warn=lambda text: say(f"warning: {text}"))


def see_through(client: Client, report: Report) -> Report:
    """Show what a job prints, until it has ended."""
    output = report.output
    tail = None if output is None else Tail(output)

    def show(reports: Sequence[Report]) -> None:
        if tail is not None and has_begun(reports[0]):
            tail.show()

    (ended,) = client.wait([report], show, warn)
    return ended


def has_begun(report: Report) -> bool:
    """Return whether a job ever ran: a file that is there before may be an earlier job's."""
    status = report.status
    going = status.state in (JobState.RUNNING, JobState.SUSPENDED)
    return going or report.record is not None or (status.state is not JobState.PENDING and bool(status.nodes))


def warn(error: SchedulerError) -> None:
    """Say on stderr that waiting goes on despite *error*."""
    say(f"warning: {error}; still waiting")


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
        say(f"job {report.status.job_id} {'is' if goes_on(report) else 'ended'} {describe(report)}")


def describe(report: Report) -> str:
    """Return a job's state, exit status and reason in one line."""
    status = report.status
    code: Optional[int] = status.exit_status
    text = status.state.value + ("" if code is None else f" with exit status {code}")
    return text + (f": {' '.join(status.reason.split())}" if status.reason else "")


def _write(block: bytes) -> None:
    """Write all of *block*; what sys.stdout.buffer.write does under PYTHONUNBUFFERED is less."""
    try:
        while block:
            block = block[os.write(1, block) :]
    except BrokenPipeError:
        sys.exit(_READER_GONE)
    except OSError as error:
        raise ScoopError(f"cannot write to the standard output: {error.strerror}") from error
