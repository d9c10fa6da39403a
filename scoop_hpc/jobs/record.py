"""The driver's own record of a run, from its state to the reason of its end; it outlives the scheduler's memory.

A scheduler may run a job again, while processes of the run before are still about to end: so a record carries its run's
*attempt*, and only a run that begins may replace the record of another one. Who looks before he writes holds a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace

from scoop_hpc.complaints import say
from scoop_hpc.errors import ScoopError
from scoop_hpc.events import CommandStarted, Event, RunFailing, RunOver
from scoop_hpc.schedulers.job_state import JobState

FILE = "record.json"  # in the job's directory
LOCK = "record.lock"  # beside it: one for all jobs of an array
_PATIENCE = 2.0  # seconds to wait for the lock: whoever holds it needs milliseconds, unless it is stopped or cut off
DRIVER_LOST = "died, or its node was lost"  # the end of the reason that an agent records for a driver that cannot


@dataclass(frozen=True, slots=True)
class Record:
    """The state of a run. Times are seconds since the epoch on the driver's clock."""

    state: JobState
    started: float
    nodes: tuple[str, ...]
    host: str  # where the driver runs
    pid: int
    job_id: str | None = None
    ended: float | None = None
    exit_status: int | None = None
    reason: str = ""
    attempt: str = ""  # of the job: which of its runs this is, unlike any other


class Recorder:
    """The observer of a driver that keeps the record of its run in the file *path*.

    It may take the time that the lock of the record takes: when the run has begun, when it fails, and when it is over.
    A failure is written before all is tidied up: Grid Engine, for one, kills the driver of a job that has lost a task.
    """

    def __init__(self, path: str, attempt: str, nodes: tuple[str, ...], job_id: str | None, pid: int) -> None:
        host = os.uname().nodename
        self._path = path
        self._record = Record(JobState.RUNNING, time.time(), nodes, host, pid, job_id, attempt=attempt)
        self._has_begun = False

    def __call__(self, event: Event) -> None:
        """Write what *event* changes."""
        if isinstance(event, CommandStarted) and not self._has_begun:
            try:
                self._write(self._record)
            except OSError as error:  # said once: the end cannot be written either
                say(
                    f"warning: cannot write the record {self._path!r}: {error.strerror}; "
                    "SCOOP_HPC_STATE should name a directory that all nodes see"
                )
        elif isinstance(event, (RunFailing, RunOver)):
            state = JobState(event.state)
            over = replace(self._record, state=state, ended=time.time(), exit_status=event.status, reason=event.reason)
            with contextlib.suppress(OSError):
                self._write(over)

    def _write(self, record: Record) -> None:
        if self._has_begun:
            end(self._path, record)
        else:  # what is there is a former run's
            self._has_begun = True
            begin(self._path, record)


def of_element(path: str, index: int | None) -> str:
    """Return the file for the record of one job of an array, where *path* is that of the whole.

    >>> of_element("/jobs/1/record.json", 3)
    '/jobs/1/record-3.json'
    """
    if index is None:
        return path
    stem, suffix = os.path.splitext(path)
    return f"{stem}-{index}{suffix}"


def sibling(path: str, name: str) -> str:
    """Return the file called *name*, as far as it is not one of an array, beside the record *path*.

    >>> sibling("/jobs/1/record.json", "report.json"), sibling("/jobs/1/record-3.json", "report.json")
    ('/jobs/1/report.json', '/jobs/1/report-3.json')
    """
    folder, own = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    return os.path.join(folder, stem + os.path.splitext(own)[0].removeprefix(os.path.splitext(FILE)[0]) + suffix)


def to_json(record: Record) -> str:
    """Write *record* as one JSON object.

    >>> to_json(Record(JobState.RUNNING, 1.0, ("n1",), "n1", 7))  # doctest: +ELLIPSIS
    '{"state": "RUNNING", "started": 1.0, "nodes": ["n1"], ...}'
    """
    return json.dumps({**asdict(record), "state": record.state.value})


def from_json(text: str) -> Record:
    """Read what `to_json` wrote, here or in a later version; raise ScoopError for anything else."""
    try:
        written = json.loads(text)
        known = {each.name: written[each.name] for each in fields(Record) if each.name in written}
        return Record(**{**known, "state": JobState(written["state"]), "nodes": tuple(written["nodes"])})
    except (ValueError, KeyError, TypeError) as error:
        raise ScoopError(f"cannot read the job's record {text!r}: {error}") from error


def begin(path: str, record: Record) -> None:
    """Put the first record of a run into the file *path*, whatever is there; raise OSError."""
    with _locked(path):
        write(path, record)


def end(path: str, record: Record) -> bool:
    """Put the last record of a run into the file *path*; return False if another run has begun there since.

    Raises OSError.
    """
    with _locked(path):
        written = _read_or_none(path)
        if written is not None and written.attempt != record.attempt:
            return False
        write(path, record)
        return True


def end_lost(path: str, attempt: str, reason: str, now: float) -> bool:
    """End the record of a run whose driver cannot, at *now*; return False if it has ended, or another has begun.

    Raises OSError.
    """
    with _locked(path):
        written = _read_or_none(path)
        if written is None or written.attempt != attempt or written.state.ended:
            return False
        write(path, replace(written, state=JobState.FAILED, ended=now, reason=reason))
        return True


def _read_or_none(path: str) -> Record | None:
    try:
        return read(path)
    except ScoopError:  # whatever it is, it is no run's record
        return None


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Keep others from writing the record *path* [fcntl(2): over NFS, too].

    Where files cannot be locked, or a lock is not to be had in time, a run's word counts more than the small chance
    that two are written at once.
    """
    descriptor = os.open(os.path.join(os.path.dirname(path), LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + _PATIENCE
        while not _lock(descriptor) and time.monotonic() < deadline:
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Try to lock a file; return whether there is nothing more to try."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # EAGAIN, EACCES: somebody else has it
        return False
    except OSError:  # ENOLCK, ENOSYS, EOPNOTSUPP: a file system without locks
        return True
    return True


def write(path: str, record: Record) -> None:
    """Put *record* into the file *path*, whole or not at all; raise OSError."""
    new = f"{path}.{os.uname().nodename}.{os.getpid()}"
    try:
        with open(new, "w", encoding="utf-8") as file:
            file.write(to_json(record) + "\n")
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


def read(path: str) -> Record | None:
    """Return the record in the file *path*, None if there is no such file; raise ScoopError, OSError."""
    try:
        with open(path, encoding="utf-8") as file:
            return from_json(file.read())
    except FileNotFoundError:
        return None
    except ScoopError as error:
        raise ScoopError(f"{path}: {error}") from error
