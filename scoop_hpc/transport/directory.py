"""The private directory of a node's ipc sockets."""

from __future__ import annotations

import os
import tempfile

from scoop_hpc.errors import LaunchError

_ROOM = 80  # bytes for the directory above it: a socket's whole path may have 107 [unix(7)]


def make_private(wish: str) -> str:
    """Make a directory that only this user can enter, in *wish* if that is short enough; return its path."""
    above = os.path.abspath(wish) if wish else "/tmp"
    if not os.path.isdir(above) or len(os.fsencode(above)) > _ROOM:
        above = "/tmp"
    try:
        return tempfile.mkdtemp(prefix="scoop-", dir=above)
    except OSError as error:
        raise LaunchError(f"cannot make a directory in {above!r}: {error.strerror}; set TMPDIR") from error
