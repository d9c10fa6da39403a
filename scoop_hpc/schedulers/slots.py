"""Tools of the readers of allocations: numbers, files of hosts, and slots that are CPUs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from scoop_hpc.errors import AllocationError
from scoop_hpc.hostlist import is_host
from scoop_hpc.schedulers.allocation import Node

# said by our own job scripts where the scheduler has no word for it
CPUS_PER_WORKER = "SCOOP_HPC_JOB_CPUS_PER_WORKER"

_POSITIVE = re.compile("0*[1-9][0-9]{0,8}")
_INDEX = re.compile("[0-9]{1,18}")


def read_positive(text: str, where: str) -> int:
    """Return the positive number that *text* is; *where* it stands is for the message."""
    if not _POSITIVE.fullmatch(text):
        raise AllocationError(f"{where} is {text!r}: it should be a positive number")
    return int(text)


def read_index(environ: Mapping[str, str], name: str) -> int | None:
    """Return the array index in the variable *name*, None if it is not set."""
    text = environ.get(name)
    if not text:
        return None
    if not _INDEX.fullmatch(text):
        raise AllocationError(f"{name} is {text!r}: it should be the index of a job of an array, a number")
    return int(text)


def cpus_per_worker(environ: Mapping[str, str]) -> int:
    """Return the CPUs that the job script asked for each worker; 1 if it says nothing."""
    return read_positive(environ.get(CPUS_PER_WORKER) or "1", CPUS_PER_WORKER)


def read_lines(path: str, variable: str, read_file: Callable[[str], str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines of the file *path*, which *variable* names: where it stands, for a message, and its words.

    The first word of a line is a host.
    """
    try:
        text = read_file(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AllocationError(f"cannot read {path!r}, the file that {variable} names: {reason}") from error
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        where = f"line {number} of {variable}, the file {path!r},"
        check_host(words[0], where)
        yield where, words


def read_hosts(path: str, variable: str, read_file: Callable[[str], str]) -> Iterator[Node]:
    """Yield a node with one slot for each line of a file that has one host a line."""
    for where, words in read_lines(path, variable, read_file):
        if len(words) > 1:
            raise AllocationError(f"{where} is {' '.join(words)!r}: it should be the name of a host")
        yield Node(words[0], 1, 1)


def check_host(name: str, where: str) -> None:
    """Raise AllocationError if *name* cannot be a host's."""
    if not is_host(name):
        raise AllocationError(f"{where} is {name!r}: it should be the name of a host")


def share_cpus(nodes: tuple[Node, ...], per_worker: int) -> tuple[Node, ...]:
    """Return *nodes*, whose slots are CPUs, with a slot for each worker that has *per_worker* of them to itself.

    >>> share_cpus((Node("n1", 5, 5),), 2)
    (Node(name='n1', slots=2, cpus=5),)
    """
    for node in nodes:
        if node.slots < per_worker:
            raise AllocationError(
                f"the node {node.name!r} has {node.slots} of the scheduler's slots, and one worker is to have "
                f"{per_worker} CPUs ({CPUS_PER_WORKER}): ask for as many slots on every node"
            )
    return tuple(Node(node.name, node.slots // per_worker, node.slots) for node in nodes)
