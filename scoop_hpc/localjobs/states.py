"""The states of the local scheduler's jobs, on disk."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Optional

from scoop_hpc import jobdirectory
from scoop_hpc.errors import InputError, ScoopError
from scoop_hpc.jobspec import JobState


@dataclass(frozen=True)
class State:
    """A job as its supervisor sees it. Times are seconds since the epoch."""

    job_id: str
    name: str
    state: JobState
    nodes: tuple[str, ...]
    reason: str = ""
    exit_status: Optional[int] = None  # 128 + n for a signal n
    started: Optional[float] = None
    ended: Optional[float] = None


@dataclass(frozen=True)
class Home:
    """The directory of one job."""

    path: str

    @property
    def job_id(self) -> str:
        return f"local-{os.path.basename(self.path)}"

    @property
    def script(self) -> str:
        return os.path.join(self.path, "script")

    @property
    def cancel(self) -> str:
        """The file whose existence tells the supervisor to end the job."""
        return os.path.join(self.path, "cancel")

    def write(self, job: State) -> None:
        """Put down how *job* stands."""
        text = json.dumps({**asdict(job), "state": job.state.value}) + "\n"
        path = os.path.join(self.path, "state.json")
        try:
            jobdirectory.write_text(path, text)
        except InputError:  # a full disk, most likely; the file that is there has room for its new text
            try:
                with open(path, "r+", encoding="utf-8") as file:
                    file.write(text)
                    file.truncate()
            except OSError as error:
                raise ScoopError(f"cannot write {path!r}: {error.strerror}") from error

    def read(self) -> Optional[State]:
        """Return how the job stood when its supervisor wrote it down, None before it did."""
        path = os.path.join(self.path, "state.json")
        try:
            with open(path, encoding="utf-8") as file:
                fields = json.load(file)
            return State(**{**fields, "state": JobState(fields["state"]), "nodes": tuple(fields["nodes"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ScoopError(f"cannot read {path!r}: {error}") from error

    @contextlib.contextmanager
    def supervised(self) -> Iterator[None]:
        """Be the job's supervisor."""
        path = os.path.join(self.path, "lock")
        with open(path, "a", opener=_private) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                raise ScoopError(
                    f"cannot lock {path!r}: {error.strerror}; SCOOP_HPC_STATE names another directory for jobs"
                ) from error
            yield

    def is_supervised(self) -> bool:
        """Return whether a supervisor lives, on whatever machine."""
        with open(os.path.join(self.path, "lock"), "a+", opener=_private) as lock:  # NFS wants it open for reading, too
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def current(self) -> Optional[State]:
        """Return how the job stands now."""
        written = self.read()
        if written is None or written.state.ended or self.is_supervised():
            return written
        written = self.read()  # it may have ended meanwhile
        if written is None or written.state.ended:
            return written
        reason = "the job's supervisor was killed, or the machine went down"
        return replace(written, state=JobState.FAILED, reason=reason)


def find(state: str, job_id: str) -> Optional[Home]:
    """Return the directory of a job under the directory *state*, None if there is no such job."""
    prefix, _, number = job_id.partition("-")
    path = os.path.join(state, "local", number)
    return Home(path) if prefix == "local" and number.isdecimal() and os.path.isdir(path) else None


def create(state: str) -> Home:
    """Make the directory of a new job under *state*: the making is what allots the number."""
    parent = os.path.join(state, "local")
    jobdirectory.make_private(parent)
    number = max((int(name) for name in os.listdir(parent) if name.isdecimal()), default=0)
    while True:
        number += 1
        path = os.path.join(parent, str(number))
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            continue
        except OSError as error:
            raise InputError(f"cannot make {path!r}: {error.strerror}; see SCOOP_HPC_STATE") from error
        return Home(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
