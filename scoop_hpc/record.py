"""The driver's own record of a run: how it stands, or how and why it ended; it outlives the scheduler's memory."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from typing import Optional

from scoop_hpc.errors import ScoopError
from scoop_hpc.jobspec import JobState

FILE = "record.json"  # in the job's directory
DRIVER_LOST = "died, or its node was lost"  # the end of the reason that an agent records for a driver that cannot


@dataclass(frozen=True)
class Record:
    """How a run stands. Times are seconds since the epoch on the driver's clock."""

    state: JobState
    started: float
    nodes: tuple[str, ...]
    host: str  # where the driver runs
    pid: int
    job_id: Optional[str] = None
    ended: Optional[float] = None
    exit_status: Optional[int] = None
    reason: str = ""


def of_element(path: str, index: Optional[int]) -> str:
    """Return the file for the record of one job of an array, where *path* is that of the whole.

    >>> of_element("/jobs/1/record.json", 3)
    '/jobs/1/record-3.json'
    """
    if index is None:
        return path
    stem, suffix = os.path.splitext(path)
    return f"{stem}-{index}{suffix}"


def to_json(record: Record) -> str:
    """Write *record* as one JSON object.

    >>> to_json(Record(JobState.RUNNING, 1.0, ("n1",), "n1", 7))  # doctest: +ELLIPSIS
    '{"state": "RUNNING", "started": 1.0, "nodes": ["n1"], ...}'
    """
    return json.dumps({**asdict(record), "state": record.state.value})


def from_json(text: str) -> Record:
    """Read what `to_json` wrote; raise ScoopError for anything else."""
    try:
        fields = json.loads(text)
        return Record(**{**fields, "state": JobState(fields["state"]), "nodes": tuple(fields["nodes"])})
    except (ValueError, KeyError, TypeError) as error:
        raise ScoopError(f"cannot read the job's record {text!r}: {error}") from error


def write(path: str, record: Record) -> None:
    """Put *record* into the file *path*, whole or not at all; raise OSError."""
    new = f"{path}.{os.getpid()}"
    try:
        with open(new, "w", encoding="utf-8") as file:
            file.write(to_json(record) + "\n")
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


def read(path: str) -> Optional[Record]:
    """Return the record in the file *path*, None if there is no such file; raise ScoopError, OSError."""
    try:
        with open(path, encoding="utf-8") as file:
            return from_json(file.read())
    except FileNotFoundError:
        return None
    except ScoopError as error:
        raise ScoopError(f"{path}: {error}") from error
