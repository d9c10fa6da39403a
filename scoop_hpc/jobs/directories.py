"""The directories of submitted jobs: what is known here of each, for as long as the user likes.

::

    STATE/jobs/20261122T184200.123456Z-5f0c21aa/
        job.sh       the job script
        job.json     what was asked for, of which scheduler, under which id
        record.json  the driver's own record of the run (scoop_hpc.jobs.record); record-3.json of an array's third
        record.lock  held by who writes one
        ends.json    how the scheduler said it ended, or each job of an array: schedulers forget
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from typing import Any

from scoop_hpc.errors import InputError, ScoopError
from scoop_hpc.fields.array import JobArray
from scoop_hpc.fields.spec import JobSpec, output_path
from scoop_hpc.files.private import check_private, explained, make_private, write_text
from scoop_hpc.files.reading import read_file
from scoop_hpc.jobs import record as records
from scoop_hpc.jobs.record import Record
from scoop_hpc.schedulers.answers import JobStatus
from scoop_hpc.schedulers.job_state import JobState
from scoop_hpc.schedulers.site import Site

_SCRIPT, _JOB, _ENDS = "job.sh", "job.json", "ends.json"
_COMPLAINT = "scoop-hpc: error: "
_TAIL, _LAST_LINES = 1 << 14, 10  # bytes, and lines, in which a job's last error is looked for
_MOST = 1 << 28  # bytes of a file of ours: an array of a million jobs has so many ends
_SLACK = 5.0  # seconds by which the clock of a file server may be behind


@dataclass(frozen=True, slots=True)
class Job:
    """One submitted job, at ``submitted`` seconds since the epoch. ``job_id`` is None until the scheduler gave one."""

    directory: str
    spec: JobSpec
    scheduler: str
    submitted: float
    job_id: str | None = None
    site: Site | None = None  # None in what earlier versions wrote

    @property
    def script(self) -> str:
        return os.path.join(self.directory, _SCRIPT)

    @property
    def record(self) -> str:
        """The file that the driver writes."""
        return os.path.join(self.directory, records.FILE)

    def output(self, index: int | None = None) -> str | None:
        """Return the file that gets what the job prints, or one of an array; None while it has no id."""
        return None if self.job_id is None else output_path(self.spec, self.job_id, index)


def create(state: str, spec: JobSpec, scheduler: str, now: float) -> Job:
    """Make the directory of a new job under *state*."""
    stamp = datetime.fromtimestamp(now, timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
    directory = os.path.join(state, "jobs", f"{stamp}-{secrets.token_hex(4)}")
    make_private(os.path.dirname(directory))
    with explained(f"cannot make the job's directory {directory!r}"):
        os.mkdir(directory, 0o700)
    return Job(directory, spec, scheduler, now)


def write(job: Job) -> None:
    """Write what is known of *job* into its directory."""
    about = {name: value for name, value in asdict(job).items() if name != "directory"}
    write_text(os.path.join(job.directory, _JOB), json.dumps(about, indent=1) + "\n")


def read(directory: str) -> Job | None:
    """Return the job whose directory this is, None if there is none in it."""
    path = os.path.join(directory, _JOB)
    text = _read_text(path)
    if text is None:
        return None
    with _understood(path):
        about = json.loads(text)
        spec = _read_spec(about.pop("spec"))
        site = _read_site(about.pop("site", None))
        return Job(directory, spec, site=site, **_known(Job, about))


def note_site(state: str, job: Job) -> None:
    """Keep that there are jobs of this cluster: see `has_several_sites`."""
    name = hashlib.sha256(json.dumps([job.scheduler, asdict(job.site or Site())]).encode()).hexdigest()[:16]
    with explained(f"cannot note the cluster of the job in {job.directory!r}"):
        os.makedirs(os.path.join(state, "sites", name), 0o700, exist_ok=True)


def has_several_sites(state: str) -> bool:
    """Return whether jobs were submitted to more than one cluster, so that several may have the same id."""
    try:
        return len(os.listdir(os.path.join(state, "sites"))) > 1
    except OSError:
        return False


def remove(job: Job) -> None:
    """Forget *job*."""
    shutil.rmtree(job.directory, ignore_errors=True)


def newest_first(state: str, warn: Callable[[str], None]) -> Iterator[Job]:
    """Yield the jobs that a scheduler took; *warn* of those whose directory cannot be understood."""
    directory = os.path.join(state, "jobs")
    check_private(directory)
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"cannot list the jobs in {directory!r}: {error.strerror}") from error
    for name in sorted(names, reverse=True):
        try:
            job = read(os.path.join(directory, name))
            if job is not None and job.job_id is None:  # the submission was cut off; the job may run all the same
                record = read_record(job)
                job = replace(job, job_id=record.job_id if record else None)
        except ScoopError as error:
            warn(str(error))
            continue
        if job is not None and job.job_id is not None:
            yield job


def read_script(job: Job) -> str:
    """Return the text of the job's script; raise ScoopError."""
    try:
        with open(job.script, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except OSError as error:
        raise ScoopError(f"cannot read {job.script!r}: {error.strerror}") from error


def read_record(job: Job, index: int | None = None) -> Record | None:
    """Return the driver's record of *job*, or of one of an array; None if it left none."""
    path = records.of_element(job.record, index)
    try:
        return records.read(path)
    except UnicodeDecodeError as error:
        raise ScoopError(f"cannot read the job's record {path!r}: it is not UTF-8") from error
    except OSError as error:
        raise ScoopError(f"cannot read {path!r}: {error.strerror}") from error


def last_complaint(job: Job, index: int | None = None) -> str:
    """Return the last error of our own that *job*, or one of an array, has printed; empty if its last lines have none.

    A job script tells so why it did not come to the driver.
    """
    if job.job_id is None:
        return ""
    path = output_path(replace(job.spec, output=job.spec.error or job.spec.output), job.job_id, index)
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_mtime < job.submitted - _SLACK:
                return ""  # of an earlier job
            file.seek(max(0, found.st_size - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()[-_LAST_LINES:]
    except OSError:  # the scheduler may not have brought it yet, or bring it elsewhere
        return ""
    return next((line[len(_COMPLAINT) :] for line in reversed(lines) if line.startswith(_COMPLAINT)), "")


def write_ends(job: Job, said: Mapping[int | None, JobStatus]) -> None:
    """Keep the scheduler's word on how *job* ended, or the jobs of an array, by their indices."""
    ends = [{**asdict(status), "state": status.state.value, "index": index} for index, status in said.items()]
    write_text(os.path.join(job.directory, _ENDS), json.dumps(ends) + "\n")


def read_ends(job: Job) -> dict[int | None, JobStatus]:
    """Return the scheduler's word on how *job* ended, as far as it was heard."""
    path = os.path.join(job.directory, _ENDS)
    text = _read_text(path)
    if text is None:
        return {}
    with _understood(path):
        return {
            said["index"]: JobStatus(**{**_known(JobStatus, said), "state": JobState(said["state"])})
            for said in json.loads(text)
        }


def _read_text(path: str) -> str | None:
    content = read_file(path, "the file of a job", most=_MOST)
    if content is None:
        return None
    with _understood(path):
        return content.decode()


def _read_spec(about: dict[str, Any]) -> JobSpec:
    """Return the JobSpec that became *about*: JSON knows neither tuples in tuples nor other values in it."""
    known = _known(JobSpec, about)
    array = known.get("array")
    if array is not None:
        known["array"] = JobArray(**_known(JobArray, array))
    known["environment"] = tuple((name, value) for name, value in known.get("environment", ()))
    return JobSpec(**known)


def _read_site(about: dict[str, Any] | None) -> Site | None:
    if about is None:
        return None
    return Site(about["cluster"], tuple((name, value) for name, value in about["variables"]))


def _known(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Return of *values* what *kind* has a field for; a later version may have written more. JSON has no tuples."""
    names = {field.name for field in fields(kind)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if name in names}


@contextlib.contextmanager
def _understood(path: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScoopError(f"cannot understand {path!r} ({error}): remove its directory to forget that job") from error
