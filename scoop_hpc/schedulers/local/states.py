"""The states of the local scheduler's jobs, on disk."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from scoop_hpc.errors import InputError, ScoopError
from scoop_hpc.fields.array import JobArray
from scoop_hpc.files import private
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.local import request as requests
from scoop_hpc.schedulers.local.request import Request

_ID = re.compile(r"local-([0-9]+)(?:_([0-9]+))?")
_KILLED = "the job's supervisor was killed, or the machine went down"
_CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class State:
    """A job as its supervisor sees it, an array as one. Times are seconds since the epoch."""

    job_id: str
    name: str
    state: JobState
    nodes: tuple[str, ...] = ()  # once it has begun
    reason: str = ""
    exit_status: int | None = None  # 128 + n for a signal n
    started: float | None = None
    ended: float | None = None
    array: JobArray | None = None


@dataclass(frozen=True, slots=True)
class Home:
    """The directory of one job, or of one of the jobs of *array*."""

    path: str
    array: Home | None = None

    @property
    def job_id(self) -> str:
        own = os.path.basename(self.path)
        return f"local-{own}" if self.array is None else f"{self.array.job_id}_{own}"

    @property
    def index(self) -> int | None:
        return None if self.array is None else int(os.path.basename(self.path))

    @property
    def script(self) -> str:
        return os.path.join(self.path if self.array is None else self.array.path, "script")

    @property
    def log(self) -> str:
        """The file for what the supervisor says while there is no output of the job."""
        return os.path.join(self.path, "log")

    def element(self, index: int) -> Home:
        """Return the directory of one job of this array. It is there once that has begun, or was cancelled."""
        return Home(os.path.join(self.path, str(index)), self)

    def cancel(self) -> None:
        """Have the job ended."""
        private.make_private(self.path)
        private.write_text(self._cancel, "")

    def is_cancelled(self) -> bool:
        """Return whether the job is to be ended: by its own word, or that for its array."""
        return os.path.exists(self._cancel) or (self.array is not None and self.array.is_cancelled())

    @property
    def _cancel(self) -> str:
        return os.path.join(self.path, "cancel")

    def write(self, job: State) -> None:
        """Put down how *job* stands."""
        text = json.dumps({**asdict(job), "state": job.state.value}) + "\n"
        path = os.path.join(self.path, "state.json")
        try:
            private.write_text(path, text)
        except InputError as full:  # a full disk, most likely; a file that is there has room for its new text
            try:
                with open(path, "r+", encoding="utf-8") as file:
                    file.write(text)
                    file.truncate()
            except FileNotFoundError:
                raise full from None
            except OSError as error:
                raise ScoopError(f"cannot write {path!r}: {error.strerror}") from error

    def read(self) -> State | None:
        """Return how the job stood when its supervisor wrote it down, None before it did."""
        path = os.path.join(self.path, "state.json")
        try:
            with open(path, encoding="utf-8") as file:
                fields = json.load(file)
            array = fields.get("array")
            return State(
                **{
                    **fields,
                    "state": JobState(fields["state"]),
                    "nodes": tuple(fields["nodes"]),
                    "array": None if array is None else JobArray(**array),
                }
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ScoopError(f"cannot read {path!r}: {error}") from error

    def write_request(self, request: Request) -> None:
        """Put down what the job asks for."""
        private.write_text(os.path.join(self.path, "request.json"), requests.to_json(request))

    def read_request(self) -> Request:
        """Return what the job asks for."""
        path = os.path.join(self.path, "request.json")
        try:
            with open(path, encoding="utf-8") as file:
                return requests.from_json(file.read())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ScoopError(f"cannot read {path!r}: {error}") from error

    @contextlib.contextmanager
    def supervised(self) -> Iterator[int]:
        """Be the job's supervisor, or make a child that is forked meanwhile be it; the lock's descriptor is yielded."""
        path = os.path.join(self.path, "lock")
        try:
            lock = _private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise ScoopError(
                f"cannot lock {path!r}: {error.strerror}; SCOOP_HPC_STATE names another directory for jobs"
            ) from error
        try:
            yield lock
        finally:
            os.close(lock)

    def is_supervised(self) -> bool:
        """Return whether a supervisor lives, on whatever machine."""
        with open(os.path.join(self.path, "lock"), "a+", opener=_private) as lock:  # NFS wants it open for reading, too
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def current(self) -> State | None:
        """Return the present state of the job, or of the array as one."""
        written = self.read()
        if written is None or written.state.ended or self.is_supervised():
            return written
        written = self.read()  # it may have ended meanwhile
        if written is None or written.state.ended:
            return written
        return replace(written, state=JobState.FAILED, reason=_KILLED)

    def current_within(self, whole: State) -> State:
        """Return the present state of this job of an array; *whole* is the array's, as it was read before."""
        written = self.current()
        if written is not None:
            return written
        job = State(self.job_id, whole.name, JobState.PENDING, reason=whole.reason)
        if os.path.exists(self._cancel):
            return replace(job, state=JobState.CANCELLED, reason=_CANCELLED)
        if whole.state.ended:
            state = JobState.CANCELLED if whole.state is JobState.CANCELLED else JobState.FAILED
            return replace(job, state=state, reason=whole.reason or "it left nothing behind")
        if whole.state is JobState.RUNNING:
            return replace(job, reason="as many jobs of its array run as may at a time")
        return job


def find(state: str, job_id: str) -> Home | None:
    """Return the directory of a job under the directory *state*, None if there is no such job."""
    match = _ID.fullmatch(job_id)
    if match is None or not os.path.isdir(os.path.join(state, "local", match[1])):
        return None
    home = Home(os.path.join(state, "local", match[1]))
    if match[2] is None:
        return home
    whole = home.read()
    if whole is None or whole.array is None or int(match[2]) not in whole.array.indices:
        return None
    return home.element(int(match[2]))


def standing(home: Home) -> list[State]:
    """Return how the job stands, of an array each of its jobs; nothing of one that is being submitted.

    One whose files cannot be read is UNKNOWN, and the reason says why.
    """
    try:
        whole = (home.array or home).current()
    except ScoopError as error:
        return [_unreadable(home, error)]
    if whole is None:
        return []
    if home.array is not None:
        return [_standing_within(home, whole)]
    if whole.array is None:
        return [whole]
    return [_standing_within(home.element(index), whole) for index in whole.array.indices]


def _standing_within(home: Home, whole: State) -> State:
    try:
        return home.current_within(whole)
    except ScoopError as error:
        return _unreadable(home, error)


def _unreadable(home: Home, error: ScoopError) -> State:
    return State(home.job_id, "", JobState.UNKNOWN, reason=str(error))


def state_of(state: str, job_id: str) -> JobState | None:
    """Return how a job under the directory *state* stands, an array as one; None if there is no such job."""
    home = find(state, job_id)
    whole = None if home is None else (home.array or home).current()
    if home is None or whole is None:
        return None
    return whole.state if home.array is None else home.current_within(whole).state


def create(state: str) -> Home:
    """Make the directory of a new job under *state*: the making is what allots the number."""
    parent = os.path.join(state, "local")
    private.make_private(parent)
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
