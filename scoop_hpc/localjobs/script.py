"""What a job script asks of the local scheduler: its directives, read as sbatch reads its own."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn, Optional

from scoop_hpc.errors import JobSpecError
from scoop_hpc.jobspec import DEFAULT_OUTPUT
from scoop_hpc.quantities import parse_walltime

_PREFIX = "#LOCAL"


@dataclass(frozen=True)
class Request:
    """What a script's directives ask for."""

    name: str
    nodes: int
    slots: int  # on each node
    cpus_per_worker: int
    walltime: Optional[int]
    output: str
    directory: str


def parse_script(text: str, directory: str, cpus: int) -> Request:
    """Read the directives of a script that is submitted in *directory*, on a machine with *cpus* CPUs."""
    parser = _Parser(prog=_PREFIX, allow_abbrev=False, add_help=False)
    parser.add_argument("--job-name", default="job")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--workers-per-node", type=int)
    parser.add_argument("--cpus-per-worker", type=int, default=1)
    parser.add_argument("--walltime")
    for recorded_only in ("--queue", "--account"):  # the machine is one queue
        parser.add_argument(recorded_only)
    parser.add_argument("--output", default=DEFAULT_OUTPUT)
    parser.add_argument("--chdir", default="")
    asked = parser.parse_args(list(_directives(text)))
    for value in (asked.nodes, asked.workers_per_node, asked.cpus_per_worker):
        if value is not None and value < 1:
            raise JobSpecError(f"{value!r} nodes, workers or CPUs cannot be had: give a positive number")
    return Request(
        name=asked.job_name,
        nodes=asked.nodes,
        slots=asked.workers_per_node or max(1, cpus // asked.cpus_per_worker),
        cpus_per_worker=asked.cpus_per_worker,
        walltime=None if asked.walltime is None else parse_walltime(asked.walltime),
        output=asked.output,
        directory=os.path.join(directory, asked.chdir),
    )


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
