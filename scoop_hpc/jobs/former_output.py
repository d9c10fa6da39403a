"""The files that were there before a job began: what an earlier job printed is not this one's output.

Before a job is submitted, its output files are looked at. Until one of them has changed since, nothing in it is the
job's. Then its own output begins where the former ended, if its scheduler appends, and at the beginning otherwise.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import BinaryIO

from scoop_hpc.errors import ScoopError
from scoop_hpc.fields.spec import default_output, output_path
from scoop_hpc.files import private
from scoop_hpc.jobs.directories import Job

_FILE = "former.json"  # in the job's directory
_COMPARED = 4096  # bytes at the end of a former output that tell it from others
# seconds: a file that is named by the job's id can only be looked at once the job may run; a younger one is its own
_SURELY_BEFORE = 60


@dataclass(frozen=True, slots=True)
class Former:
    """A file as it was before the job; ``appended_to``: the job's output is put behind what is in it."""

    size: int
    inode: int
    changed: int  # nanoseconds since the epoch
    digest: str  # of the last bytes
    appended_to: bool

    def begins_at(self, file: BinaryIO) -> int | None:
        """Return where the job's own output begins in *file*, None while all of it is the former."""
        now = os.fstat(file.fileno())
        stays = self.appended_to and now.st_size >= self.size and _digest(file, self.size) == self.digest
        if stays:
            return self.size
        same = (now.st_size, now.st_ino, now.st_mtime_ns) == (self.size, self.inode, self.changed)
        return None if same else 0


def note(job: Job, appends: Callable[[], bool]) -> None:
    """Keep how the output files of *job* are now; raise InputError.

    To be called before the submission and after it: a name that has the job's id in it is known only then. *appends*
    is asked only if there is such a file: whether the scheduler leaves in it what is there.
    """
    if ("{job_id}" in (job.spec.output or default_output(job.spec))) is not (job.job_id is not None):
        return
    found = {path: status for path in _existing(_outputs(job)) if (status := _look(path)) is not None}
    if job.job_id is not None:
        latest = (job.submitted - _SURELY_BEFORE) * 1e9
        found = {path: seen for path, seen in found.items() if seen[0].st_mtime_ns < latest}
    if not found:
        return
    appended_to = appends()
    formers = {
        path: asdict(Former(status.st_size, status.st_ino, status.st_mtime_ns, digest, appended_to))
        for path, (status, digest) in found.items()
    }
    private.write_text(os.path.join(job.directory, _FILE), json.dumps(formers) + "\n")


def read(job: Job, output: str) -> Former | None:
    """Return the file *output* as it was before *job*, None if there was none; raise ScoopError."""
    path = os.path.join(job.directory, _FILE)
    try:
        with open(path, encoding="utf-8") as file:
            formers: Mapping[str, dict[str, object]] = json.load(file)
        return Former(**formers[output]) if output in formers else None  # type: ignore[arg-type]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ScoopError(f"cannot read {path!r}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ScoopError(f"cannot understand {path!r} ({error}): remove it to see all of the job's output") from error


def _outputs(job: Job) -> list[str]:
    indices = [None] if job.spec.array is None else job.spec.array.indices
    return list(dict.fromkeys(output_path(job.spec, job.job_id or "", index) for index in indices))


def _existing(paths: Iterable[str]) -> list[str]:
    """Return those of *paths* that are there, by one look at each directory: an array has thousands."""
    listed: dict[str, frozenset[str]] = {}
    for path in paths:
        directory = os.path.dirname(path)
        if directory not in listed:
            names: list[str] = []
            with contextlib.suppress(OSError):  # the scheduler may make it, or fail
                names = os.listdir(directory)
            listed[directory] = frozenset(names)
    return [path for path in paths if os.path.basename(path) in listed[os.path.dirname(path)]]


def _look(path: str) -> tuple[os.stat_result, str] | None:
    """Return how a regular file is, and the digest of its end; it is opened, for only that makes NFS look."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None  # /dev/null, or a pipe
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            return status, _digest(file, status.st_size)
    except OSError:
        return None  # nor can it be shown


def _digest(file: BinaryIO, end: int) -> str:
    file.seek(max(0, end - _COMPARED))
    return hashlib.sha256(file.read(min(end, _COMPARED))).hexdigest()
