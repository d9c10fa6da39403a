"""A job's request to the local scheduler, as it is kept beside the job."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass

from scoop_hpc.fields.array import JobArray

_PLACEHOLDER = re.compile(r"\{(job_id|array_index|name)\}")


@dataclass(frozen=True, slots=True)
class Dependency:
    """Another job, whose end has to be of a kind of `dependencies.KINDS`; of an array, all its jobs'."""

    kind: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Request:
    """The request of a script's directives; *output* and *error* may hold placeholders."""

    name: str
    directory: str
    slots: tuple[int, ...]  # of each node
    cpus_per_worker: int
    walltime: int | None
    output: str
    error: str | None = None  # None: the output
    array: JobArray | None = None
    at_once: int = 1  # of an array
    dependencies: tuple[Dependency, ...] = ()
    begin: str | None = None  # ISO 8601, local time
    signal: int | None = None  # seconds before the walltime is over

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(f"local{number}" for number in range(1, len(self.slots) + 1))

    def file(self, pattern: str, job_id: str, index: int | None) -> str:
        """Return the file that *pattern* means for one job; *job_id* is the array's, if it is one of an array."""
        stand_for = {"job_id": job_id, "name": self.name, "array_index": "" if index is None else str(index)}
        return os.path.join(self.directory, _PLACEHOLDER.sub(lambda match: stand_for[match[1]], pattern))


def to_json(request: Request) -> str:
    """Write *request* as one JSON object."""
    return json.dumps(asdict(request)) + "\n"


def from_json(text: str) -> Request:
    """Read what `to_json` wrote; raise ValueError, TypeError, KeyError for anything else."""
    fields = json.loads(text)
    array = fields["array"]
    return Request(
        **{
            **fields,
            "slots": tuple(fields["slots"]),
            "array": None if array is None else JobArray(**array),
            "dependencies": tuple(Dependency(**each) for each in fields["dependencies"]),
        }
    )
