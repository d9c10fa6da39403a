"""Read the directives of a job script for the local scheduler, as sbatch reads its own."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Iterator
from datetime import datetime
from typing import NoReturn

from scoop_hpc.errors import JobSpecError
from scoop_hpc.fields.array import parse_array
from scoop_hpc.fields.spec import DEFAULT_ARRAY_OUTPUT, DEFAULT_OUTPUT
from scoop_hpc.fields.units import parse_walltime
from scoop_hpc.schedulers.local.dependencies import KINDS
from scoop_hpc.schedulers.local.request import Dependency, Request

_PREFIX = "#LOCAL"
_DEPENDENCY = re.compile(r"([a-z]+)((?::local-[0-9]+(?:_[0-9]+)?)+)")
_COUNTS = ("nodes", "workers", "workers_per_node", "cpus_per_worker", "signal")


def parse_script(text: str, directory: str, cpus: int) -> Request:
    """Read the directives of a script that is submitted in *directory*, on a machine with *cpus* CPUs."""
    asked = _parser().parse_args(list(_directives(text)))
    for name in _COUNTS:
        value = getattr(asked, name)
        if value is not None and value < 1:
            raise JobSpecError(f"--{name.replace('_', '-')} {value!r} cannot be had: give a positive number")
    slots = _slots(asked.nodes, asked.workers, asked.workers_per_node, cpus // asked.cpus_per_worker)
    walltime = None if asked.walltime is None else parse_walltime(asked.walltime)
    if asked.signal is not None and (walltime is None or asked.signal >= walltime):
        raise JobSpecError(f"--signal {asked.signal} s before the end of no such --walltime: give a longer one")
    array = None if asked.array is None else parse_array(asked.array)
    if asked.output is None:
        asked.output = DEFAULT_OUTPUT if array is None else DEFAULT_ARRAY_OUTPUT
    limit = None if array is None else array.limit
    return Request(
        name=asked.job_name,
        directory=os.path.join(directory, asked.chdir),
        slots=slots,
        cpus_per_worker=asked.cpus_per_worker,
        walltime=walltime,
        output=asked.output,
        error=asked.error,
        array=array,
        at_once=limit or max(1, cpus // (sum(slots) * asked.cpus_per_worker)),
        dependencies=tuple(_dependencies(asked.dependency)),
        begin=_begin(asked.begin),
        signal=asked.signal,
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=_PREFIX, allow_abbrev=False, add_help=False)
    parser.add_argument("--job-name", default="job")
    parser.add_argument("--chdir", default="")
    for number in ("--nodes", "--cpus-per-worker"):
        parser.add_argument(number, type=int, default=1)
    for number in ("--workers", "--workers-per-node", "--signal"):
        parser.add_argument(number, type=int)
    for word in ("--output", "--error", "--walltime", "--array", "--dependency", "--begin"):
        parser.add_argument(word)
    for recorded_only in ("--queue", "--account"):  # the machine is one queue
        parser.add_argument(recorded_only)
    return parser


def _slots(nodes: int, workers: int | None, per_node: int | None, room: int) -> tuple[int, ...]:
    """Return the slots of each node: *room* for as many on whole ones; of *workers* in all, the first nodes have more.

    >>> _slots(3, 7, None, 8), _slots(2, None, None, 8)
    ((3, 2, 2), (8, 8))
    """
    if workers is None:
        return (per_node or max(1, room),) * nodes
    if per_node is not None:
        raise JobSpecError("--workers and --workers-per-node exclude each other: give one")
    if workers < nodes:
        raise JobSpecError(f"--workers {workers} leaves some of --nodes {nodes} without any: ask for fewer nodes")
    each, more = divmod(workers, nodes)
    return (each + 1,) * more + (each,) * (nodes - more)


def _dependencies(text: str | None) -> Iterator[Dependency]:
    """Yield what ``KIND:ID[:ID]...[,KIND:...]`` says, as sbatch(1) --dependency has it."""
    for part in [] if text is None else text.split(","):
        match = _DEPENDENCY.fullmatch(part)
        if match is None or match[1] not in KINDS:
            raise JobSpecError(f"cannot read the dependency {part!r}: write such as 'afterok:local-1:local-2_3'")
        yield from (Dependency(match[1], job_id) for job_id in match[2][1:].split(":"))


def _begin(text: str | None) -> str | None:
    try:
        return None if text is None else datetime.fromisoformat(text).isoformat()
    except ValueError as error:
        raise JobSpecError(f"cannot read the time to begin {text!r}: write YYYY-MM-DDTHH:MM:SS") from error


def _directives(text: str) -> Iterator[str]:
    """Yield the words of the directives, which end at the first line that is neither blank nor a comment."""
    if not text.startswith("#!"):
        raise JobSpecError(f"the job script begins with {text[:20]!r}: it must begin with #! and an interpreter")
    for line in text.split("\n"):
        if line.startswith(_PREFIX + " "):
            try:
                yield from shlex.split(line[len(_PREFIX) :], comments=True)
            except ValueError as error:
                raise JobSpecError(f"cannot read the directive {line!r}: {error}") from error
        elif line.strip() and not line.startswith("#"):
            return


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise JobSpecError(f"cannot read the directives of {self.prog}: {message}")
