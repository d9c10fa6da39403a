"""Shared memory that an MPI has between MPI_Init and MPI_Finalize: it stays when ranks are killed in between."""

from __future__ import annotations

import contextlib
import os
import re

# of MPICH, Intel MPI, Open MPI 5 and 4, as they were found there
_SEGMENT = re.compile(r"(/dev/shm/(?:mpich_shm_|Intel_MPI_|sm_segment\.|vader_segment\.)[^/\s]+)$")


def remove_segments(pid: int) -> None:
    """Remove the names of the segments that the rank *pid* uses, which is about to be killed."""
    with contextlib.suppress(OSError):  # another rank of the node comes first, or there is no /proc
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps:
            paths = segments(maps.read())
        for path in paths:
            os.unlink(path)


def segments(maps: str) -> set[str]:
    """Return an MPI's segments among the files that *maps* [proc_pid_maps(5)] tells of.

    >>> segments("7f00-7f10 rw-s 00000000 00:1a 7    /dev/shm/mpich_shm_15655813_0")
    {'/dev/shm/mpich_shm_15655813_0'}
    """
    return {found[1] for line in maps.splitlines() if (found := _SEGMENT.search(line))}
