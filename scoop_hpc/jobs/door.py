"""The way into a run for who holds its private directory: the driver's addresses, and keys to connect.

::

    driver --writes, for this user only--> join.json --read by--> scoop-hpc join, scoop-hpc drain

It is there from the start of the run to its end. That of a driver that was killed is removed by who hears of it: a
later run, or who asks for the state of the job. The keys open the run's sockets, and nothing once those are closed.
They are in no argument, job script or log.
"""

from __future__ import annotations

import contextlib
import os

import msgspec
from msgspec import Struct

from scoop_hpc.errors import ScoopError
from scoop_hpc.files.private import write_text
from scoop_hpc.files.reading import read_file
from scoop_hpc.launchers.container import Container
from scoop_hpc.protocol.messages import VERSION, Curve

FILE = "join.json"  # beside the looks at the run
_MOST = 1 << 20  # bytes


class Door(Struct, frozen=True):
    """A run that nodes may join."""

    host: str  # that its driver is on
    addresses: tuple[str, ...]  # of the driver
    curve: Curve | None  # what is needed to connect; None: all of the run is on that machine
    grace: float  # seconds without a connection that its nodes bear
    directory: str  # of its program
    options: str = ""  # that processes on all nodes keep, as the text of an environment variable
    container: Container | None = None  # that its workers run in
    version: int = VERSION  # of the protocol


def door_beside(look: str) -> str:
    """Return the file for the door of the run whose looks are in *look*.

    >>> door_beside("/jobs/1/look-3.json"), door_beside("/jobs/1/look.json")
    ('/jobs/1/join-3.json', '/jobs/1/join.json')
    """
    stem, _ = os.path.splitext(FILE)
    return os.path.join(os.path.dirname(look), os.path.basename(look).replace("look", stem, 1))


def write_door(path: str, door: Door) -> None:
    """Put *door* into the file *path*, for this user only, whole or not at all; raise InputError."""
    write_text(path, msgspec.json.encode(door).decode())


def remove_door(path: str) -> None:
    """Remove the file *path*, if it is there."""
    with contextlib.suppress(OSError):  # somebody else has, or the file system is gone
        os.unlink(path)


def read_door(path: str) -> Door | None:
    """Return the door of a run, None if there is none, or no more; raise InputError, ScoopError."""
    content = read_file(path, "the way into a run", most=_MOST)
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=Door)
    except msgspec.MsgspecError as error:
        raise ScoopError(f"cannot understand {path!r}: {error}; it is of another version of scoop_hpc") from error
