"""What a user asks a scheduler for, in units of ours, and the states that a job can be in."""

from __future__ import annotations

import enum
import os.path
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

from scoop_hpc.errors import JobSpecError

MAIL_EVENTS = ("begin", "end", "fail")
RUNTIMES = ("apptainer", "singularity", "pyxis")

_ARRAY = re.compile(r"(\d{1,9})-(\d{1,9})(?::(\d{1,9}))?(?:%(\d{1,9}))?", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS = ("job_id", "array_index", "name")


class JobState(enum.Enum):
    """Where a job stands, in words that hold for every scheduler."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NODE_FAIL = "NODE_FAIL"
    UNKNOWN = "UNKNOWN"  # the scheduler does not know the job, and the job left no record

    @property
    def ended(self) -> bool:
        """Whether the job will not run any more."""
        return self not in (JobState.PENDING, JobState.RUNNING, JobState.SUSPENDED, JobState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class JobArray:
    """The numbers *first*, *first* + *step*, ... up to *last*: a job for each, *limit* of them at a time."""

    first: int
    last: int
    step: int = 1
    limit: int | None = None

    @property
    def indices(self) -> range:
        return range(self.first, self.last + 1, self.step)


def parse_array(text: str) -> JobArray:
    """Return the array that *text* asks for.

    >>> parse_array("0-99:3%10")
    JobArray(first=0, last=99, step=3, limit=10)
    """
    match = _ARRAY.fullmatch(text)
    if match is None:
        raise JobSpecError(f"cannot read the array {text!r}: write FIRST-LAST, FIRST-LAST:STEP or FIRST-LAST%LIMIT")
    first, last, step = int(match[1]), int(match[2]), int(match[3] or 1)
    limit = None if match[4] is None else int(match[4])
    if last < first:
        raise JobSpecError(f"the array {text!r} ends before it begins: write FIRST-LAST with the lower number first")
    if not step or limit == 0:
        raise JobSpecError(f"the array {text!r} holds a step or a limit of 0: give a positive number, or leave it out")
    if (last - first) // step >= _MOST_ELEMENTS:
        raise JobSpecError(f"the array {text!r} is of more than {_MOST_ELEMENTS} jobs: make it smaller")
    return JobArray(first, last, step, limit)


_MOST_ELEMENTS = 10**6

# larger numbers are slips, and schedulers take them modulo 2**32
_MOST = {
    "nodes": 2**20,
    "workers": 2**26,
    "workers_per_node": 2**16,
    "cpus_per_worker": 2**16,
    "gpus_per_node": 2**10,
    "memory_per_node": 2**50,
    "memory_per_cpu": 2**50,
    "walltime": 100 * 365 * 86400,
}
_LINES = (
    *("name", "directory", "queue", "account", "output", "error", "mail_user", "constraint", "qos", "reservation"),
    *("begin", "conda", "venv", "container", "parallel_environment", "gpu_type"),
)
_LISTS_OF_LINES = ("after", "after_any", "after_failure", "licenses", "modules", "directives")


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One job: what to run and what to ask for. ``None`` leaves a field to the scheduler's default.

    Workers are asked for by *workers*, in all, or by *workers_per_node*; by neither, whole nodes are, and a worker runs
    on every CPU that is granted. *nodes* is None where *workers* may be on any number of them. *directory* is
    absolute. A JobSpec that could not be said in any dialect cannot be made: JobSpecError.
    """

    program: tuple[str, ...]  # the program's file, then its arguments
    directory: str
    name: str
    nodes: int | None = 1
    workers: int | None = None  # in all
    workers_per_node: int | None = None
    cpus_per_worker: int = 1
    memory_per_node: int | None = None  # bytes
    memory_per_cpu: int | None = None  # bytes
    gpus_per_node: int | None = None
    gpu_type: str | None = None  # of these
    walltime: int | None = None  # seconds
    queue: str | None = None
    account: str | None = None
    output: str | None = None  # may hold {job_id}, {array_index} and {name}
    error: str | None = None  # as output; None: the output's
    mail_user: str | None = None
    mail_events: tuple[str, ...] = ()  # of MAIL_EVENTS
    array: JobArray | None = None
    after: tuple[str, ...] = ()  # ids of jobs that have to succeed before
    after_any: tuple[str, ...] = ()  # ids of jobs that have to end before
    after_failure: tuple[str, ...] = ()  # ids of jobs that have to fail before
    exclusive: bool = False
    constraint: str | None = None  # in the scheduler's words
    qos: str | None = None
    reservation: str | None = None
    licenses: tuple[str, ...] = ()  # such as "matlab:2"
    begin: str | None = None  # ISO 8601, local time, to the second
    signal: int | None = None  # seconds before the end at which the run gets SIGUSR1
    requeue: bool = False
    parallel_environment: str | None = None
    setup: tuple[str, ...] = ()  # lines of shell, verbatim, before all else
    modules: tuple[str, ...] = ()
    conda: str | None = None  # name or path of an environment
    venv: str | None = None  # path of a virtual environment
    container: str | None = None  # image
    container_runtime: str | None = None  # one of RUNTIMES
    environment: tuple[tuple[str, str], ...] = ()  # variables, and what they are set to
    prologue: tuple[str, ...] = ()  # lines of shell, verbatim
    directives: tuple[str, ...] = ()  # verbatim, without the prefix

    def __post_init__(self) -> None:
        _check_program(self.program)
        for field in (*_MOST, "signal"):
            _check_count(field, getattr(self, field))
        for field in _LINES:
            check_line(field, getattr(self, field))
        for field in _LISTS_OF_LINES:
            for value in getattr(self, field):
                check_line(option_of(field), value)
        if not os.path.isabs(self.directory):
            raise JobSpecError(f"the directory {self.directory!r} is relative: give an absolute path")
        _check_workers(self)
        _check_pairs(self)
        for field in ("output", "error"):
            _check_placeholders(self, field)
        for name, value in self.environment:
            if not _VARIABLE.fullmatch(name) or "\0" in value:
                raise JobSpecError(f"--env {name + '=' + value!r} sets no variable: write NAME=VALUE")


_OPTIONS = {
    "memory_per_node": "--memory",
    "gpu_type": "--gpus-per-node TYPE:N",
    "directory": "--chdir",
    "licenses": "--license",
    "modules": "--module",
    "environment": "--env",
    "parallel_environment": "--pe",
    "directives": "--directive",
    "mail_events": "--mail-events",
}


def option_of(field: str) -> str:
    """Return the option that sets a field of JobSpec.

    >>> option_of("cpus_per_worker"), option_of("modules")
    ('--cpus-per-worker', '--module')
    """
    return _OPTIONS.get(field, "--" + field.replace("_", "-"))


# what the job script says for itself, in any scheduler's
BY_THE_SCRIPT: Mapping[str, str] = MappingProxyType(
    {
        "directory": "``cd``, or as a directive",
        "setup": "as it is, before modules, conda and venv",
        "modules": "``module load``",
        "conda": "``conda activate``",
        "venv": "its ``python``",
        "container": "what starts the workers",
        "container_runtime": "what starts the workers",
        "environment": "``export``",
        "prologue": "as it is",
    }
)


def asked_for(spec: JobSpec) -> list[str]:
    """Return the fields of *spec* that ask a scheduler for something, in their order: those that are not the default.

    >>> asked_for(JobSpec(("pi.py",), "/home/me", "pi", nodes=2, exclusive=True))
    ['nodes', 'exclusive']
    """
    plain = JobSpec(spec.program, spec.directory, spec.name)
    return [field.name for field in fields(JobSpec) if getattr(spec, field.name) != getattr(plain, field.name)]


def whole_nodes(spec: JobSpec) -> bool:
    """Return whether *spec* asks for whatever its nodes have."""
    return spec.exclusive or (spec.workers is None and spec.workers_per_node is None)


def output_path(spec: JobSpec, job_id: str, index: int | None = None) -> str:
    """Return the file that a job's output goes to: absolute, with what its placeholders stand for.

    ``{job_id}`` is the number in the scheduler's id.

    >>> output_path(JobSpec(("pi.py",), "/home/me", "pi", output="{name}.o{job_id}"), "12.server")
    '/home/me/pi.o12'
    """
    text = spec.output or default_output(spec)
    number = re.match(r"\d+", job_id)
    stand_for = {
        "{job_id}": number[0] if number else job_id,
        "{array_index}": "{array_index}" if index is None else str(index),
        "{name}": spec.name,
    }
    filled = _PLACEHOLDER.sub(lambda match: stand_for.get(match[0], match[0]), text)
    return os.path.join(spec.directory, filled)


def default_output(spec: JobSpec) -> str:
    """Return the name of the output file where the user gave none."""
    return DEFAULT_OUTPUT if spec.array is None else DEFAULT_ARRAY_OUTPUT


DEFAULT_OUTPUT = "scoop-{job_id}.out"
DEFAULT_ARRAY_OUTPUT = "scoop-{job_id}_{array_index}.out"


def with_default_output(spec: JobSpec) -> JobSpec:
    """Return *spec* with an output file."""
    return spec if spec.output is not None else replace(spec, output=default_output(spec))


def check_line(field: str, value: str | None) -> None:
    """Raise JobSpecError for what cannot be in one line of a script: control and separating characters, no text."""
    if value is None:
        return
    if not value.strip():
        raise JobSpecError(f"the {field} {value!r} is empty: give a text, or leave it out")
    for character in value:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise JobSpecError(f"the {field} {value!r} holds {character!r}: write it without control characters")


def _check_program(program: tuple[str, ...]) -> None:
    if not program or not program[0]:
        raise JobSpecError(f"there is no program to run in {program!r}: name a Python file")
    for word in program:
        if "\0" in word:
            raise JobSpecError(f"the program's argument {word!r} holds a NUL, which no command line can")


def _check_count(field: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise JobSpecError(f"{field.replace('_', ' ')} is {value!r}: give a positive number")
    if value is not None and value > _MOST.get(field, value):
        raise JobSpecError(f"{field.replace('_', ' ')} is {value!r}: give at most {_MOST[field]}")


def _check_workers(spec: JobSpec) -> None:
    if spec.workers is not None and spec.workers_per_node is not None:
        raise JobSpecError(
            "--workers and --workers-per-node exclude each other: give the number in all, or of each node"
        )
    if spec.nodes is None and spec.workers is None:
        raise JobSpecError("the number of nodes is missing: give --nodes, or --workers")
    if spec.workers is not None and spec.nodes is not None and spec.workers < spec.nodes:
        raise JobSpecError(
            f"--workers {spec.workers} leaves some of --nodes {spec.nodes} without any: ask for fewer nodes"
        )
    if spec.memory_per_node is not None and spec.memory_per_cpu is not None:
        raise JobSpecError("--memory and --memory-per-cpu exclude each other: give one")


def _check_pairs(spec: JobSpec) -> None:
    """Refuse what makes no sense without, or with, another field."""
    if spec.mail_events and spec.mail_user is None:
        raise JobSpecError(f"--mail-events {','.join(spec.mail_events)}: to whom? give --mail-user as well")
    for event in spec.mail_events:
        if event not in MAIL_EVENTS:
            raise JobSpecError(f"there is no mail event {event!r}: choose of {', '.join(MAIL_EVENTS)}")
    if spec.gpu_type is not None and spec.gpus_per_node is None:
        raise JobSpecError(f"GPUs of the type {spec.gpu_type!r}: how many? give --gpus-per-node {spec.gpu_type}:N")
    if spec.conda is not None and spec.venv is not None:
        raise JobSpecError("--conda and --venv exclude each other: give one")
    if spec.container_runtime is not None and spec.container is None:
        raise JobSpecError(f"--container-runtime {spec.container_runtime}: of which image? give --container as well")
    if spec.container_runtime is not None and spec.container_runtime not in RUNTIMES:
        raise JobSpecError(f"there is no container runtime {spec.container_runtime!r}: choose of {', '.join(RUNTIMES)}")
    if spec.signal is not None and spec.walltime is not None and spec.signal >= spec.walltime:
        raise JobSpecError(
            f"--signal {spec.signal} s before the end is before the beginning: the walltime is {spec.walltime} s"
        )


def _check_placeholders(spec: JobSpec, field: str) -> None:
    text = getattr(spec, field)
    if text is None:
        return
    for name in _PLACEHOLDER.findall(text):
        if name not in _PLACEHOLDERS:
            known = ", ".join(f"{{{name}}}" for name in _PLACEHOLDERS)
            raise JobSpecError(f"the {field} {text!r} holds {{{name}}}: the placeholders are {known}")
    if spec.array is not None and "{array_index}" not in text:
        raise JobSpecError(
            f"the {field} {text!r} would be one file for all jobs of the array: put {{array_index}} into it"
        )
    if spec.array is None and "{array_index}" in text:
        raise JobSpecError(f"the {field} {text!r} holds {{array_index}}: that is for a job with --array")
