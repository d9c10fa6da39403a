"""The allocation that a command runs in."""

from __future__ import annotations

import os
from collections.abc import Mapping

from scoop_hpc.complaints import say
from scoop_hpc.errors import AllocationError
from scoop_hpc.schedulers.allocation import Allocation
from scoop_hpc.schedulers.copies import describe, read_copy
from scoop_hpc.schedulers.readers import READERS, read_allocation

CHOICES = tuple(READERS)  # of --allocation
HELP = "Whose job this is, where the environment speaks of more than one scheduler's; pbs is Torque, too."


def find_allocation(reader: str | None = None) -> Allocation | None:
    """Return the allocation that this process is in, None if in none; raise AllocationError.

    *reader* is what the user chose by --allocation; where there is a choice that nobody made, a warning says so.
    """
    allocation = read_allocation(os.environ, read_file, reader)
    if allocation is not None and allocation.beside:
        others = " or ".join(f"--allocation {name}" for name in allocation.beside)
        say(
            f"warning: in jobs of {allocation.scheduler} and {' and '.join(allocation.beside)} at once: "
            f"the nodes are those of {allocation.scheduler}; {others} chooses others"
        )
    return allocation


def refuse_second_pool() -> None:
    """Raise AllocationError for a pool that another copy of its program has, too: both would be on all of the job."""
    copy = read_copy(os.environ)
    if copy is not None and copy.rank > 0 and read_allocation(os.environ, read_file) is not None:
        raise AllocationError(describe(copy))


def exit_status(status: int, environ: Mapping[str, str]) -> tuple[int, str]:
    """Return the exit status for a program's *status* in the job that *environ* is of, and what to say of it if it is
    another: a program does not mean by it what its job's scheduler would do."""
    for reader in READERS.values():
        if status in reader.orders and reader.in_job(environ):
            order = f"to {reader.title}, {status} {reader.orders[status]}"
            return 1, f"the program's exit status {status} becomes 1: {order}"
    return status, ""


def read_file(path: str) -> str:
    """Return the text of the file *path*; raise OSError, ValueError."""
    with open(path, encoding="utf-8") as file:
        return file.read()
